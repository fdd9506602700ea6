"""Census: what a data set says about itself, counted record by record: people, repeats, tokens, a sample to review.

Owns counts and keyed digests; of text it holds redacted records alone, a few of each stratum. A ``Watch`` in each
worker gives one Census for each block; censuses add up. Invariants: bounded, whatever the file's size; the sum over all
blocks is the same however the file was cut, whatever the order and the number of workers; never an original value.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from llmguard.census import alike, spots
from llmguard.census import strings as drawn_strings
from llmguard.census.lowest import SPACE, Counts, Horizon, Lowest
from llmguard.model import Finding, Severity, TextPart, hidden
from llmguard.payload import tokens
from llmguard.redaction import linked, people
from llmguard.risk.tally import ONE_EACH, RANK
from llmguard.sifting import Block, Problem, Sifted
from llmguard.vault import Vault

STRATA = ("clean", "low", "medium", "high", "critical", "bad")
"""What records are parted by: the worst finding in them; ``bad`` ones could not be read, and do not leave."""
ENCODING = "o200k_base"
_SHOWN = 20_000
"""Characters of a sampled record that are shown."""
_COUNTED = 4_096
"""Characters of a record whose tokens are counted; of a longer one they are scaled."""
_WHERE = re.compile(r" \((?:byte|line|character|column) \d+\)|(?<=\[)\d+(?=\])")
"""Where in a record something is wrong: told of the record, not of all."""
_BETWEEN = "\x1f"
_SPOTS = 20
"""Kinds of findings that are told of a sampled record."""
_MIX = 0x9E3779B97F4A7C15


@dataclass(frozen=True, slots=True)
class Limits:
    """How many of each kind are kept. ``texts``: distinct records whose copies are counted; ``values``: distinct values
    of a type; ``strings``: canary-like ones; ``tokens``: records whose tokens are counted; ``alike``: distinct records
    that are compared; ``sample``: records of each stratum that are shown to a reviewer.
    """

    texts: int = 65_536
    values: int = 2_048
    strings: int = 4_096
    tokens: int = 256
    alike: int = 20_000
    sample: int = 60


@dataclass(frozen=True, slots=True)
class Sampled:
    """One record of the sample as it leaves, at most ``_SHOWN`` characters of ``size``; of a bad one, why.

    ``found``: types of what was found, where (in words of formats alone) and how often; at most ``_SPOTS``.
    """

    stratum: str
    source: str
    record: int
    text: str
    size: int
    found: tuple[tuple[str, str, int], ...] = ()

    def __repr__(self) -> str:
        return f"Sampled({self.stratum}, {self.record}, {hidden(self.text)})"


class Census:
    """Mergeable by ``+`` and, without a copy, ``+=``. Counts of records by stratum (``strata``; of them ``gone`` do not
    leave), ``findings`` by stratum, type, category and severity, ``people`` (how many records have so many), bytes
    ``received`` and ``leaving``.
    """

    __slots__ = (
        "alike", "characters", "findings", "gone", "leaving", "limits", "looked_alike", "people", "problems",
        "received", "records", "sample", "strata", "strings", "texts", "tokens", "values",
    )  # fmt: skip

    def __init__(self, limits: Limits | None = None, horizon: Horizon | None = None) -> None:
        ends = horizon or Horizon()
        self.limits = limits or Limits()
        self.records = self.characters = self.received = self.leaving = 0
        self.looked_alike = True
        self.strata: Counter[str] = Counter()
        self.gone: Counter[str] = Counter()
        self.problems: Counter[str] = Counter()
        self.people: Counter[int] = Counter()
        self.findings: Counter[tuple[str, str, str, str]] = Counter()
        self.texts = Counts(self.limits.texts, ends.ceiling("texts"))
        self.strings = Counts(self.limits.strings, ends.ceiling("strings"))
        self.values: dict[str, Counts] = {}
        self.tokens: Lowest[tuple[int, int]] = Lowest(self.limits.tokens, ends.ceiling("tokens"))
        self.alike: Lowest[bytes] = Lowest(self.limits.alike, ends.ceiling("alike"))
        self.sample: dict[str, Lowest[Sampled]] = {
            name: Lowest(self.limits.sample, ends.ceiling(f"sample/{name}")) for name in STRATA
        }

    def lowest(self) -> Iterator[tuple[str, Lowest[Any]]]:
        """Everything that is kept by key, by name."""
        yield from (("texts", self.texts), ("strings", self.strings), ("tokens", self.tokens), ("alike", self.alike))
        yield from ((f"values/{type_}", counts) for type_, counts in self.values.items())
        yield from ((f"sample/{name}", one) for name, one in self.sample.items())

    def __iadd__(self, other: Census) -> Self:
        if self.limits != other.limits:
            raise ValueError("only censuses with the same limits can be merged")
        for name in ("records", "characters", "received", "leaving"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.looked_alike = self.looked_alike and other.looked_alike
        for name in ("strata", "gone", "problems", "people", "findings"):
            getattr(self, name).update(getattr(other, name))
        for type_ in other.values:
            self.values.setdefault(type_, Counts(self.limits.values))
        mine = dict(self.lowest())
        for name, one in other.lowest():
            mine[name] += one
        return self

    def __add__(self, other: Census) -> Census:
        total = Census(self.limits)
        total += self
        total += other
        return total

    def retold(self, again: Census) -> None:
        """Of sampled records that were sifted once more the new text is shown. Nothing is counted again."""
        for name, one in again.sample.items():
            mine = self.sample[name].kept
            mine.update((key, new) for key, new in one.kept.items() if key in mine)

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Census) and self._said() == other._said()

    __hash__ = None  # type: ignore[assignment]

    def _said(self) -> list[Any]:
        kept = {name: (one.ordered(), getattr(one, "cells", None)) for name, one in self.lowest()}
        plain = ("limits", "records", "characters", "received", "leaving", "looked_alike")
        counters = ("strata", "gone", "problems", "people", "findings")
        return [kept, *(getattr(self, name) for name in (*plain, *counters))]

    def __repr__(self) -> str:
        return f"Census({self.records} records, {self.characters} characters)"


class Watch:
    """Looks on while one worker sifts: the ``watch`` of a Sifter.

    ``key`` (``key_of``) is the same for all workers; ``source`` tells the files of one data set apart, so that their
    samples are drawn independently. ``compare``: whether nearly equal records are looked for.
    """

    def __init__(
        self,
        key: bytes,
        *,
        source: str = "",
        limits: Limits | None = None,
        encoding: str = ENCODING,
        compare: bool = True,
    ) -> None:
        self._keyed = hashlib.blake2b(digest_size=8, key=key)
        self._source, self._encoding = source, encoding
        self._limits = limits or Limits()
        self._compare = compare and alike.available()
        self._salt = self._digest(b"source\x00" + source.encode())
        self._horizon = Horizon()
        self._census = self._fresh()

    def _fresh(self) -> Census:
        made = Census(self._limits, self._horizon)
        made.looked_alike = self._compare
        self._kept_back: set[int] = set()
        self._first: int | None = None
        return made

    def _digest(self, data: bytes) -> int:
        keyed = self._keyed.copy()
        keyed.update(data)
        return int.from_bytes(keyed.digest(), "big")

    def __call__(
        self, number: int, parts: Sequence[TextPart], findings: Sequence[Sequence[Finding]], cleaned: bytes
    ) -> None:
        """One record: its texts as they were written, what was found in them (aligned), and the bytes that leave; none
        if it does not leave. A block that is begun once more, since it broke off, is counted from there.
        """
        if self._first == number:
            self._census = self._fresh()
        if self._first is None:
            self._first = number
        census = self._census
        text = _BETWEEN.join([part.text for part in parts])
        data = text.encode("utf-8", "surrogatepass")
        digest = self._digest(data)
        key = _mixed(digest ^ self._salt, number)
        census.records += 1
        census.characters += len(text) - max(0, len(parts) - 1)
        census.texts.count(digest, (self._source, number))
        census.tokens.put(key, lambda: (len(text), _tokens(text, self._encoding)))
        if self._compare:
            census.alike.put(digest, lambda: alike.signature(_own(parts, text)))
        if drawn_strings.any_in(data):
            self._strings(number, parts, findings)
        stratum, heads = "clean", 0
        if any(findings):
            stratum = _worst(findings)
            heads = self._found(number, stratum, parts, findings)
        census.people[heads] += 1
        if cleaned:
            drawn = partial(_sampled, stratum, self._source, number, parts, findings, cleaned)
            self._sample(stratum, number, key, drawn)
        else:
            self._sample(stratum, number, key, None)

    def _bad(self, problem: Problem) -> None:
        """A record that does not leave since it could not be read, or not be rewritten."""
        census, number, reason = self._census, problem.record, problem.reason
        census.problems[_WHERE.sub("", reason)] += 1
        if number in self._kept_back:  # it was looked at
            return
        census.records += 1
        census.strata["bad"] += 1
        census.gone["bad"] += 1
        key = _mixed(self._digest(reason.encode()) ^ self._salt, number)
        census.sample["bad"].put(key, lambda: Sampled("bad", self._source, number, reason, 0))

    def taken(self, block: Block, sifted: Sifted) -> Census:
        """The census of the block that was sifted last, to be added to the others."""
        for problem in sifted.problems:
            self._bad(problem)
        census = self._census
        census.received, census.leaving = len(block.data), len(sifted.data)
        self._horizon.saw(dict(census.lowest()))
        self._census = self._fresh()
        return census

    def _strings(self, number: int, parts: Sequence[TextPart], findings: Sequence[Sequence[Finding]]) -> None:
        for part, found in zip(parts, findings, strict=True):
            if part.redactable and len(part.text) >= drawn_strings.LEAST:
                for value, kind, alone in drawn_strings.strings(part.text, found):
                    note = f"{kind}:{len(value)}:{'in' if not alone else 'alone'}"
                    self._census.strings.count(self._digest(value.encode()), (self._source, number), note)

    def _found(
        self, number: int, stratum: str, parts: Sequence[TextPart], findings: Sequence[Sequence[Finding]]
    ) -> int:
        """Counts the values of a record; how many people can be told apart in it."""
        census, links = self._census, _links(parts, findings)
        heads: dict[str, set[int]] = {}
        for part, found in zip(parts, findings, strict=True):
            for f in found:
                value = part.text[f.start : f.end]
                named = _folded(links.get(value, value) if f.type == "PERSON" else value)
                key = self._digest(f"{f.type}\x00{named}".encode("utf-8", "surrogatepass"))
                census.findings[stratum, f.type, f.category, f.severity] += 1
                counts = census.values.get(f.type)
                if counts is None:
                    ceiling = self._horizon.ceiling(f"values/{f.type}")
                    counts = census.values[f.type] = Counts(self._limits.values, ceiling)
                counts.count(key, (self._source, number))
                if f.type in ONE_EACH and f.category == "pii":
                    heads.setdefault(f.type, set()).add(key)
        return max(map(len, heads.values()), default=0)

    def _sample(self, stratum: str, number: int, key: int, drawn: Callable[[], Sampled] | None) -> None:
        """``drawn``: makes what is shown of it, None for what does not leave."""
        census = self._census
        census.strata[stratum] += 1
        if drawn is not None:
            census.sample[stratum].put(key, drawn)
        else:
            census.gone[stratum] += 1
            self._kept_back.add(number)


def key_of(vault: Vault, tenant: str) -> bytes:
    """The key under which a tenant's values and records are counted: digests of theirs say nothing to anybody else."""
    return vault.digest(tenant, "census", "")


def _mixed(digest: int, number: int) -> int:
    """A key of a record that is spread evenly, as its digest is: the steps of SplitMix64."""
    z = (digest + (number + 1) * _MIX) % SPACE
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % SPACE
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % SPACE
    return z ^ (z >> 31)


def _worst(findings: Sequence[Sequence[Finding]]) -> Severity:
    return max((f.severity for found in findings for f in found), key=RANK.__getitem__)


def _links(parts: Sequence[TextPart], findings: Sequence[Sequence[Finding]]) -> Mapping[str, str]:
    """Names of people that are shorter forms of others."""
    named = any(f.type == "PERSON" for found in findings for f in found)
    return linked(people(parts, findings)) if named else {}


def _folded(value: str) -> str:
    """What stays equal when a value is written in another case or with other separators."""
    return "".join(filter(str.isalnum, value.casefold())) or value


def _own(parts: Sequence[TextPart], text: str) -> str:
    """What a record says besides its system prompt, which many have in common on purpose."""
    own = [part.text for part in parts if part.origin != "system"]
    return text if len(own) in (0, len(parts)) else _BETWEEN.join(own)


def _tokens(text: str, encoding: str) -> int:
    """Tokens, scaled from the beginning of a long text."""
    count = tokens.counted(text[:_COUNTED], encoding)
    return round(count * len(text) / _COUNTED) if len(text) > _COUNTED else count


def _sampled(
    stratum: str,
    source: str,
    number: int,
    parts: Sequence[TextPart],
    findings: Sequence[Sequence[Finding]],
    cleaned: bytes,
) -> Sampled:
    text = spots.masked(cleaned[: 4 * _SHOWN].decode("utf-8", "replace"), parts, findings)
    found = spots.spots(parts, findings, _SPOTS)
    return Sampled(stratum, source, number, text[:_SHOWN].rstrip("\r\n"), len(cleaned), found)
