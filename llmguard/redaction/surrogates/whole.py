"""Surrogates of a whole file or data set, whose records are cleaned one by one, in any process and in any order.

What stands for a value follows from the key, the value and ``avoid`` alone; a shorter form of a name also from the
whole name that stands in the same record. Nothing is remembered from one record to the next but what can be drawn
again. ``avoid`` are marks of values that stand somewhere in the file: 8 bytes of a keyed digest of the folded value, so
that lists of them tell nothing. The mark of every value found and of every surrogate written is noted: whoever holds
those of the whole file (``dataset.collisions``) knows which surrogates are somebody's, and has them drawn anew.

Invariant: no surrogate is the original, and none has a mark in ``avoid``; what cannot be drawn so is a hash (None).
Not compared is what many share and what names nobody (``_SHARED``, ``_SHORT``, the given names that we draw from).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from typing import TypeVar

from llmguard.model import Category
from llmguard.redaction.surrogates import people
from llmguard.redaction.surrogates.data import words
from llmguard.redaction.surrogates.draw import composed, folded
from llmguard.redaction.surrogates.makers import INVENTED, TRIES, Digest, drawing, maker, same

WIDTH = 8
"""Bytes of a mark. Of 10^8 values and as many surrogates, one in 2,000 files has two that are equal by chance: then a
surrogate is drawn anew without need.
"""
_SHARED = frozenset({"DATE_OF_BIRTH", "CREDIT_CARD_EXPIRY"})
"""Types that are not compared: every day of the calendar is somebody's in a large file."""
_SHORT = 5
"""Letters and digits from which on a value is compared: shorter ones are all taken in a large file."""
_ROOM = 1 << 13
"""Values that are remembered, so that what comes often is drawn once."""

Key = TypeVar("Key", bound=Hashable)
Kept = TypeVar("Kept")
_Candidate = Callable[[int], tuple[str | None, tuple[bytes, ...]]]
"""What is drawn in an attempt, None if it is not fit, and its marks."""


@dataclass(frozen=True, slots=True)
class Marks:
    """Marks of the values that were found, and of the surrogates that were drawn; sorted, each once, one after the
    other.
    """

    seen: bytes = field(default=b"", repr=False)
    drawn: bytes = field(default=b"", repr=False)


def unpacked(packed: bytes) -> frozenset[bytes]:
    """The marks that stand one after the other."""
    return frozenset(packed[i : i + WIDTH] for i in range(0, len(packed), WIDTH))


@dataclass(frozen=True, slots=True)
class _Made:
    """A surrogate, if there is one, and the marks of whatever was looked at while it was drawn."""

    text: str | None = field(repr=False)
    marks: tuple[bytes, ...] = field(repr=False)


class FileSurrogates:
    """Surrogates of the records of a file. One for a process; not for several threads."""

    def __init__(self, digest: Digest, avoid: frozenset[bytes] = frozenset()) -> None:
        self._digest, self._avoid = digest, avoid
        self._key = digest("surrogate\x1fmark", "")
        self._seen: set[bytes] = set()
        self._drawn: set[bytes] = set()
        self._found: dict[tuple[str, str], tuple[bytes, ...]] = {}
        self._made: dict[tuple[str, str, str], _Made] = {}
        self._persons: dict[str, tuple[tuple[str, ...], tuple[bytes, ...]]] = {}

    def found(self, type_: str, category: Category, value: str) -> None:
        """Notes a value of the file, in whatever style it is redacted."""
        key = type_, value
        marks = self._found.get(key)
        if marks is None:
            marks = _remembered(self._found, key, tuple(map(self._mark, _looks(type_, category, value))))
        self._seen.update(marks)

    def of(self, type_: str, category: Category, value: str, whole: str) -> str | None:
        """The surrogate of a value; ``whole``: of which name it is a shorter form, or the value. None if each that
        could be drawn is to be avoided.
        """
        key = type_, value, whole
        made = self._made.get(key)
        if made is None:
            new = self._person(value, whole) if type_ == "PERSON" else self._value(type_, category, value)
            made = _remembered(self._made, key, new)
        self._drawn.update(made.marks)
        return made.text

    def written(self, text: str) -> bool:
        """Whether a surrogate that had to be cut may be written so. If so, it is noted."""
        mark = self._mark(folded(text))
        if mark in self._avoid:
            return False
        self._drawn.add(mark)
        return True

    def noted(self) -> Marks:
        """The marks since this was last asked."""
        marks = Marks(b"".join(sorted(self._seen)), b"".join(sorted(self._drawn)))
        self._seen, self._drawn = set(), set()
        return marks

    def _mark(self, text: str) -> bytes:
        return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=WIDTH, key=self._key).digest()

    def _free(self, marks: Iterable[bytes]) -> bool:
        return self._avoid.isdisjoint(marks)

    def _value(self, type_: str, category: Category, value: str) -> _Made:
        make, mine, old = maker(type_, category), same(type_, category, value), folded(value)

        def candidate(attempt: int) -> tuple[str | None, tuple[bytes, ...]]:
            new = make(value, drawing(self._digest, type_, mine, attempt))
            plain = folded(new)
            marks = (self._mark(plain),) if _compared(type_, category, plain) else ()
            return (new if plain != old else None), marks

        return self._first(candidate)

    def _first(self, candidate: _Candidate) -> _Made:
        """The first candidate that is nobody's. Behind a later one as many more are noted as were passed over, so that
        a value is drawn anew seven times at most.
        """
        for attempt in range(TRIES):
            new, marks = candidate(attempt)
            if new is not None and self._free(marks):
                ahead = range(attempt + 1, min(2 * attempt + 1, TRIES))
                more = {mark for number in ahead for mark in candidate(number)[1]} - self._avoid
                return _Made(new, (*marks, *more))
        return _Made(None, ())

    def _person(self, value: str, whole: str) -> _Made:
        instead, noted = self._named(whole)
        if not instead:
            return _Made(None, ())
        new = people.written(value, whole, instead, drawing(self._digest, "PERSON", value, TRIES))
        marks = tuple(map(self._mark, _looks("PERSON", "pii", new)))
        if folded(new) == folded(value) or not self._free(marks):
            return _Made(None, noted)
        return _Made(new, (*noted, *marks))

    def _named(self, whole: str) -> tuple[tuple[str, ...], tuple[bytes, ...]]:
        """Words for a person, and what to note of them; no words if all are to be avoided."""
        mine = people.spoken(whole)
        name = " ".join(mine)
        key = f"{name},{whole.count(',')}"  # a comma says which word is the family's
        if key not in self._persons:

            def candidate(attempt: int) -> tuple[str | None, tuple[bytes, ...]]:
                draw = drawing(self._digest, "PERSON", name, attempt)
                new = people.drawn(whole, draw, invented=attempt >= INVENTED)
                lower = [w.casefold() for w in new]
                fits = len(set(lower)) == len(new) and not set(lower) & set(mine)
                return ("\x00".join(new) if fits else None), tuple(map(self._mark, _forms(lower)))

            made = self._first(candidate) if mine else _Made(None, ())
            instead = tuple(made.text.split("\x00")) if made.text is not None else ()
            _remembered(self._persons, key, (instead, made.marks))
        return self._persons[key]


class OfRecord:
    """The surrogates of one record of a file. ``links``: names that are shorter forms, and of which whole name."""

    def __init__(self, file: FileSurrogates, links: Mapping[str, str]) -> None:
        self._file, self._links = file, links

    def of(self, type_: str, category: Category, value: str) -> str | None:
        """The surrogate of a value; None if each that could be drawn is to be avoided."""
        return self._file.of(type_, category, value, self._links.get(value, value))

    def written(self, text: str) -> bool:
        """Whether a surrogate that had to be cut may be written so."""
        return self._file.written(text)


def _looks(type_: str, category: Category, value: str) -> Iterator[str]:
    """What a value is compared by, in the file or as it is written."""
    if type_ == "PERSON":
        spoken = people.spoken(composed(value))
        if len(spoken) > 1 or not _common() & set(spoken):
            yield folded(value)
            yield _name(spoken)
    elif _compared(type_, category, plain := folded(value)):
        yield plain


def _compared(type_: str, category: Category, plain: str) -> bool:
    """Whether a value that is no person's name is one's own."""
    return type_ not in _SHARED and (len(plain) >= _SHORT or category == "secret")


def _forms(lower: Sequence[str]) -> Iterator[str]:
    """What a drawn name is compared by: all of it, its words but common given names, and with an initial."""
    yield _name(lower)
    yield from (folded(word) for word in lower if len(word) > 1 and word not in _common())
    if len(lower) > 1:
        yield _name((lower[0][0], lower[-1]))


def _name(lower: Sequence[str]) -> str:
    """A name whatever the order of its words and its titles."""
    return "\x00".join(sorted(map(folded, lower)))


@cache
def _common() -> frozenset[str]:
    """The given names that are drawn from: each has many bearers, and tells nobody from anybody."""
    return frozenset(name.casefold() for script in words().names.values() for name in script.given if len(name) > 1)


def _remembered(kept: dict[Key, Kept], key: Key, value: Kept) -> Kept:
    if len(kept) >= _ROOM:
        kept.clear()
    kept[key] = value
    return value
