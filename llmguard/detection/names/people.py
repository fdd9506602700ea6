"""People: judged words become names. What code and common words explain is dropped.

Owns: thresholds, joining, titles, later mentions. Never does: inference, addresses. Offsets are code points, half-open.
Invariant: a span starts and ends with a word; the result is sorted and never overlaps.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from llmguard.detection.names import confidence
from llmguard.detection.names.lexicon import Lexicon
from llmguard.detection.names.lines import CONTEXT, WORD, Line, base
from llmguard.detection.names.spans import COMMON, Found, Word, identifier, without, words_of
from llmguard.detection.names.terms import AND, FUNCTION_WORDS, HANDLE_TAGS, PARTICLES, PLACES, TECHNICAL

NAME, KNOWN_NAME, CERTAIN_NAME = 0.2, 0.1, 0.03
"""Least probabilities: of a word that is nobody's name; of somebody's name; of a name in title case that is neither an
ordinary word nor a place, within a sentence."""
NEVER, COUNTRY, BRIEF, EVERYDAY = 1.1, 0.9, 0.5, 0.15
"""For words in lower case that are nobody's name, unless words before them tell of one; for countries; for short
capitalised words that are common and somebody's name, for brands and languages; for longer ones that are both."""
UNKNOWN = 0.3
"""For an unknown word, or one behind an article, that stands alone."""
SPREAD, TOLD = 0.02, 0.6
"""For a title-case word beside a name; if it is an ordinary word."""
ALONE = 0.98
"""For an unknown word that stands alone behind an article, as a product or a place does."""
_ACRONYM, _SHORT, _NEAR = 5, 3, 32
_ORGANISATION = re.compile(
    r",? (?:(?:and|&) \w{1,30} |[A-Z]\w{1,20} )?(?:Ltd|Inc|LLC|LLP|PLC|GmbH|AG|Corp|Corporation|Group|Company|Co|"
    r"Foundation|University|College|School|Institute|Airport|Stadium|Award|Prize|Park|Hotel|Bank|Archipelago|Islands?|River|Lake|"
    r"Valley|Mountains?|Beach|Canyon|Desert|Museum|Theorem|Algorithm|Method|Distribution|Equation|Conjecture)\b"
)
_TITLE = re.compile(
    r"\b(?:(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor|President|Senator|Captain|Colonel|Sergeant|Judge|Herrn?|Frau|Sir|Lady|"
    r"Monsieur|Madame|Mme|Mlle|Señora?|Sra?|Signora?|Sig|Senhora?|Dhr|Mevr|Pan|Pani)\.?|(?i:my name is|name's|called|"
    r"mein name ist|ich hei(?:ß|ss)e|je m'appelle|call(?:s|ed)? me|me llamo|mi nombre es|mi chiamo|meu nome é|ik heet|"
    r"señora?|senhora?|signora?|madame|monsieur|mevrouw|meneer|doctora?|docteur|dottor(?:e|essa)?|dokter|doutora?|"
    r"dear|signed|regards,|name:)) {0,2}\n?$"
)
_INITIAL = re.compile(r"(?<=[^\W\d_] )[A-Z]\. ?$")
_COURTESY = re.compile(r"\b(?:Mr|Mrs|Ms|Mx|Dr|Prof|Herrn?|Frau|Mme|Mlle|Señora?|Signora?|Senhora?|Mevr|Dhr)\.? $")
_SURNAME = re.compile(
    r".{2,}(?:sson|dóttir|dottir|ðason|ović|ević|escu|enko|chuk|ński|ńska|ska|wicz|czyk|shvili|oğlu|opoulos|idis|"
    r"[dtklr]akis|[bdgklmnrstvz]ova|[aeiy]eva|[bdgklmnrstvz]ov|[aeiy]ev|chev|nen)"
)
"""Endings that family names have in languages whose names no list holds whole."""
_LANDS = re.compile(r" (?:Republic|Kingdom|Islands?|Union|Ocean|Sea|Script|language|alphabet)\b")
_DEGREE = re.compile(r",? (?:MD|DDS|DVM|PhD|Ph\.D\.|Jr\.?|Sr\.?|II|III|IV|Esq\.?)(?![\w])")
_ARTICLE = re.compile(
    r"\b(?i:the|an?|at|chez|bei|this|these|our|your|its|such as|using|with|le|la|les|der|die|das|el|los|las|il|lo|o|os|"
    r"de|het) (?:[a-zà-ÿ]{3,20} )?$"
)
_HANDLE = re.compile(
    r"(?:^|(?<=[\s(\[\"'“>]))@(?P<name>[A-Za-z]\w{2,30})(?=(?:['’]\s?s)?(?:[,:;!?)\"”-]|\.?(?:\s|$)))", re.M
)


def names(text: str, lines: Sequence[Line], words: Sequence[Word], lexicon: Lexicon) -> list[Found]:
    """The names of people among ``words``, in order."""
    marked = [_is_name(text, words, i, lexicon) for i in range(len(words))]
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
    return sorted((*found, *without(_handles(text, lines, words, lexicon), found)), key=lambda f: f.start)


def _is_name(text: str, words: Sequence[Word], i: int, lexicon: Lexicon) -> bool:
    word = words[i]
    surface = text[word.start : word.end]
    probability, _, place = word.scores
    if probability < max(CERTAIN_NAME, word.least):
        return False
    if len(surface) == 1 or any(map(str.isdigit, surface)) or identifier(text, word):
        return False
    folded = base(surface)
    if _bare(surface).isupper() and len(folded) <= _ACRONYM and folded not in lexicon.people:
        return False
    if certain(surface, folded, lexicon) and place < 0.3:
        return True
    if probability < max(KNOWN_NAME, place):
        return False
    if folded not in lexicon.people and probability < TOLD and _behind_particle(text, words, i):
        return False
    near = surface[0].islower() and _near(text, word.start)
    return probability >= _least(surface, folded, lexicon, near)


def _behind_particle(text: str, words: Sequence[Word], i: int) -> bool:
    """``Hilda Claeys van Contoso``: what stands behind a particle may be where somebody works."""
    return i > 1 and text[words[i - 1].start : words[i - 1].end] in PARTICLES and text[words[i - 2].start].isupper()


def _near(text: str, start: int) -> bool:
    """Whether words that tell of a name stand right before, in the same cell of a table."""
    ends = [m.end() for m in CONTEXT.finditer(text, max(0, start - _NEAR), start)]
    return bool(ends) and not any(c in text[ends[-1] : start] for c in "|\n\t")


def certain(surface: str, folded: str, lexicon: Lexicon) -> bool:
    """Whether a word in title case is a name and no ordinary word, town or country."""
    if not _titled(surface) or folded in lexicon.common or folded in lexicon.towns or folded in lexicon.lands:
        return False
    if folded in lexicon.proper:
        return False
    return folded in lexicon.people or _SURNAME.fullmatch(folded) is not None


def _least(surface: str, folded: str, lexicon: Lexicon, near: bool) -> float:
    """The probability that is asked of a word, by what else explains it. ``near``: words that tell of a name."""
    known, common, lower = folded in lexicon.people, folded in lexicon.common, surface[0].islower()
    capital = _bare(surface).isupper()
    if common and (lower or not known):
        return COMMON
    if lower and not known:
        return TOLD if near else NEVER
    if folded in lexicon.countries:
        return COUNTRY
    if (common and len(folded) <= _SHORT) or folded in lexicon.proper:
        return BRIEF
    if capital and not known:
        return COMMON
    if not known:
        return NAME
    if (lower and not near) or (capital and len(folded) <= _ACRONYM):
        return BRIEF
    return EVERYDAY if common else KNOWN_NAME


def _spread(text: str, words: Sequence[Word], marked: list[bool], lexicon: Lexicon) -> None:
    """Marks title-case words that stand beside a name (over an initial or a particle too), after a title, before a
    speaker's colon, or in pairs that the lexicon knows as given and family names."""
    for i, word in enumerate(words):
        surface = text[word.start : word.end]
        if marked[i] or len(surface) < 2 or not _titled(surface) or identifier(text, word):
            continue
        folded = base(surface)
        if folded in FUNCTION_WORDS:
            continue
        common, known = folded in lexicon.common, folded in lexicon.people
        if word.least:
            marked[i] = word.scores[0] >= SPREAD and not common and _beside_name(text, words, marked, i)
        elif ((known or (not common and word.scores[0] >= TOLD)) and _after_particle(text, words, marked, i)) or (
            known and _paired(text, words, i, lexicon)
        ):
            marked[i] = True
        elif (known or not common) and _bare(surface) == surface:
            telling = word.scores[0] >= SPREAD
            surely = telling or certain(surface, folded, lexicon)
            marked[i] = (surely and _beside_name(text, words, marked, i)) or (
                (telling or not common)
                and bool(_TITLE.search(text, max(0, word.start - 24), word.start) or (known and _speaks(text, word)))
            )
        elif word.scores[0] >= TOLD and text[word.start - 1 : word.start] != "-":
            marked[i] = _beside_name(text, words, marked, i)
        if not marked[i] and not common and _INITIAL.search(text, max(0, word.start - 6), word.start):
            marked[i] = True
        if not marked[i] and _COURTESY.search(text, max(0, word.start - 12), word.start):
            marked[i] = True


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
        and text[words[i - 1].start : words[i - 1].end] in PARTICLES - AND
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
        while kept and text[kept[0].start].islower() and text[kept[0].start : kept[0].end] not in PARTICLES:
            kept.pop(0)
        while kept and text[kept[-1].start].islower():
            kept.pop()
    if not kept:
        return None
    start, end = kept[0].start, kept[-1].end
    if text[end - 2 : end] in ("'s", "’s"):
        end -= 2
    if _ORGANISATION.match(text, end) or _is_thing(text, kept, lexicon):
        return None
    if (initial := re.search(r"\b[A-Z]\. ?$", text[max(0, start - 4) : start])) and text[start].isupper():
        start -= len(initial.group())
    if degree := _DEGREE.match(text, end):
        end = degree.end()
    written = [text[w.start : w.end] for w in kept]
    known = any(base(s) in lexicon.people or certain(s, base(s), lexicon) for s in written)
    mean = sum(w.scores[0] for w in kept) / len(kept)
    return Found(start, end, "PERSON", confidence.of_name(mean, known=known, words=len(kept)))


def _is_thing(text: str, words: Sequence[Word], lexicon: Lexicon) -> bool:
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
        place = " ".join(map(base, surfaces)) in lexicon.towns or surfaces[-1] in PLACES
        return (place and score < UNKNOWN) or (not known and score < ALONE and _behind_article(text, start))
    if _TITLE.search(text, max(0, start - 24), start):
        return False
    if score < UNKNOWN and not known:
        return True
    return score < (UNKNOWN if known else ALONE) and _behind_article(text, start)


def _behind_article(text: str, start: int) -> bool:
    return _ARTICLE.search(text, max(0, start - 40), start) is not None


# --------------------------------------------------------------------------- mentions


def _handles(text: str, lines: Sequence[Line], words: Sequence[Word], lexicon: Lexicon) -> Iterator[Found]:
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
        told = word.scores[0] >= NAME or folded in lexicon.people
        if told or (first and folded not in lexicon.common) or (first and name[0].isupper()):
            sure = confidence.of_name(max(word.scores[0], NAME), known=folded in lexicon.people, words=1)
            yield Found(match.start("name"), match.end("name"), "PERSON", sure)


def surfaces(name: str, lexicon: Lexicon) -> Iterator[str]:
    """The words of a name that stand for its person elsewhere: no particles, initials or common words."""
    for match in WORD.finditer(name):
        surface = _bare(match.group())
        folded = surface.casefold()
        telling = folded not in lexicon.common or (surface[0].isupper() and folded in lexicon.people)
        if telling and len(surface) > 2 and folded not in PARTICLES:
            yield surface


def mentions(text: str, lines: Sequence[Line], known: Collection[str], taken: Sequence[Found]) -> list[Found]:
    """Words of ``known`` outside code and outside of ``taken``."""
    found = []
    for word in words_of(lines, {}):
        surface = _bare(text[word.start : word.end])
        if surface in known and not identifier(text, word):
            found.append(Found(word.start, word.start + len(surface), "PERSON", confidence.MENTION))
    return without(found, taken)


def _bare(surface: str) -> str:
    """Without the ending of a possessive."""
    return surface[:-2] if surface[-2:] in ("'s", "’s") else surface
