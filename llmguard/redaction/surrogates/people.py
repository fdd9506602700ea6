"""Names of people: as many words, of the same script and case, initials for initials; titles and particles stay.

A shorter form of a name gets the matching words of its person's surrogate.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmguard.redaction.surrogates.data import Script, words
from llmguard.redaction.surrogates.draw import Draw
from llmguard.redaction.surrogates.scripts import MARKS, TOGETHER, script

_LETTERS = rf"(?:[^\W\d_][{MARKS}]*)+"
_WORD = re.compile(rf"{_LETTERS}(?:['’-]{_LETTERS})*")
_TITLES_AND_PARTICLES = """
dr mr mrs ms miss mx prof professor sir dame lord lady herr frau hr fr m mme mlle monsieur madame sr sra srta señor
señora don doña dom dona van von der den de het ten ter zu zur zum af av da das do dos di del della dello degli la le
les el al bin bint ibn ben abu y e i und and et st jr snr ii iii iv phd md
"""
_STAYS = frozenset(_TITLES_AND_PARTICLES.split())


def spoken(name: str) -> list[str]:
    """The words of a name that stand for a person, case-folded."""
    found = [w.casefold() for w in _WORD.findall(name)]
    return [w for w in found if w not in _STAYS] or found


def drawn(whole: str, draw: Draw, *, invented: bool = False) -> list[str]:
    """Words in the place of ``spoken(whole)``: common names, or ``invented`` ones where those are used up."""
    names = spoken(whole)
    of = _pool(names)
    known = words().names.get(of)
    if known is None or invented:
        return [draw.word(name).capitalize() for name in names]
    if of in TOGETHER:
        return [_together(name, known, draw) for name in names]
    if of == "kanji" and len(names) == 1:
        return [draw.pick(known.family) + draw.pick(known.given)]
    before = len(spoken(whole.partition(",")[0])) if "," in whole else 0  # Doe, Jane
    last = 0 if of == "kanji" else min(before or len(names), len(names)) - 1
    return [draw.pick(known.family if i == last and len(names) > 1 else known.given) for i in range(len(names))]


def _together(name: str, known: Script, draw: Draw) -> str:
    family = 2 if len(name) > 3 else 1 if len(name) > 1 else 0
    return "".join(draw.pick(known.family if i < family else known.given) for i in range(len(name)))


def _pool(names: Sequence[str]) -> str:
    """Which names are drawn from. Chinese names are written without blanks and rarely have four characters: names in
    Han with either are taken for Japanese ones.
    """
    of = script(names[0]) if names else ""
    return "kanji" if of == "han" and (len(names) > 1 or len(names[0]) == 4) else of


def written(value: str, whole: str, instead: Sequence[str], draw: Draw) -> str:
    """``value``, a form of ``whole``, in the words that stand ``instead`` of ``spoken(whole)``. Nobody's name has
    digits: with some it is one in disguise, of which nothing stays.
    """
    if any(c.isdigit() for c in value):
        return draw.shaped(value)
    table = list(zip(spoken(whole), instead, strict=True))
    mine = set(spoken(value))

    def word(match: re.Match[str]) -> str:
        folded = match[0].casefold()
        if folded not in mine:
            return match[0]
        return _cased(match[0], _matching(folded, table) or drawn(folded, draw)[0])

    return _WORD.sub(word, value)


def _matching(folded: str, table: list[tuple[str, str]]) -> str:
    """The word that stands for ``folded``; its initial for an initial. Each is used once, in order."""
    for i, (word, new) in enumerate(table):
        if word == folded or (len(folded) == 1 and word[0] == folded):
            del table[: i + 1]
            return new if len(word) == len(folded) or len(folded) > 1 else new[0]
    return ""


def _cased(was: str, new: str) -> str:
    if len(was) == 1 and len(new) > 1 and was.isascii():
        new = new[0]
    if was.isupper():
        return new.upper()
    return new.lower() if was.islower() else new
