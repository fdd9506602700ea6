"""Spans: judged words become names and addresses, and what code and common words explain is dropped.

Owns: thresholds, joining, address growth, later mentions. Never does: inference. All offsets are code points,
half-open. Invariant: a span starts and ends with a word; the result is sorted and never overlaps.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from llmguard.detection.names import grammar
from llmguard.detection.names.lexicon import Lexicon
from llmguard.detection.names.lines import WORD, Line, Look, base
from llmguard.detection.names.model import Scores, Span

NAME, KNOWN_NAME, ADDRESS, PLACE = 0.2, 0.1, 0.2, 0.3
"""Least probabilities; a word of the lexicon's people needs less."""
STRANGE, COMMON, COUNTRY, BRIEF, EVERYDAY = 0.99, 0.97, 0.9, 0.5, 0.15
"""For words in lower case that are nobody's name; for common words; for countries; for short capitalised words that are
common and somebody's name, and words in capitals that are not; for longer ones that are both."""
SPREAD = 0.03
"""For a title-case word beside a name."""
FORM, MENTION = 0.85, 0.5
"""Confidence of an address by its form, and of a further mention of a name."""
_CODE_SHARE, _CODE_LINES = 0.3, 5
_ACRONYM, _SHORT = 5, 3
_BEFORE_IDENTIFIER = frozenset("_$\\`@")
_AFTER_IDENTIFIER = frozenset("_(=\\`")
_REACH = 9
_PARTICLES = frozenset(
    (
        "von", "van", "der", "den", "de", "del", "della", "di", "da", "do", "dos", "das", "du", "la", "le", "el", "al",
        "bin", "ibn", "ben", "ter", "ten", "zu", "zum", "af", "av", "e", "y", "und",
    )
)  # fmt: skip
_ORGANISATION = re.compile(
    r",? (?:(?:and|&) \w{1,30} )?(?:Ltd|Inc|LLC|LLP|PLC|GmbH|AG|Corp|Corporation|Group|Company|Co|Foundation|"
    r"University|Institute|Airport|Stadium|Award|Prize|Park|Hotel|Bank)\b"
)
_TITLE = re.compile(
    r"\b(?:(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor|Herrn?|Frau|Sir|Lady|Monsieur|Madame|Mme|Mlle|Señora?|Sra?|Signora?|"
    r"Sig|Senhora?|Dhr|Mevr|Pan|Pani)\.?|(?i:my name is|name's|called|mein name ist|ich hei(?:ß|ss)e|je m'appelle|"
    r"call(?:s|ed)? me|me llamo|mi nombre es|mi chiamo|meu nome é|ik heet|dear|signed|regards,|name:)) {0,2}\n?$"
)


@dataclass(frozen=True, slots=True)
class Found:
    """A name or an address, before rules have their say."""

    start: int
    end: int
    type: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Word:
    """One word with its probabilities, and what its line asks of it: 0, or COMMON between code."""

    start: int
    end: int
    scores: Scores
    least: float


def find(text: str, lines: Sequence[Line], scores: dict[Span, Scores], lexicon: Lexicon) -> tuple[Found, ...]:
    """Names and addresses of ``text``, given the probabilities of the words that the model has read."""
    words = list(_words(lines, scores))
    addresses = _addresses(text, words, lines, lexicon)
    names = _without(_names(text, words, lexicon), addresses)
    known = {s for f in names for s in surfaces(text[f.start : f.end], lexicon)}
    names += mentions(text, lines, known, sorted((*addresses, *names), key=_start)) if known else []
    return tuple(sorted((*addresses, *names), key=_start))


def _start(found: Found) -> int:
    return found.start


def _words(lines: Sequence[Line], scores: dict[Span, Scores]) -> Iterator[Word]:
    looks = [line.look for line in lines if line.words]
    code = looks.count(Look.CODE)
    strict = COMMON if len(looks) >= _CODE_LINES and code >= _CODE_SHARE * len(looks) else 0.0
    for line in lines:
        if line.look != Look.CODE:
            for span in line.words:
                yield Word(*span, scores.get(span, (0.0, 0.0, 0.0)), strict)


# --------------------------------------------------------------------------- names


def _names(text: str, words: Sequence[Word], lexicon: Lexicon) -> list[Found]:
    marked = [_is_name(text, word, lexicon) for word in words]
    _spread(text, words, marked, lexicon)
    found: list[Found] = []
    i = 0
    while i < len(words):
        if not marked[i]:
            i += 1
            continue
        j = i
        while (following := _next_of_name(text, words, marked, j)) > j:
            j = following
        if (name := _name(text, words[i : j + 1], lexicon)) is not None:
            found.append(name)
        i = j + 1
    return found


def _is_name(text: str, word: Word, lexicon: Lexicon) -> bool:
    surface = text[word.start : word.end]
    probability = word.scores[0]
    if probability < max(KNOWN_NAME, word.least, word.scores[2]):
        return False
    if len(surface) == 1 or any(map(str.isdigit, surface)) or identifier(text, word):
        return False
    folded = base(surface)
    if _bare(surface).isupper() and len(folded) <= _ACRONYM and folded not in lexicon.people:
        return False
    return probability >= _least(surface, folded, lexicon)


def _least(surface: str, folded: str, lexicon: Lexicon) -> float:
    """The probability that is asked of a word, by what else explains it."""
    known, common, lower = folded in lexicon.people, folded in lexicon.common, surface[0].islower()
    if lower and not known:
        return STRANGE
    if common and (lower or not known):
        return COMMON
    if folded in lexicon.countries:
        return COUNTRY
    if (common and len(folded) <= _SHORT) or (surface.isupper() and not known):
        return BRIEF
    if not known:
        return NAME
    return EVERYDAY if common else KNOWN_NAME


def identifier(text: str, word: Word) -> bool:
    """Whether a word is part of an identifier: ``camelCase``, ``snake_case``, ``call(``, ``obj.attr``, ``@mention``."""
    surface = text[word.start : word.end]
    before, after = text[max(0, word.start - 1) : word.start], text[word.end : word.end + 1]
    if before in _BEFORE_IDENTIFIER or after in _AFTER_IDENTIFIER:
        return True
    if before == "." and word.start >= 2 and text[word.start - 2].islower() and surface[0].islower():
        return True
    return _camel(surface)


def _camel(surface: str) -> bool:
    humps = sum(a.islower() and b.isupper() for a, b in pairwise(surface))
    if humps == 0:
        return False
    return humps > 1 or not surface.startswith(("Mc", "Mac", "De", "Di", "Da", "Du", "La", "Le", "Van", "Von", "Fitz"))


def _spread(text: str, words: Sequence[Word], marked: list[bool], lexicon: Lexicon) -> None:
    """Marks title-case words that stand beside a name (over an initial or a particle too), after a title, before a
    speaker's colon, or in pairs that the lexicon knows as given and family names."""
    for i, word in enumerate(words):
        surface = text[word.start : word.end]
        if marked[i] or word.least or len(surface) < 2 or not _titled(surface) or identifier(text, word):
            continue
        folded = base(surface)
        common, known = folded in lexicon.common, folded in lexicon.people
        if _after_particle(text, words, marked, i) or (known and _paired(text, words, i, lexicon)):
            marked[i] = True
        elif (known or not common) and _bare(surface) == surface:
            telling = word.scores[0] >= SPREAD
            marked[i] = (telling and _beside_name(text, words, marked, i)) or (
                (telling or not common)
                and bool(_TITLE.search(text, max(0, word.start - 24), word.start) or (known and _speaks(text, word)))
            )


def _titled(surface: str) -> bool:
    return surface[0].isupper() and not surface.isupper()


def _beside_name(text: str, words: Sequence[Word], marked: Sequence[bool], i: int) -> bool:
    if i + 1 < len(words) and marked[i + 1] and text[words[i].end : words[i + 1].start] in (" ", "-"):
        return True
    if i == 0 or text[words[i - 1].end : words[i].start] not in (" ", "-", ". "):
        return False
    before = words[i - 1]
    if before.end - before.start > 1:
        return marked[i - 1] and text[before.end : words[i].start] != ". "
    return i > 1 and marked[i - 2] and text[words[i - 2].end : before.start] == " "


def _after_particle(text: str, words: Sequence[Word], marked: Sequence[bool], i: int) -> bool:
    return (
        i > 1
        and marked[i - 2]
        and text[words[i - 1].start : words[i - 1].end] in _PARTICLES - {"e", "y", "und"}
        and text[words[i - 2].end : words[i].start].count(" ") == 2
        and words[i].start - words[i - 2].end <= 8
    )


def _paired(text: str, words: Sequence[Word], i: int, lexicon: Lexicon) -> bool:
    """Two known names side by side, one of them no common word."""
    return any(
        a >= 0
        and b < len(words)
        and text[words[a].end : words[b].start] == " "
        and _full_name(text, words[a : b + 1], lexicon)
        for a, b in ((i, i + 1), (i - 1, i))
    )


def _full_name(text: str, pair: Sequence[Word], lexicon: Lexicon) -> bool:
    surfaces = [text[w.start : w.end] for w in pair]
    folded = {base(s) for s in surfaces}
    return (
        all(map(_titled, surfaces))
        and folded <= lexicon.people
        and not folded <= lexicon.common
        and folded.isdisjoint(lexicon.countries)
    )


def _speaks(text: str, word: Word) -> bool:
    """A line that begins with a name and a colon, as a transcript does."""
    return text[word.end : word.end + 1] == ":" and not text[max(0, word.start - 1) : word.start].strip("\n>")


def _next_of_name(text: str, words: Sequence[Word], marked: Sequence[bool], i: int) -> int:
    """The number of the word that the name goes on with after word ``i``, over an initial or particles; else ``i``."""
    for j in range(i + 1, min(i + 4, len(words))):
        before, word = words[j - 1], words[j]
        possessive = before.end - before.start > len(_bare(text[before.start : before.end]))
        if possessive or not _glued(text[before.end : word.start], before.end - before.start):
            return i
        if marked[j]:
            return j
        if word.end - word.start > 1 and text[word.start : word.end].lower() not in _PARTICLES:
            return i
    return i


def _glued(between: str, length: int) -> bool:
    """Whether what stands between two words, the first of that length, lets them be one name."""
    if len(between) > 3 or "\n" in between or between.strip(" .-'’"):
        return False
    return ". " not in between or length <= _SHORT


def _name(text: str, words: Sequence[Word], lexicon: Lexicon) -> Found | None:
    """One name of joined words; lower-case edges beside words in title case are cut."""
    kept = list(words)
    if any(text[w.start].isupper() for w in kept):
        while kept and text[kept[0].start].islower() and text[kept[0].start : kept[0].end] not in _PARTICLES:
            kept.pop(0)
        while kept and text[kept[-1].start].islower():
            kept.pop()
    if not kept:
        return None
    start, end = kept[0].start, kept[-1].end
    if text[end - 2 : end] in ("'s", "’s"):
        end -= 2
    if _ORGANISATION.match(text, end):
        return None
    if (initial := re.search(r"\b[A-Z]\. ?$", text[max(0, start - 4) : start])) and text[start].isupper():
        start -= len(initial.group())
    scores = [w.scores[0] for w in kept if w.scores[0] > 0]
    return Found(start, end, "PERSON", _confidence(scores))


def _confidence(scores: Sequence[float]) -> float:
    """The mean probability; at least the least that was asked."""
    return round(min(0.99, max(KNOWN_NAME, sum(scores) / len(scores))), 2) if scores else NAME


def surfaces(name: str, lexicon: Lexicon) -> Iterator[str]:
    """The words of a name that stand for its person elsewhere: no particles, initials or common words."""
    for match in WORD.finditer(name):
        surface = _bare(match.group())
        folded = surface.casefold()
        telling = folded not in lexicon.common or (surface[0].isupper() and folded in lexicon.people)
        if telling and len(surface) > 2 and folded not in _PARTICLES:
            yield surface


def mentions(text: str, lines: Sequence[Line], known: Collection[str], taken: Sequence[Found]) -> list[Found]:
    """Words of ``known`` outside code and outside of ``taken``."""
    found = []
    for word in _words(lines, {}):
        surface = _bare(text[word.start : word.end])
        if surface in known and not identifier(text, word):
            found.append(Found(word.start, word.start + len(surface), "PERSON", MENTION))
    return _without(found, taken)


def _bare(surface: str) -> str:
    """Without the ending of a possessive."""
    return surface[:-2] if surface[-2:] in ("'s", "’s") else surface


# --------------------------------------------------------------------------- addresses


def _addresses(text: str, words: Sequence[Word], lines: Sequence[Line], lexicon: Lexicon) -> list[Found]:
    seeds = [
        (start, end, FORM, True)
        for line in lines
        if line.look != Look.CODE
        for start, end in grammar.streets(text, line.start, line.end)
    ]
    for word in words:
        street, place = word.scores[1], word.scores[2]
        least = max(ADDRESS, word.least)
        if (street >= least or place >= max(PLACE, word.least)) and not identifier(text, word):
            seeds.append((word.start, word.end, max(street, place), street >= least))
    found = [f for cluster in _clusters(text, sorted(seeds)) if (f := _address(text, cluster, lexicon)) is not None]
    zips = [Found(*m.span(1), "ADDRESS", FORM) for m in grammar.ZIP_CODE.finditer(text)]
    return found + _without(zips, found)


Seed = tuple[int, int, float, bool]


def _clusters(text: str, seeds: Iterable[Seed]) -> Iterator[list[Seed]]:
    cluster: list[Seed] = []
    end = 0
    for seed in seeds:
        if cluster and not _joined(text[end : seed[0]]):
            yield cluster
            cluster, end = [], 0
        cluster.append(seed)
        end = max(end, seed[1])
    if cluster:
        yield cluster


def _joined(between: str) -> bool:
    """At most nine separators and one short word between two parts of an address."""
    if len(between) > _REACH + 3 or "\n\n" in between:
        return False
    inner = re.findall(r"[^\W_]+", between)
    if len(inner) > 1 or (inner and len(inner[0]) > 3):
        return False
    return not re.search(r"[!?;(){}#\"]|\. [A-Z]", between)


def _address(text: str, cluster: Sequence[Seed], lexicon: Lexicon) -> Found | None:
    """One address: it needs a number and a word of a street, or a zip beside its town."""
    start, end = cluster[0][0], max(seed[1] for seed in cluster)
    surface = text[start:end]
    digits = sum(c.isdigit() for c in surface)
    streets = [s for s in cluster if s[3]]
    lettered = any(re.search(r"[^\W\d_]{2}", text[s[0] : s[1]]) for s in streets) and bool(re.search(r"\b\d", surface))
    zipped = any(text[s[0] : s[1]].isdigit() and s[1] - s[0] >= 4 for s in streets) and len(cluster) > len(streets)
    if not digits or not (lettered or zipped):
        return None
    confidence = round(min(0.99, sum(s[2] for s in cluster) / len(cluster)), 2)
    return Found(_grown_left(text, start), _grown_right(text, end, lexicon), "ADDRESS", confidence)


def _grown_left(text: str, start: int) -> int:
    for _ in range(2):
        before = text[max(0, start - 24) : start]
        grown = grammar.LEFT.search(before)
        if grown is None:
            break
        start -= len(before) - grown.start()
    return start


def _grown_right(text: str, end: int, lexicon: Lexicon) -> int:
    """Over units, states and zips, and over a capitalised town before a zip or a country."""
    for _ in range(6):
        if grown := grammar.RIGHT.match(text, end) or grammar.TOWN.match(text, end):
            end = grown.end()
            continue
        last = None
        for word in grammar.CAPITALS.finditer(text, end, min(len(text), end + 80)):
            if text[last or end : word.start()].strip(" \t\n,>("):
                break
            last = word.end()
            if word.group().casefold() in lexicon.lands:
                end = last
        if last is None or end != last:
            break
    return end


def _without(found: Iterable[Found], taken: Sequence[Found]) -> list[Found]:
    """Those that overlap none of ``taken``, in order."""
    edges = sorted((t.start, t.end) for t in taken)
    kept, at = [], 0
    for f in sorted(found, key=_start):
        while at < len(edges) and edges[at][1] <= f.start:
            at += 1
        if at == len(edges) or edges[at][0] >= f.end:
            kept.append(f)
    return kept
