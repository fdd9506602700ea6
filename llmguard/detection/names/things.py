"""Things: products, places, groups and software that are called like somebody, or that nobody has heard of.

A name that the lexicon of given names does not know, and that no title, greeting, verb or kin tells of, is *weak*: what
else speaks against it counts. Never does: finding names. Invariant: the work grows with the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmguard.detection.names.context import behind_article, technical, told, within
from llmguard.detection.names.lexicon import Lexicon
from llmguard.detection.names.lines import base
from llmguard.detection.names.spans import Found, Word, bare, certain, titled
from llmguard.detection.names.terms import FUNCTION_WORDS, PLACES, TECHNICAL

UNKNOWN = 0.3
"""For an unknown word, or one behind an article, that stands alone."""
SURNAME = 0.05
"""For a weak word that is a family name."""
ALONE = 0.98
"""For an unknown word that stands alone behind an article, as a product or a place does; for a weak brand."""
ORGANISATION = re.compile(
    r",? (?:(?:and|&) \w{1,30} |[A-Z]\w{1,20} )?(?:Ltd|Inc|LLC|LLP|PLC|GmbH|AG|Corp|Corporation|Group|Company|Co|"
    r"Foundation|University|College|School|Institute|Airport|Stadium|Award|Prize|Park|Hotel|Bank|Archipelago|"
    r"Islands?|River|Lake|"
    r"Valley|Mountains?|Beach|Canyon|Desert|Museum|Theorem|Algorithm|Method|Distribution|Equation|Conjecture)\b"
)
_LANDS = re.compile(r" (?:Republic|Kingdom|Islands?|Union|Ocean|Sea|Script|language|alphabet)\b")
_NEXT = re.compile(r" ([^\W\d_]{2,30})\b(?!['’])")
_SHOP = re.compile(r"['’]s(?! [^\W_])")


def is_thing(text: str, words: Sequence[Word], lexicon: Lexicon) -> bool:
    """Words that stand for a product, a place or a group: unknown ones or a single one behind an article, towns of
    several words, what ends like a place."""
    surfaces = [text[w.start : w.end] for w in words]
    if (len(words) == 1 and base(surfaces[0]) in TECHNICAL) or _LANDS.match(text, words[-1].end):
        return True
    start, score = words[0].start, sum(w.scores[0] for w in words) / len(words)
    known = any(base(s) in lexicon.people or certain(s, base(s), lexicon) for s in surfaces)
    if surfaces[0][0].islower():
        return False
    if len(words) > 1:
        if any(base(s) in TECHNICAL for s in surfaces) and not any(base(s) in lexicon.people for s in surfaces):
            return True
        if not known and _headed(text, words[-1].end, lexicon):
            return True
        place = " ".join(map(base, surfaces)) in lexicon.towns or surfaces[-1] in PLACES
        return (place and score < UNKNOWN) or (not known and score < ALONE and behind_article(text, start))
    if told(text, start, words[-1].end):
        return False
    if score < UNKNOWN and not known:
        return True
    return score < (UNKNOWN if known else ALONE) and behind_article(text, start)


def things(text: str, words: Sequence[Word], found: Sequence[Found], lexicon: Lexicon) -> set[int]:
    """Starts of weak names that are things: by what stands around them, or around the same word elsewhere."""
    weak = {f.start: text[f.start : f.end] for f in found if _weak(text, f, lexicon)}
    scores = {w.start: w.scores[0] for w in words if w.start in weak}
    named = {f.start for f in found} - weak.keys()
    told_of = {text[start:end] for start, end in ((f.start, f.end) for f in found if f.start in named)}
    called = {s for start, s in weak.items() if _called(text, start, s, scores.get(start, 0.0), lexicon)}
    if surfaces := set(weak.values()) - called - told_of:
        called.update(
            surface
            for w in words
            if (surface := bare(text[w.start : w.end])) in surfaces
            and w.scores[0] < ALONE
            and (behind_article(text, w.start) or ORGANISATION.match(text, w.end))
        )
    return {start for start, surface in weak.items() if surface in called - told_of}


def _weak(text: str, f: Found, lexicon: Lexicon) -> bool:
    """One word, no given name (or a shop's, a tool's, or not in title case), of whom nothing tells."""
    surface = text[f.start : f.end]
    if " " in surface or "-" in surface or (f.start and text[f.start - 1] == "@"):
        return False
    folded = surface.casefold()
    shop = folded in lexicon.brands and (
        _SHOP.match(text, f.end) is not None or (folded in lexicon.common and technical(text, f.start, f.end))
    )
    return (folded not in lexicon.given or shop or not titled(surface)) and not told(text, f.start, f.end)


def _called(text: str, start: int, surface: str, score: float, lexicon: Lexicon) -> bool:
    """Whether a weak name stands for a thing."""
    folded, end = surface.casefold(), start + len(surface)
    if not titled(surface):
        return technical(text, start, end)
    if score < SURNAME or (score < ALONE and (folded in lexicon.brands or within(text, start))):
        return True
    if folded in lexicon.people or certain(surface, folded, lexicon):
        return False
    return _headed(text, end, lexicon) or technical(text, start, end)


def _headed(text: str, end: int, lexicon: Lexicon) -> bool:
    """Whether an ordinary word in title case follows: ``Zyloblend Steel Mixer``."""
    following = _NEXT.match(text, end)
    return following is not None and titled(following[1]) and _ordinary(following[1].casefold(), lexicon)


def _ordinary(folded: str, lexicon: Lexicon) -> bool:
    return folded not in lexicon.people and folded not in FUNCTION_WORDS
