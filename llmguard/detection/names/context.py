"""Context: the words around one that tell of a person, or of a thing. Every look is bounded.

Never does: deciding on a name.
"""

from __future__ import annotations

import re

from llmguard.detection.names.lines import CONTEXT

_NEAR, _AROUND, _TERMS = 32, 250, 3
INTRODUCED = re.compile(
    r"\b(?i:my name is|my name's|name's|mein name ist|ich hei(?:ß|ss)e|je m'appelle|mon nom est|call me|me llamo|"
    r"mi nombre es|mi chiamo|il mio nome è|me chamo|(?:o )?meu nome é|ik heet|mijn naam is|se llama|si chiama|se chama|"
    r"s'appelle|heißt) "
)
"""What only a name follows, in lower case too."""
_ROLE = (
    r"(?i:señora?|senhora?|signora?|madame|monsieur|mevrouw|meneer|doctora?|docteur|dottor(?:e|essa)?|dokter|doutora?|"
    r"do[nñ]a|don|profess?or(?:a|e|essa)?|professeur|ma[îi]tre|avvocat[oa]|abogad[oa]|advogad[oa]|ingegnere?|"
    r"famili[ea]|"
    r"famille|família|famiglia|dear|signed|regards,|name:|called|call(?:s|ed)? me)"
)
_KIN = (
    r"(?i:herman[oa]|hij[oa]|madre|padre|irm[ãa]o?|filh[oa]|mãe|pai|figli[oa]|sorella|fratello|zus|broer|zoon|dochter|"
    r"moeder|vader|s(?:œ|oe)ur|frère|fille|fils|mère|père|bruder|schwester|sohn|tochter|mutter|vater|amig[oa]|novi[oa]|"
    r"espos[oa]|marido|moglie|marito|sister|brother|mother|father|son|daughter|wife|husband|friend|cousin|neighbou?r)"
    r"(?: (?:of|d[eioa]|von|van))?"
)
TITLE = re.compile(
    r"\b(?:(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor|President|Senator|Captain|Colonel|Sergeant|Judge|Herrn?|Frau|"
    r"Sir|Lady|"
    r"Monsieur|Madame|Mme|Mlle|Señora?|Sra?|Signora?|Sig|Senhora?|Dhr|Mevr|Pan|Pani)\.?|"
    rf"{INTRODUCED.pattern.removeprefix(chr(92) + 'b').removesuffix(' ')}|{_ROLE}) {{0,2}}\n?$"
)
"""What stands right before a name."""
PRESENTS = re.compile(
    rf"\b(?:(?i:soy|sono|sou(?: [ao])?|ik ben|ich bin|je suis|i['’]?m|i am|this is|aqu[ií] es|conoces a|"
    rf"d[ae] parte d[eia])|{_KIN}) $"
)
"""What stands right before a given name, and before other words too."""
_GREETING = re.compile(
    r"(?i:\b(?:hi|hello|hey|dear|thanks|thank you|thx|cheers|regards|love|sincerely|hallo|liebe[rs]?|gr(?:uß|"
    r"üße)|danke|"
    r"bonjour|salut|ch[eè]re?|cordialement|merci|hola|querid[oa]|saludos|abrazos|gracias|ciao|car[oa]|saluti|grazie|"
    r"olá|oi|abraços|obrigad[oa]|hoi|beste|groet(?:en|jes)?|bedankt|dag))[,!]? {0,2}\n?$"
)
_SAYS = re.compile(
    r"(?:['’]s)?,? (?:(?:has|had|just|also|then|later|never|always|will|would|hat|a|ha|heeft) )?(?:sa(?:id|ys)|"
    r"ask(?:s|ed)|"
    r"wr(?:ites|ote|itten)|t(?:ells|old)|thinks?|thought|repli(?:es|ed)|answer(?:s|ed)|explain(?:s|ed)|wants?|"
    r"lives?|lived|"
    r"was born|knows|knew|feels|felt|loves?|hates?|went|goes|came|called|calls|bought|died|sagte?|fragte?|"
    r"schrieb|meinte?|"
    r"wohnt|angerufen|dit|demande|écrit|habite|dijo|dice|pregunt[aó]|escribió|vive|disse|diz|chiede|abita|scritto|zegt|"
    r"zei|vraagt|vroeg|woont|schreef)\b"
)
_ARTICLE = re.compile(
    r"\b(?i:the|an?|at|chez|bei|this|these|our|your|its|such as|using|with|le|la|les|der|die|das|el|los|las|il|lo|o|os|"
    r"de|het) (?:[a-zà-ÿ]{3,20} )?$"
)
_WITHIN = re.compile(
    r"(?:\b(?i:in|on|via|into|within|inside|onto|dans|sur|auf|en|em|na|no|nel|nella|sul|su|op|unter) |"
    r"\b[Tt]he [A-Z][\w’' ]{1,30}(?:,| or| and) )$"
)
_TECHNICAL = re.compile(
    r"\b(?i:apis?|cli|librar(?:y|ies)|packages?|modules?|plugins?|functions?|methods?|compilers?|runtime|servers?|"
    r"config(?:uration)?|pars(?:er|ing)|scripts?|databases?|software|framework|repository|bugs?|debug(?:ger|ging)?|"
    r"director(?:y|ies)|strings?|arrays?|binary|kernel|linux|unix|windows|python|java|javascript|typescript|"
    r"rust|node|npm|"
    r"pip|https?|html|css|json|ya?ml|xml|docker|git|github|crates?|wrapper|middleware|platforms?|algorithms?|syntax|"
    r"dependenc(?:y|ies)|tools?|toolkit|cpu|gpu|shell|browser|command|errors?|exceptions?|implementation|interface|"
    r"open[- ]source|operating system|data ?base|encoding|thread|async)\b|`|\w\(\)|\.(?:js|py|rs|io|org)\b"
)


def near(text: str, start: int) -> bool:
    """Whether words that tell of a name stand right before, in the same cell of a table."""
    ends = [m.end() for m in CONTEXT.finditer(text, max(0, start - _NEAR), start)]
    return bool(ends) and not any(c in text[ends[-1] : start] for c in "|\n\t")


def told(text: str, start: int, end: int) -> bool:
    """Whether a title, a greeting, kin or a verb of people tells that somebody stands there."""
    before = max(0, start - 24)
    return bool(
        TITLE.search(text, before, start)
        or _GREETING.search(text, before, start)
        or PRESENTS.search(text, before, start)
        or _SAYS.match(text, end)
        or near(text, start)
    )


def behind_article(text: str, start: int) -> bool:
    return _ARTICLE.search(text, max(0, start - 40), start) is not None


def within(text: str, start: int) -> bool:
    """``in Zyloblend``, ``the Guardian or Quorvex``: where places, papers and programs stand rather than people."""
    return _WITHIN.search(text, max(0, start - 40), start) is not None


def technical(text: str, start: int, end: int) -> bool:
    """Whether three different terms of software stand around."""
    around = _TECHNICAL.finditer(text, max(0, start - _AROUND), min(len(text), end + _AROUND))
    return len({m.group().casefold() for m in around}) >= _TERMS
