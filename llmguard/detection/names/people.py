"""People: judged words become names. What code and common words explain is dropped.

Owns: thresholds, joining, titles. Never does: inference, addresses, what is called like a person (``things``). Offsets
are code points, half-open. Invariant: a span starts and ends with a word; the result is sorted and never overlaps.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmguard.detection.names import confidence
from llmguard.detection.names.context import INTRODUCED, PRESENTS, TITLE, near
from llmguard.detection.names.lexicon import Lexicon
from llmguard.detection.names.lines import Line, base
from llmguard.detection.names.mentions import handles
from llmguard.detection.names.spans import COMMON, Found, Word, bare, certain, identifier, titled, without
from llmguard.detection.names.terms import ADDRESSING, AND, FUNCTION_WORDS, PARTICLES
from llmguard.detection.names.things import ORGANISATION, is_thing, things

NAME, KNOWN_NAME, CERTAIN_NAME = 0.2, 0.1, 0.03
"""Least probabilities: of a word that is nobody's name; of somebody's name; of a name in title case that is neither an
ordinary word nor a place, within a sentence."""
NEVER, COUNTRY, BRIEF, EVERYDAY = 1.1, 0.9, 0.5, 0.15
"""For words in lower case that are nobody's name, unless words before them tell of one; for countries; for short
capitalised words that are common and somebody's name, for brands and languages; for longer ones that are both."""
SPREAD, TOLD = 0.02, 0.6
"""For a title-case word beside a name; if it is an ordinary word."""
_ACRONYM, _SHORT, _WORDS, _PARTICLES = 5, 3, 6, 12
_GAPS = (" ", "-", " '")
_COMPOUND = re.compile(r"-([a-z]{3,30})\b")
"""What a name in lower case goes on with: another name, or it is a word like ``name-tools``."""
_INITIAL = re.compile(r"(?<=[^\W\d_] )[A-Z]\. ?$")
_COURTESY = re.compile(
    r"\b(?:Mr|Mrs|Ms|Mx|Dr|Prof|Herrn?|Frau|Mme|Mlle|Señora?|Signora?|Senhora?|Mevr|Dhr|do[nñ]a|don|señora?|senhora?|"
    r"mevrouw|meneer)\.? $"
)
_CLITIC = re.compile(r".+[áéíóú][a-zñ]{1,6}(?:me|te|se|l[aeo]s?|nos)")
"""Spanish verbs with what hangs on them, which begin a sentence and no dictionary has: ``Mándelo``."""
_DEGREE = re.compile(r",? (?:MD|DDS|DVM|PhD|Ph\.D\.|Jr\.?|Sr\.?|II|III|IV|Esq\.?)(?![\w])")


def names(text: str, lines: Sequence[Line], words: Sequence[Word], lexicon: Lexicon) -> list[Found]:
    """The names of people among ``words``, in order."""
    marked = [_is_name(text, words, i, lexicon) for i in range(len(words))]
    _spread(text, words, marked, lexicon)
    _introduced(text, words, marked, lexicon)
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
    called = things(text, words, found, lexicon)
    found = [f for f in found if f.start not in called]
    return sorted((*found, *without(handles(text, lines, words, lexicon), found)), key=lambda f: f.start)


def _is_name(text: str, words: Sequence[Word], i: int, lexicon: Lexicon) -> bool:
    word = words[i]
    surface = text[word.start : word.end]
    probability, _, place = word.scores
    if probability < max(CERTAIN_NAME, word.least):
        return False
    if len(surface) == 1 or _addressing(text, words, i) or any(map(str.isdigit, surface)) or identifier(text, word):
        return False
    if surface.islower() and (rest := _COMPOUND.match(text, word.end)) and rest[1] not in lexicon.people:
        return False
    folded = base(surface)
    if bare(surface).isupper() and len(folded) <= _ACRONYM and folded not in lexicon.people:
        return False
    if certain(surface, folded, lexicon) and place < 0.3:
        return True
    if probability < max(KNOWN_NAME, place):
        return False
    if folded not in lexicon.people and probability < TOLD and _behind_particle(text, words, i):
        return False
    told = surface[0].islower() and near(text, word.start)
    return probability >= _least(surface, folded, lexicon, told)


def _addressing(text: str, words: Sequence[Word], i: int) -> bool:
    """``Beste Maaike``, ``Dr. Okafor``: a title or greeting before a word in title case."""
    folded = text[words[i].start : words[i].end].casefold()
    return folded in ADDRESSING and i + 1 < len(words) and text[words[i + 1].start].isupper()


def _introduced(text: str, words: Sequence[Word], marked: list[bool], lexicon: Lexicon) -> None:
    """Marks the words in lower case behind ``my name is``, as far as they are somebody's."""
    starts = {w.start: i for i, w in enumerate(words)}
    for match in INTRODUCED.finditer(text):
        first = i = starts.get(match.end(), len(words))
        while i < min(first + _WORDS, len(words)) and (i == first or text[words[i - 1].end : words[i].start] in _GAPS):
            folded = base(text[words[i].start : words[i].end])
            known = folded in lexicon.people and (i == first or folded not in FUNCTION_WORDS)
            if known or (folded not in lexicon.common and folded not in lexicon.german and len(folded) > 1):
                marked[i] = not words[i].least
            elif i == first or folded not in PARTICLES - AND:
                break
            i += 1


def _behind_particle(text: str, words: Sequence[Word], i: int) -> bool:
    """``Hilda Claeys van Contoso``: what stands behind a particle may be where somebody works."""
    return i > 1 and text[words[i - 1].start : words[i - 1].end] in PARTICLES and text[words[i - 2].start].isupper()


def _least(surface: str, folded: str, lexicon: Lexicon, told: bool) -> float:
    """The probability that is asked of a word, by what else explains it. ``told``: words before it tell of a name."""
    known, common, lower = folded in lexicon.people, folded in lexicon.common, surface[0].islower()
    capital = bare(surface).isupper()
    if common and (lower or not known):
        return COMMON
    if lower and not known:
        return TOLD if told else NEVER
    if folded in lexicon.countries:
        return COUNTRY
    if surface.isupper() and folded in PARTICLES:
        return COMMON
    if (common and len(folded) <= _SHORT) or folded in lexicon.proper:
        return BRIEF
    if capital and not known:
        return COMMON
    if not known:
        return COMMON if folded in lexicon.german or _CLITIC.fullmatch(folded) else NAME
    if (lower and not told) or (capital and len(folded) <= _ACRONYM):
        return BRIEF
    return EVERYDAY if common else KNOWN_NAME


def _spread(text: str, words: Sequence[Word], marked: list[bool], lexicon: Lexicon) -> None:
    """Marks title-case words that stand beside a name (over an initial or a particle too), after a title, before a
    speaker's colon, or in pairs that the lexicon knows as given and family names."""
    for i, word in enumerate(words):
        surface = text[word.start : word.end]
        if marked[i] or len(surface) < 2 or not titled(surface) or identifier(text, word):
            continue
        folded = base(surface)
        if folded in FUNCTION_WORDS or _addressing(text, words, i):
            continue
        common, known = folded in lexicon.common, folded in lexicon.people
        if word.least:
            marked[i] = word.scores[0] >= SPREAD and not common and _beside_name(text, words, marked, i)
        elif ((known or word.scores[0] >= TOLD) and _after_particle(text, words, marked, i)) or (
            known and _paired(text, words, i, lexicon)
        ):
            marked[i] = True
        elif (known or not common) and bare(surface) == surface:
            telling = word.scores[0] >= SPREAD
            surely = telling or certain(surface, folded, lexicon)
            marked[i] = (surely and _beside_name(text, words, marked, i)) or (
                (telling or not common)
                and bool(TITLE.search(text, max(0, word.start - 24), word.start) or (known and _speaks(text, word)))
            )
        elif word.scores[0] >= TOLD and text[word.start - 1 : word.start] != "-":
            marked[i] = _beside_name(text, words, marked, i)
        marked[i] = marked[i] or _announced(text, word, folded, lexicon)


def _announced(text: str, word: Word, folded: str, lexicon: Lexicon) -> bool:
    """Whether an initial, a title or who presents somebody stands right before."""
    before = max(0, word.start - 24)
    return bool(
        (folded not in lexicon.common and _INITIAL.search(text, max(0, word.start - 6), word.start))
        or (_presentable(folded, lexicon) and PRESENTS.search(text, before, word.start))
        or (word.scores[0] >= KNOWN_NAME and TITLE.search(text, before, word.start))
        or _COURTESY.search(text, max(0, word.start - 12), word.start)
    )


def _presentable(folded: str, lexicon: Lexicon) -> bool:
    """Whether ``I am`` makes a name of it."""
    known = folded in lexicon.given or (folded in lexicon.people and folded not in lexicon.common)
    return known and folded not in lexicon.lands


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
    """Whether a name and one or two particles stand before: ``Rodríguez de la Fuente``, ``Jan van 't Hof``."""
    for j in range(i - 1, max(i - 4, 0), -1):
        if marked[j]:
            return j < i - 1 and words[i].start - words[j].end <= _PARTICLES
        if text[words[j].start : words[j].end] not in PARTICLES - AND or "," in text[words[j].end : words[j + 1].start]:
            return False
    return False


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
        all(map(titled, surfaces))
        and folded <= lexicon.people
        and not folded <= lexicon.common
        and folded.isdisjoint(lexicon.countries)
    )


def _small(text: str, word: Word) -> bool:
    return text[word.start].islower() and not titled(text[word.start : word.end])


def _speaks(text: str, word: Word) -> bool:
    """A line that begins with a name and a colon, as a transcript does."""
    return text[word.end : word.end + 1] == ":" and not text[max(0, word.start - 1) : word.start].strip("\n>")


def _next_of_name(text: str, words: Sequence[Word], marked: Sequence[bool], i: int) -> int:
    """The number of the word that the name goes on with after word ``i``, over an initial or particles; else ``i``."""
    for j in range(i + 1, min(i + 4, len(words))):
        before, word = words[j - 1], words[j]
        possessive = before.end - before.start > len(bare(text[before.start : before.end]))
        if possessive or not _glued(text[before.end : word.start], before.end - before.start):
            return i
        if marked[j]:
            return j
        if text[word.start : word.end] in AND or (
            word.end - word.start > 1 and text[word.start : word.end].lower() not in PARTICLES
        ):
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
        while kept and _small(text, kept[0]) and text[kept[0].start : kept[0].end] not in PARTICLES:
            kept.pop(0)
        while kept and _small(text, kept[-1]):
            kept.pop()
    if not kept:
        return None
    start, end = kept[0].start, kept[-1].end
    if text[end - 2 : end] in ("'s", "’s"):
        end -= 2
    if ORGANISATION.match(text, end) or is_thing(text, kept, lexicon):
        return None
    if (initial := re.search(r"\b[A-Z]\. ?$", text[max(0, start - 4) : start])) and text[start].isupper():
        start -= len(initial.group())
    if degree := _DEGREE.match(text, end):
        end = degree.end()
    written = [text[w.start : w.end] for w in kept]
    known = any(base(s) in lexicon.people or certain(s, base(s), lexicon) for s in written)
    mean = sum(w.scores[0] for w in kept) / len(kept)
    return Found(start, end, "PERSON", confidence.of_name(mean, known=known, words=len(kept)))
