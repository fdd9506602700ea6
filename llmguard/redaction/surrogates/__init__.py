"""Surrogates: values that look like the original and are nobody's. One way: nothing brings the original back.

Drawn from a keyed digest of the value: the same value has the same surrogate in every call of a tenant, and without the
key nothing is told. ``Surrogates`` are those of one call, and own no state but its; ``FileSurrogates`` those of a file,
record by record.

Invariants: a surrogate is never the original nor any value that the call was told to avoid; two values of a call never
share one. What cannot be drawn so after ``TRIES`` is a hash instead (None). Work is linear in the value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from llmguard.model import Category
from llmguard.redaction.surrogates import people
from llmguard.redaction.surrogates.draw import folded
from llmguard.redaction.surrogates.makers import INVENTED, MAKERS, TRIES, Digest, drawing, maker, same
from llmguard.redaction.surrogates.whole import FileSurrogates, Marks, OfRecord, unpacked

__all__ = ["MAKERS", "Digest", "FileSurrogates", "Marks", "OfRecord", "Surrogates", "Value", "unpacked"]

Value = tuple[str, Category, str]
"""Type, category and the value itself."""
_APART = 32
"""Tries in which two people do not share a word of their names."""


class Surrogates:
    """Surrogates of one call. ``links``: names that are shorter forms, and of which whole name."""

    def __init__(self, digest: Digest, links: Mapping[str, str] | None = None) -> None:
        self._digest, self._links = digest, links or {}
        self._avoid: set[str] = set()
        self._apart: set[str] = set()
        self._taken: dict[str, str] = {}
        self._persons: dict[str, tuple[str, ...]] = {}
        self._drawn: set[tuple[str, ...]] = set()
        self._words: dict[str, str] = {}
        self._made: dict[tuple[str, str], str | None] = {}

    def avoid(self, values: Iterable[Value]) -> None:
        """No surrogate is one of these, nor a word of a person's name one of a person among these."""
        for type_, _, value in values:
            self._avoid.add(folded(value))
            if type_ == "PERSON":
                self._apart.update(people.spoken(value))

    def of(self, type_: str, category: Category, value: str) -> str | None:
        """The surrogate of a value; None if there is none that could be told from what is to be avoided."""
        key = type_, value
        if key not in self._made:
            self._made[key] = self._person(value) if type_ == "PERSON" else self._value(type_, category, value)
        return self._made[key]

    def ours(self, type_: str, value: str) -> bool:
        """Whether a value is a surrogate that was given out in this call, or a shorter form of such a name."""
        if type_ != "PERSON":
            return folded(value) in self._taken
        mine = people.spoken(value)
        owner = next((self._words.get(word) for word in mine if len(word) > 1), None)
        return owner is not None and _within(mine, self._persons[owner])

    def _value(self, type_: str, category: Category, value: str) -> str | None:
        make, mine = maker(type_, category), same(type_, category, value)
        for attempt in range(TRIES):
            new = make(value, drawing(self._digest, type_, mine, attempt))
            plain = folded(new)
            owner = self._taken.setdefault(plain, mine) if plain not in self._avoid else ""
            if owner == mine and plain != folded(value):
                return new
        return None

    def _person(self, value: str) -> str | None:
        whole = self._links.get(value, value)
        name = " ".join(people.spoken(whole))
        if name not in self._persons:
            self._persons[name] = self._named(whole, name)
        new = people.written(value, whole, self._persons[name], drawing(self._digest, "PERSON", value, TRIES))
        return new if folded(new) not in self._avoid and folded(new) != folded(value) else None

    def _named(self, whole: str, name: str) -> tuple[str, ...]:
        """Words for a person, which nobody else in the call has; after many tries, others may have one of them."""
        drawn: tuple[str, ...] = ()
        for attempt in range(TRIES):
            draw = drawing(self._digest, "PERSON", name, attempt)
            drawn = tuple(people.drawn(whole, draw, invented=attempt >= INVENTED))
            lower = {w.casefold() for w in drawn}
            apart = not lower & self._words.keys() or (attempt >= _APART and drawn not in self._drawn)
            if apart and not lower & self._apart and len(lower) == len(drawn):
                break
        self._drawn.add(drawn)
        self._words.update({w.casefold(): name for w in drawn})
        return drawn


def _within(some: list[str], words: Iterable[str]) -> bool:
    """Whether ``some`` are words of ``words``, or their initials, in order."""
    rest = iter([w.casefold() for w in words])
    return all(any(w == s or (len(s) == 1 and w[:1] == s) for w in rest) for s in some)
