"""Mentions: ``@somebody``, and the further places where somebody stands who was found.

Never does: deciding that a word is a name without one of the two. Offsets are code points, half-open.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from llmguard.detection.names import confidence
from llmguard.detection.names.lexicon import Lexicon
from llmguard.detection.names.lines import WORD, Line
from llmguard.detection.names.spans import Found, Word, bare, identifier, without, words_of
from llmguard.detection.names.terms import HANDLE_TAGS, PARTICLES

TOLD = 0.2
"""The least probability of a handle that nothing else tells of."""
_HANDLE = re.compile(
    r"(?:^|(?<=[\s(\[\"'“>]))@(?P<name>[A-Za-z]\w{2,30})(?=(?:['’]\s?s)?(?:[,:;!?)\"”-]|\.?(?:\s|$)))", re.M
)


def handles(text: str, lines: Sequence[Line], words: Sequence[Word], lexicon: Lexicon) -> Iterator[Found]:
    """``@somebody``: at the start of a message, or where the model or the lexicon knows a name; never in code."""
    if "@" not in text:
        return
    scores = {w.start: w for w in words}
    for match in _HANDLE.finditer(text):
        word = scores.get(match.start("name"))
        name = match["name"]
        folded = name.casefold()
        if word is None or word.least or folded in HANDLE_TAGS:
            continue
        first = match.start() == 0 or text[match.start() - 1] in "\n>"
        told = word.scores[0] >= TOLD or folded in lexicon.people
        if told or (first and folded not in lexicon.common) or (first and name[0].isupper()):
            sure = confidence.of_name(max(word.scores[0], TOLD), known=folded in lexicon.people, words=1)
            yield Found(match.start("name"), match.end("name"), "PERSON", sure)


def surfaces(name: str, lexicon: Lexicon) -> Iterator[str]:
    """The words of a name that stand for its person elsewhere: no particles, initials or common words,
    but for given names (``Rose``)."""
    for match in WORD.finditer(name):
        surface = bare(match.group())
        folded = surface.casefold()
        telling = folded not in lexicon.common or (surface[0].isupper() and folded in lexicon.given)
        if telling and len(surface) > 2 and folded not in PARTICLES:
            yield surface


def mentions(text: str, lines: Sequence[Line], known: Collection[str], taken: Sequence[Found]) -> list[Found]:
    """Words of ``known`` outside code and outside of ``taken``."""
    found = []
    for word in words_of(lines, {}):
        surface = bare(text[word.start : word.end])
        if surface in known and not identifier(text, word):
            found.append(Found(word.start, word.start + len(surface), "PERSON", confidence.MENTION))
    return without(found, taken)
