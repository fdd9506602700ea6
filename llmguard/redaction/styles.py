"""Styles: what stands in the place of a value. Only placeholders come back; the others are one way.

``placeholder``: comes back in the answer. ``surrogate``: looks like the original, and is nobody's. ``mask``: stars in
its shape. ``hash``: a keyed digest, the same for the same value. ``drop``: an ellipsis.

Invariant: of a value that is masked, hashed or dropped no character is left, but for the last four of a masked number.
What a style writes is not found again as something worse, and is never taken for a placeholder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from llmguard.errors import GuardUnavailable
from llmguard.model import Category, Finding, TextPart, VaultEntry
from llmguard.redaction.mint import Mint
from llmguard.redaction.surrogates import FileSurrogates, OfRecord, Surrogates, Value
from llmguard.vault import Vault

StyleOf = Callable[[str, Category], str]
"""How values of a type and category are redacted: one of the policy's styles."""
_STAR, _GONE = "*", "…"
_COVERED_SECRET = 8 * _STAR
"""Of a secret not even the length is told."""
_TAIL, _TAIL_FROM = 4, 12
"""Letters and digits that are left of a masked number; how many it has at least."""
_NAMES = frozenset({"PERSON", "ADDRESS", "EMAIL", "USERNAME", "INTERNAL_HOST", "DATE_OF_BIRTH", "BANK_UPI"})
"""Types whose end tells a part of a name, a place or a year: all of them is covered."""
_LETTERS = "bcdfghjklmnpqrstvwxz"
"""What a hash is spelled with: no vowels, so no words, and no digits, so no numbers."""
_LENGTH = 12
"""Letters of a hash: 51 bits."""
_NO_SECRET = 3 * _STAR
"""What tells whoever looks for secrets that this is none, also of a piece of it."""
_UNFIT = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True, slots=True)
class FileStyle:
    """The styles of a file that is cleaned record by record; its surrogates note what is found and written."""

    of: StyleOf
    surrogates: FileSurrogates

    def __call__(self, type_: str, category: Category) -> str:
        return self.of(type_, category)


@dataclass(frozen=True, slots=True)
class Put:
    """What stands in the place of a value, and what that gives when it is restored."""

    text: str = field(repr=False)
    restored: str = field(repr=False)


class Writer:
    """Writes the values of one call, or of one record of a file, each as its type's style says."""

    def __init__(self, vault: Vault, tenant: str, mint: Mint, style: StyleOf | None) -> None:
        self._mint, self._style = mint, style
        self._file = style.surrogates if isinstance(style, FileStyle) else None
        self._digest = partial(vault.digest, tenant)
        self._surrogates: Surrogates | OfRecord = Surrogates(self._digest)
        self._stay: frozenset[Value] = frozenset()

    @property
    def entries(self) -> Iterable[VaultEntry]:
        """Of the placeholders that were written so far."""
        return self._mint.entries.values()

    def prepare(
        self, parts: Sequence[TextPart], findings: Sequence[Sequence[Finding]], links: Mapping[str, str]
    ) -> None:
        """Draws all surrogates of the call, in an order of their own, so that none depends on where a value stands.

        What stands in the assistant's text alone, and is the surrogate of another value of the call, is what an
        earlier turn was told: it stays. In a file nothing is ours, and nothing is drawn before it is written.
        """
        style = self._style
        if self._file is not None:
            self._surrogates = OfRecord(self._file, links)
            for value in frozenset().union(*_by_origin(parts, findings)):
                self._file.found(*value)
            return
        if style is None or not any(style(f.type, f.category) == "surrogate" for found in findings for f in found):
            return
        drawn = self._surrogates = Surrogates(self._digest, links)
        told, heard = _by_origin(parts, findings)
        drawn.avoid(told)
        self._draw(v for v in told if style(v[0], v[1]) == "surrogate")
        heard = frozenset(v for v in heard - told if style(v[0], v[1]) == "surrogate")
        self._stay = frozenset(v for v in heard if drawn.ours(v[0], v[2]))
        drawn.avoid(heard - self._stay)
        self._draw(heard - self._stay)

    def _draw(self, values: Iterable[Value]) -> None:
        for value in sorted(values, key=self._order):
            self._surrogates.of(*value)

    def _order(self, value: Value) -> bytes:
        return self._digest(f"surrogate\x1f{value[0]}", value[2])

    def put(self, finding: Finding, part: TextPart, *, tight: bool = False) -> Put:
        """What is written for a finding. ``tight``: for slots that take letters, digits, ``_`` and ``-`` alone, and
        have little room.

        Raises GuardUnavailable if no placeholder is free, or for a style that is none.
        """
        value = part.text[finding.start : finding.end]
        style = self._style(finding.type, finding.category) if self._style else "placeholder"
        if style == "placeholder":
            name = self._mint.placeholder(finding, value, part.origin)
            return Put(name[1:-1] if tight else name, value)
        text = self._one_way(style, finding, value, tight)
        return Put(text, text)

    def _one_way(self, style: str, finding: Finding, value: str, tight: bool) -> str:
        if style == "hash":
            return self._hashed(finding, value, tight)
        if style == "drop":
            return "x" if tight else _GONE
        if style == "mask":
            text = masked(finding.type, finding.category, value)
            return _UNFIT.sub("x", text)[: len(value)] if tight else text
        if style == "surrogate":
            return self._surrogate(finding, value, tight)
        raise GuardUnavailable(f"the policy names a style that does not exist: {style!r}")

    def _surrogate(self, finding: Finding, value: str, tight: bool) -> str:
        key = finding.type, finding.category, value
        if key in self._stay:
            return value
        new = self._surrogates.of(*key)
        if new is not None and tight:
            new = _UNFIT.sub("x", new)[: len(value)]
            if new.casefold() == value.casefold() or (self._file is not None and not self._file.written(new)):
                new = None
        return new or self._hashed(finding, value, tight)

    def _hashed(self, finding: Finding, value: str, tight: bool) -> str:
        number = int.from_bytes(self._digest(f"hash\x1f{finding.type}", value), "big")
        letters = ""
        for _ in range(_LENGTH):
            number, at = divmod(number, len(_LETTERS))
            letters += _LETTERS[at]
        if tight:
            return f"hash-{letters}"
        return f"[{finding.type}#{_NO_SECRET if finding.category == 'secret' else ''}{letters}]"


def masked(type_: str, category: Category, value: str) -> str:
    """``value`` in stars. Separators stay, and of numbers of at least twelve characters the last four."""
    if category == "secret":
        return _COVERED_SECRET
    places = [i for i, c in enumerate(value) if c.isalnum()]
    if not places:  # nothing but separators: then they are the value
        return "".join(c if c.isspace() else _STAR for c in value)
    digits = sum(c.isdecimal() for c in value)
    numeric = category == "pii" and type_ not in _NAMES and 2 * digits >= len(places)
    shown = frozenset(places[-_TAIL:] if numeric and len(places) >= _TAIL_FROM else ())
    return "".join(c if i in shown or _separates(c) else _STAR for i, c in enumerate(value))


def _separates(char: str) -> bool:
    """Whether a character says nothing but where a group ends. Marks belong to letters."""
    return char.isspace() or char in "-./:,;()@+'’_"


def _by_origin(
    parts: Sequence[TextPart], findings: Sequence[Sequence[Finding]]
) -> tuple[frozenset[Value], frozenset[Value]]:
    """The values of a call that people, systems and tools wrote, and those that the assistant wrote."""

    def values(by_assistant: bool) -> Iterator[Value]:
        for part, found in zip(parts, findings, strict=True):
            if (part.origin == "assistant") is by_assistant:
                yield from ((f.type, f.category, part.text[f.start : f.end]) for f in found)

    return frozenset(values(False)), frozenset(values(True))
