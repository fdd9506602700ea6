"""Grammar of addresses: what is a street, a unit or a post box by its form, whatever the model says.

Matches one line at a time and only where a digit is. Invariant: every repetition is bounded, so that the work grows
with the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_UP = r"[A-ZÀ-ÖØ-ÞĀ-ŽΑ-ΩА-Я]"
_NAME = rf"(?:{_UP}|\d{{1,3}}(?:st|nd|rd|th)\b)[\w.'’-]{{0,30}}"
_NUMBER = r"\d{1,6}(?:[/-]\d{1,5})?[A-Za-z]?"
_SUFFIX = (
    r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Drive|Dr|Lane|Ln|Court|Ct|Place|Pl|Terrace|Way|Square|Sq|"
    r"Highway|Hwy|Parkway|Pkwy|Crescent|Close|Circle|Cir|Trail|Gardens|Grove|Mews|Row|Quay|Alley|Turnpike)"
)
_PREFIX = (
    r"(?:rue|avenue|av\.|boulevard|bd|place|chemin|quai|all[ée]e|impasse|cours|via|viale|v\.le|piazza|piazzale|corso|"
    r"largo|vicolo|strada|calle|c/|avenida|avda\.?|plaza|paseo|carrer|ronda|rua|travessa|praça|alameda|ul\.|ulica|"
    r"ulice|al\.|aleja|plac|os\.|ulitsa|улица|ул\.|просп\.|str\.|strada|calea|bulevardul)"
)
_STEM = (
    r"(?:stra(?:ß|ss)e|str\.|weg|gasse|platz|allee|damm|ufer|ring|markt|chaussee|steig|straat|laan|plein|kade|gracht|"
    r"singel|dijk|gata|gatan|gate|gaten|vei|veien|veg|vegen|vägen|väg|vej|allé|stræde|torv|katu|tie|kuja|polku|stígur|"
    r"utca|útja|tér|körút)"
)
STREETS = tuple(
    re.compile(p)
    for p in (
        rf"\b{_NUMBER},? (?:(?:North|South|East|West|N|S|E|W|NE|NW|SE|SW)\.? )?(?:{_NAME} ){{1,4}}{_SUFFIX}\b\.?",
        rf"\b(?i:{_PREFIX})\s(?:(?:d[eiao]s?|della?|del|du|la|le|les|el|los|las|św\.|\w\.|\d{{1,2}})\s){{0,3}}"
        rf"(?:d'|l'|dell')?{_NAME}(?:[ -](?:(?:de|di|da|do|dos|du|des|la|y|e|i|et) ){{0,2}}{_NAME}){{0,4}},?\s{{1,2}}"
        rf"(?:n[°ºr]?\.? ?)?{_NUMBER}\b",
        rf"\b{_NUMBER}(?: bis| ter)?,? (?i:rue|avenue|boulevard|place|chemin|quai|all[ée]e|impasse|cours)\s"
        rf"(?:(?:de|du|des|la|le|les|d'|l') ?){{0,3}}[\w.'’-]{{2,30}}(?: {_NAME}){{0,3}}",
        rf"\b{_UP}[\w'’-]{{1,40}}(?i:{_STEM}) {_NUMBER}\b",
        rf"\b{_UP}[\w'’.-]{{1,30}} (?i:stra(?:ß|ss)e|str\.|gate|gata|gatan|vei|veien|utca|út|vej|weg|allee|platz) "
        rf"{_NUMBER}\b",
        r"\b(?i:P\.? ?O\.? ?Box|Postfach|Postbus|Boîte postale|Apartado|Casella postale|PSC)\s{1,2}\d{1,7}\b"
        r"(?:, Box \d{1,6})?",
        r"\b(?i:unit|USS|USNS|USNV|USCGC) [\w ]{1,25},? (?i:box \d{1,6}|(?:APO|FPO|DPO) A[AEP]\b)",
    )
)
UNIT = (
    r"(?i:apt|apartment|suite|ste|unit|flat|floor|fl|room|rm|building|bldg|lot|appt|apartado|stock|étage|wohnung|whg|"
    r"top|piso|int|interno|scala|lok|m\.)"
)
RIGHT = re.compile(
    rf"[\s,>]{{1,9}}(?:{UNIT}\.? ?#?\d{{1,5}}[A-Za-z]?\b|#\d{{1,5}}\b|"
    r"(?:[A-Z]{2},?[ \n]{1,4})?[A-Z]{0,2}-?\d{3,5}(?:[- ]\d{2,4})?\b|"
    r"[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}\b|[A-Z]\d[A-Z] ?\d[A-Z]\d\b|[A-Z]{2}\b(?=[\s,]{1,6}\d{4}))"
)
"""What an address goes on with: a unit, a state and zip."""
_ZIP = r"(?:[A-Z]{1,2}-?)?\d{4,5}(?:-\d{3,4})?\b|\d{3}[ -]\d{2}\b|[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}\b"
TOWN = re.compile(
    rf"[\s,>]{{1,9}}{_UP}[\w'’.-]{{1,30}}(?:[ -]{_UP}[\w'’.-]{{1,30}}){{0,2}}[\s,>]{{1,9}}(?:[A-Z]{{2}}[\s,>]{{1,9}})?"
    rf"(?:{_ZIP})"
)
"""A town and the zip behind it."""
CAPITALS = re.compile(rf"{_UP}[\w'’-]{{1,30}}")
ZIP_CODE = re.compile(
    r"\b(?i:zip(?: ?code)?|post(?:al|leit)? ?(?:code|zahl)|plz|code postal|c[oó]digo postal|cap|postcode|postnummer)"
    r"(?: (?i:is|ist|est|es|number|no\.?))?[:=]?\s{1,2}"
    r"([A-Z]{0,2}-?\d{3,6}(?:[- ]\d{2,4})?|[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2})\b"
)
"""A zip code that is called one; the group is the code."""
LEFT = re.compile(rf"(?:\b\d{{1,6}}|\bthe corner of|\b{UNIT}\.? ?#?\d{{1,5}}[A-Za-z]?)[\s,>]{{1,6}}$")
"""What may stand before it: a number or a unit."""


def streets(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Spans in one line that have the form of a street with its number, or of a post box."""
    if not any(c.isdigit() for c in text[start:end]):
        return
    for pattern in STREETS:
        for match in pattern.finditer(text, start, end):
            yield match.span()
