"""Grammar of addresses: what is a street, a unit or a post box by its form, whatever the model says.

A form is *plain* where it says by itself that it is an address (``rue des Lilas 14``), else it wants a witness: the
model, a town or a zip beside it (``Engineering 101`` ends like a German street). Invariant: every repetition is
bounded, so that the work grows with the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_UP = r"[A-ZÀ-ÖØ-ÞĀ-ŽΑ-ΩА-Я]"
_NAME = rf"(?:{_UP}|\d{{1,3}}(?:st|nd|rd|th)\b)[\w.'’-]{{0,30}}"
_NUMBER = r"\d{1,6}(?:[/-]\d{1,5})?[A-Za-z]?"
_HOUSE = r"(?:[Ss]/[Nn]|\d{1,4}(?:[/-]\d{1,4})?(?: ?[a-zA-Z](?![^\W_]))?)"
_NO = r"(?:[nN]\.?[°ºr]?|Nr|núm|no)\.?"
_SUFFIX = (
    r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Drive|Dr|Lane|Ln|Court|Ct|Place|Pl|Terrace|Way|Square|Sq|"
    r"Highway|Hwy|Parkway|Pkwy|Crescent|Close|Circle|Cir|Trail|Gardens|Grove|Mews|Row|Quay|Alley|Turnpike)"
)
_RARE_SUFFIX = (
    r"(?:Bend|Branch|Bridge|Brook|Bypass|Causeway|Center|Centre|Cliffs?|Common|Corner|Cove|Creek|Crest|Crossing|Curve|"
    r"Dale|Divide|Estates?|Expressway|Extension|Falls|Ferry|Fields?|Flats?|Ford|Forest|Forges?|Forks?|Fort|"
    r"Freeway|Gateway|"
    r"Glens?|Greens?|Harbors?|Haven|Heights|Hills?|Hollow|Inlet|Islands?|Isle|Junctions?|Keys?|Knolls?|Lakes?|Landing|"
    r"Loaf|Lodge|Loop|Mall|Manors?|Meadows?|Mills?|Mission|Mountains?|Oval|Parks?|Pass|Passage|Path|Pike|Pines?|"
    r"Plains?|"
    r"Plaza|Points?|Ports?|Prairie|Ramp|Ranch|Rapids?|Ring|Rest|Ridges?|River|Rue|Run|Shoals?|Shores?|Skyway|"
    r"Springs?|Spurs?|"
    r"Station|Stravenue|Stream|Summit|Throughway|Trace|Track|Trafficway|Tunnel|Underpass|Unions?|Valleys?|"
    r"Viaduct|Views?|"
    r"Villages?|Ville|Vista|Walks?|Wall|Wells?|Circuit|Parade|Esplanade|Rise|Approach|Broadway|Parkways|Courts|Roads|"
    r"Streets|Drives|Lanes|Squares|Trails|Circles|Groves)"
)
_PREFIX = (
    r"(?:rue|avenue|av\.|av|boulevard|bd|chemin|quai|all[ée]e|impasse|route|sentier|faubourg|viale|v\.le|piazza|"
    r"piazzale|"
    r"vicolo|calle|c/|avenida|avda\.?|paseo|carrer|carretera|ctra\.|camino|urbanización|callejón|glorieta|"
    r"travesía|rua|r\.|"
    r"travessa|praça|alameda|estrada|rodovia|ul\.|ulica|ulice|al\.|aleja|ulitsa|улица|ул\.|просп\.|strada|calea|"
    r"bulevardul|aleea)"
)
_RARE_PREFIX = (
    r"(?:Via|Place|Corso|Cours|Largo|Plaza|Ronda|Square|Passage|Promenade|Esplanade|Canale|Incrocio|Borgo|Contrada|"
    r"Rotonda|Lungomare|Salita|Trecho|Vereda|Viela|Beco|Quadra|Loteamento|Privada|Pasaje|Cañada|Viaducto|Diagonal|"
    r"Transversal|Carrera|Prolongación|Circuito|Drumul|Rambla|Pol[ií]gono(?: Industrial)?|Cuesta|Bajada|Vial|"
    r"Pasadizo|Alameda|Andador|Calzada|Cerrada|"
    r"Circunvalación|Corredor|Eje vial|Periférico|Retorno|Continuación|Ampliación|Ladeira|Praia|Parque|Setor|Vila|"
    r"Jardim|Conjunto|Residencial|Condomínio|Fazenda|Sítio|Chácara|plac|os\.|str\.|rang|montée)"
)
_OF = r"(?:(?:d[eiao]s?|della?|dell[aeo]|del|du|la|le|les|el|los|las|św\.|\w\.|\d{1,2})\s){0,3}(?:d'|l'|dell')?"
_MORE = rf"(?:[ -](?:(?:de|di|da|do|dos|du|des|del|la|y|e|i|et) ){{0,2}}{_NAME}){{0,4}}"
_STEM = (
    r"(?:stra(?:ß|ss)e|str\.|gasse|platz|allee|chaussee|straat|laan|plein|gracht|singel|gatan|vägen|veien|"
    r"stræde|katu|kuja|polku|stígur|utca|útja|körút)"
)
_RARE_STEM = (
    r"(?:weg|damm|ufer|ring|markt|steig|graben|hof|kamp|kade|dijk|dreef|baan|pad|steeg|hof|gata|gate|gaten|vei|"
    r"veg|vegen|"
    r"väg|torget|gränd|stigen|vej|gade|allé|torv|tie|kaari|raitti|tér|tere|rkp\.|boulevard)"
)
_LEAD = (
    r"(?:(?:Prins(?:es)?|Koning(?:in)?|Oude|Nieuwe|Korte|Lange|Van(?: de[rn]?)?|De|Sint|Burg(?:emeester|\.)|"
    r"Dokter|Dr\.|Graaf|"
    r"Plantage|Noord|Zuid|Oost|West|Eerste|Tweede|Derde|1e|2e|3e|Grote|Kleine|Hoge|Lage|Alte[rn]?|Neue[rn]?|"
    r"Kurze|Große[rn]?|"
    r"Obere[rn]?|Untere[rn]?|Hintere[rn]?|Vordere[rn]?|An de[rn]|Auf de[rmn]|In de[rn]|Zu[mr]|Unter den) )?"
)
"""What a street's word goes with in Dutch and German."""
_BESIDE = (
    r"(?:stra(?:ß|ss)e|str\.|gate|gata|gatan|vei|veien|utca|út|tér|rkp\.|körút|vej|weg|allee|platz|ulica|cesta|trg)"
)
_PLAIN = (
    rf"\b{_NUMBER},? (?:(?:North|South|East|West|N|S|E|W|NE|NW|SE|SW)\.? )?(?:{_NAME} ){{1,4}}{_SUFFIX}\b\.?",
    rf"\b(?i:{_PREFIX})\s{_OF}{_NAME}{_MORE},?\s{{1,2}}(?:{_NO} ?)?{_HOUSE}\b",
    rf"\b{_NUMBER}(?: bis| ter)?,? (?i:rue|avenue|boulevard|chemin|quai|all[ée]e|impasse|route de|rang|montée)\s"
    rf"(?:(?:de|du|des|la|le|les|d'|l') ?){{0,3}}[\w.'’-]{{2,30}}(?: {_NAME}){{0,3}}",
    rf"\b{_LEAD}{_UP}[\w'’-]{{1,40}}(?i:{_STEM}) {_HOUSE}\b",
    rf"\bGran V[ií]a,? (?:{_NO} ?)?{_HOUSE}\b",
    r"\b(?i:P\.? ?O\.? ?Box|Postfach|Postbus|Boîte postale|Apartado(?: de correos| postal)?|Casella postale|"
    r"Caixa postal|PSC)\s{1,2}\d{1,7}\b(?:,? Box \d{1,6})?",
    r"\b(?:(?:calle|carrera|cra?|cl|kra?|avenida(?: calle| carrera)?|a[vck]|diagonal|dg|transversal|trv?|"
    r"tv)\.? \d{1,3}[A-Zª]{0,2}"
    r"|(?:avenida|av)\.? (?:[^\W\d_]{2,20} ){0,3}[^\W\d_]{2,20})"
    r"(?: (?:sur|norte|este|oeste))? ?(?:#|no\.?|n°) ?\d{1,3}[A-Z]? ?- ?\d{1,3}\b(?: (?:sur|norte|este|oeste)\b)?",
    r"\b[^\W\d_]{3,20}(?: [^\W\d_]{3,20})?,? \d{1,5},? (?:piso|de?pto\.?|oficina|of\.|apto\.?) \d{1,4}\b",
    r"\b(?:calle|carrera|rua|quadra|qd\.?|lote|manzana|mz\.?|sq[ns]w?|cl[ns]|shi[sn]|q[inle]) \d{1,3}[A-Z]?,? "
    r"(?:casa|apto\.?|lote|lt\.?|bloco|bl\.?|conjunto|conj\.?|n[.°º]{1,2}) ?(?:\d{1,4}[A-Z]?|[A-Z])\b",
    r"\b(?:(?:unit|psc|cmr) \d{1,5},? box \d{1,6}|(?:USS|USNS|USNV|USCGC) [\w ]{1,25})[\s,]{1,3}"
    r"(?:APO|FPO|DPO),?\sA[AEP]\s\d{5}\b",
)
_WITNESSED = (
    rf"\b\d{{1,6}}[A-Za-z]?,? (?:{_NAME} ){{1,3}}{_RARE_SUFFIX}\b",
    rf"\b{_RARE_PREFIX}\s{_OF}{_NAME}{_MORE},?\s{{1,2}}(?:{_NO} ?)?{_HOUSE}\b",
    rf"\b{_LEAD}{_UP}[\w'’-]{{2,40}}(?i:{_RARE_STEM}) {_HOUSE}\b",
    rf"\b{_UP}[\w'’.-]{{1,30}} (?i:{_BESIDE}) {_HOUSE}\b",
    rf"\b(?:the )?(?i:corner|intersection|junction) of (?:[\w.'’-]{{1,31}} ){{1,6}}(?:and|&) {_NAME}"
    rf"(?: (?:{_NAME}|{_NUMBER})){{0,3}}",
)
STREETS = tuple((re.compile(p), True) for p in _PLAIN[:6]) + tuple((re.compile(p, re.I), True) for p in _PLAIN[6:])
OVERSEAS, STREETS = STREETS[-1][0], STREETS[:-1]
_OVERSEAS_WORD = re.compile(r"\b(?:unit|psc|cmr|us[sn]|usn[sv]|uscgc)\b", re.I)
_LEAST = 5
STREETS += tuple((re.compile(p), False) for p in _WITNESSED)
UNIT = (
    r"(?i:apt|apartment|studio|suite|ste|unit|flat|floor|fl|room|rm|building|bldg|lot|block|appt|apartado|stock|"
    r"étage|wohnung|whg|"
    r"top|piso|dpto|depto|dto|oficina|casa|local|edif|interior|int|interno|scala|palazzo|piano|lok|bus|apto|bloco|sala|"
    r"andar|hus|conj(?:unto)?|bloque|escalera|esc|puerta|pta|portal|planta|nave|bodega|lote|loja|b[âa]t(?:iment)?|"
    r"escalier|porte|"
    r"halle|aufgang|m\.|h\.no)"
)
_SIDE = (
    r"(?:izq(?:uierd[ao]|da)?|izda|dcha|derecha|drcha|esq(?:uerdo)?|dto|direito|frente|fte|tras|fundos|links|rechts|"
    r"mitte|gauche|droite|centro)"
)
_FLOOR = (
    rf"(?:\d{{1,2}}\.?[ºª°]\.?|\d{{1,2}}[.]?(?:er?|[èe]me|nd|th|rd|st|[oa]|n|r)\b|bajo|baixos|entlo|r/c|EG|DG)"
    rf"(?:,? (?:(?i:piso|planta|andar|étage|floor|verdieping|Stock|Etage|OG|puerta)\b|\d[ªºa]|[A-Z]\b|"
    rf"(?i:{_SIDE})\b)\.?){{0,2}}"
    rf"|\d{{1,2}}\. ?(?:OG|UG|Stock|Etage|Obergeschoss)(?: (?i:{_SIDE})\b)?|(?i:fundos|bajos?|frente)\b"
)
"""A floor and its side, as Europe and Latin America have them."""
STOREY = re.compile(rf"\. ?(?:OG|UG|Stock|Etage|Obergeschoss)\b(?: (?i:{_SIDE})\b)?|\b(?i:{_SIDE})\b")
"""What of a floor may stand between two words that the model has judged."""
UNIT_WORD = re.compile(rf"{UNIT}\Z")
_ZIP = (
    r"\d{4} ?[A-Z]{2}\b(?= ?[A-Z][a-z'’])|(?:[A-Z]{1,2}-?)?\d{4,5}(?:-\d{3,4})?\b|\d{3}[ -]\d{2}\b|"
    r"\d{4} ?[A-Z]{2}\b|\d{2}-\d{3}\b|"
    r"[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}\b|[A-Z]\d[A-Z] ?\d[A-Z]\d\b|\d{5}-?\d{3}\b|\d{6,7}\b"
)
RIGHT = re.compile(
    rf"(?: ?[,·–-]|[\s>]){{1,3}} {{0,2}}(?:{_FLOOR})|"
    rf"[\s,>]{{1,9}}(?:{UNIT}\.? ?(?:#?\d{{1,5}}[A-Za-z]?|[A-Z])\b|#\d{{1,5}}\b|"
    r"(?:[A-Z]{2,3},?[ \n]{1,4})?[A-Z]{0,2}-?\d{3,5}(?:[- ]\d{2,4})?\b|"
    r"[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}\b|(?:[A-Z]{2} )?[A-Z]\d[A-Z] ?\d[A-Z]\d\b|\d{2}-\d{3}\b|\d{4} ?[A-Z]{2}\b|"
    r"\d{6,8}\b|"
    r"(?:Región|Provincia|Departamento|Estado|County|Province)(?: del?)?(?: l[oa]s?| L[oa]s?)? [A-ZÀ-Þ][\w'’-]{1,30}"
    r"(?:(?: (?:y|de|del|la|los))* [A-ZÀ-Þ][\w'’-]{1,30}){0,3}|"
    r"[A-Z]{2}\b(?=[\s,]{1,6}\d{4})|(?i:APO|FPO|DPO)\s(?i:A[AEP])\s\d{5}\b)|"
    r" \([A-Z]{2}\)| ?[/–-] ?[A-Z]{2}\b(?!-)"
)
"""What an address goes on with: a unit, a state and zip."""
_TOWN = (
    rf"{_UP}[\w'’.-]{{1,30}}"
    rf"(?:[ -](?:(?:de|do|da|am|an der|im|in|sur|en|les|la|del|di|al) )?{_UP}[\w'’.-]{{1,30}}){{0,3}}"
)
TOWN = re.compile(rf"[\s,>]{{1,9}}{_TOWN}[\s,>]{{1,9}}(?:[A-Z]{{2,3}}[\s,>]{{1,9}})?(?:{_ZIP})")
"""A town and the zip behind it."""
ZIP_TOWN = re.compile(
    rf"[\s,>]{{1,9}}(?:{_ZIP})[ ,]{{1,2}}(?P<town>(?:d[aeo]s? )?{_TOWN})(?: \([A-Z]{{2}}\)| / [A-Z]{{2}}\b|"
    rf" [A-Z]{{2}}\b(?![-.\w]))?"
)
"""A zip and the town behind it, as most of the world has it."""
STATE = re.compile(
    rf"(?:[\s,]{{1,3}}\d{{5}}-?\d{{3}}\b)?(?:[ ,]{{1,2}}(?:d[aeo]s? )?{_UP}[\w'’-]{{1,30}}){{0,4}}"
    r" ?/ ?[A-Z]{2}\b(?![-/\w])"
)
"""A town and its state behind a slash, with the zip before it or not, as Brazil has them."""
DUTCH = re.compile(rf" ?[A-Z]{{2}},? {_TOWN}")
"""What goes on behind the digits of a Dutch zip."""
TOWN_AND_COUNTRY = re.compile(
    rf"\s{{0,2}}\n\s{{0,2}}{_TOWN}\s{{0,2}}\n[\s,]{{0,3}}(?P<country>{_UP}[\w'’.-]{{1,30}}(?: {_UP}[\w'’.-]{{1,30}})?)"
    rf"(?: \([A-Z]\w{{2,20}}\))?[\s,]{{1,3}}(?:{_ZIP})"
)
"""A line of a town, and one of a country and the zip."""
BARE_TOWN = re.compile(
    rf",? ?(?:[,–-]) ?(?P<town>(?:{_UP}[\w'’-]{{1,30}})(?: (?:d[eoa]s? )?{_UP}[\w'’-]{{1,30}}){{0,2}})(?![\w'’])"
)
"""A town behind a comma or dash; the lexicon has to know it."""
CAPITALS = re.compile(rf"{_UP}[\w'’-]{{1,30}}")
ZIP_CODE = re.compile(
    r"\b(?i:zip(?: ?code)?|post(?:al|leit)? ?(?:code|zahl)|plz|code postal|c[oó]digo postal|cap|postcode|postnummer)"
    r"(?: (?i:is|ist|est|es|number|no\.?))?[:=]?\s{1,2}"
    r"([A-Z]{0,2}-?\d{3,6}(?:[- ]\d{2,4})?|[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2})\b"
)
"""A zip code that is called one; the group is the code."""
LEFT = re.compile(
    rf"(?:\b\d{{1,6}}(?:/\d{{1,4}})?[a-zA-Z]?|\b(?i:the corner of)|\b{UNIT}\.? ?#?\d{{1,5}}[A-Za-z]?)[\s,>]{{1,6}}$|"
    rf"\b{UNIT}\.? ?#?$|\b[Ll]ieu-dit(?: L[ea]s?)? $"
)
"""What may stand before it: a number or a unit, or the word of the unit whose number it begins with."""
ACROSS = 120
"""Characters behind a line that a form may reach into."""


STREET_WORD = re.compile(rf"(?:{_PREFIX}|{_RARE_PREFIX}|{UNIT}|{_STEM}|{_RARE_STEM}|{_SUFFIX}|lieu)\Z", re.I)


def streets(text: str, start: int, end: int) -> Iterator[tuple[int, int, bool]]:
    """Spans that begin in a line and have the form of a street with its number or of a post box, and whether they
    need no witness. Mail of forces overseas may go on in the next line."""
    if end - start < _LEAST:
        return
    if _OVERSEAS_WORD.search(text, start, end):
        for match in OVERSEAS.finditer(text, start, min(len(text), end + ACROSS)):
            if match.start() < end:
                yield *match.span(), True
    if not any(c.isdigit() for c in text[start:end]):
        return
    for pattern, plain in STREETS:
        for match in pattern.finditer(text, start, end):
            yield *match.span(), plain
