"""Sifter: blocks of a file in, what may leave and a tally out. The one way in which files are cleaned.

Owns the order read → scan → except → redact → rebuild → count, for records that are scanned by themselves. Never does:
file I/O, storing, deciding whether a file may leave. Invariants: the same block gives the same bytes in any process,
whatever came before; a record in which nothing is replaced is the very bytes that came; what cannot be read or
replaced does not leave, unless somebody said that it may.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any

from llmguard import facts
from llmguard.detection import Scanner
from llmguard.model import Category, Finding, Principal, TextPart, VaultEntry, hidden
from llmguard.payload.extract import Extract
from llmguard.payload.lines import LineKind, Whole
from llmguard.redaction import FileStyle, FileSurrogates, Redaction, StyleOf, redact
from llmguard.sifting.blocks import Block, Layout
from llmguard.sifting.choices import Choice
from llmguard.sifting.records import GROUP, Line, Passage, Problem, Record, read, value_of
from llmguard.sifting.tally import Tally
from llmguard.vault import Vault

Findings = tuple[tuple[Finding, ...], ...]
Excepting = Callable[[Sequence[TextPart], Findings], tuple[Findings, Mapping[str, int]]]
"""Takes findings out that are none; how many, by the exception that says so (``Exceptions.applied``)."""
Watch = Callable[[int, Sequence[TextPart], Sequence[Sequence[Finding]], bytes], None]
"""Told of every record: its number, what stood in it (parts that were not replaced are not ``redactable``), what was
found, and the bytes that leave for it; of a record that somebody keeps as it is, those that would."""
EXPOSED = "something stands where it cannot be replaced; the record is left out"
_Scanned = tuple[Findings, Mapping[str, int], bool]
"""Findings, what was excepted, and whether nobody looked for names."""
_NONE: Mapping[str, int] = MappingProxyType({})
_NO_CHOICES: Mapping[int, Choice] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Sifted:
    """What a block gave. ``entries`` of placeholders; ``drawn`` and ``seen``: 8-byte digests, sorted and packed, of the
    surrogates that were written and of the values that were found. ``whole``: what the lines that leave say together,
    where rules hold for the whole file.
    """

    data: bytes
    records: int
    tally: Tally
    entries: tuple[VaultEntry, ...] = ()
    problems: tuple[Problem, ...] = ()
    drawn: bytes = b""
    seen: bytes = b""
    whole: Whole | None = None

    def __repr__(self) -> str:
        return f"Sifted({hidden(self.data)}, {self.records} records, {len(self.problems)} problems)"


@dataclass(frozen=True, slots=True)
class Cleaned:
    """One record, cleaned; ``record`` is None where it is dropped. ``findings`` are those of its ``parts``."""

    record: Any = field(repr=False)
    parts: tuple[TextPart, ...]
    findings: Findings
    entries: tuple[VaultEntry, ...] = ()
    exposed: int = 0


class Sifter:
    """Cleans blocks of one file, or single records. Not safe for threads."""

    def __init__(  # noqa: PLR0913  what a file's owner can say of it, all by name
        self,
        scanner: Scanner,
        vault: Vault,
        tenant: str,
        *,
        layout: Layout = "jsonl",
        line: LineKind | None = None,
        style: StyleOf | None = None,
        drop: bool = False,
        decisions: Mapping[int, Choice] = _NO_CHOICES,
        avoid: frozenset[bytes] = frozenset(),
        taken: frozenset[str] = frozenset(),
        names_budget: int | None = None,
        exceptions: Excepting | None = None,
        leave_exposed: bool = False,
        watch: Watch | None = None,
    ) -> None:
        """``line``: what lines have to be; None: whatever they look like, without rules. ``style``: default
        placeholders, of which none is in ``taken``. ``drop`` leaves records with findings out, ``decisions`` say
        otherwise of single records. No surrogate has a digest in ``avoid``. ``names_budget``: characters of a record
        in which names are looked for. ``leave_exposed``: what stands where it cannot be replaced may stay, since
        somebody decides by the tally.
        """
        self._scanner, self._vault, self._tenant = scanner, vault, tenant
        self._layout, self._line = layout, line
        self._drop, self._decisions, self._taken = drop, decisions, taken
        self._surrogates = FileSurrogates(partial(vault.digest, tenant), avoid)
        self._style = FileStyle(style or _placeholders, self._surrogates)
        self._budget, self._exceptions = names_budget, exceptions
        self._leave_exposed, self._watch = leave_exposed, watch
        self._principal = Principal("sifting", tenant, "service", "sifting")

    def block(self, block: Block) -> Sifted:
        """Raises GuardUnavailable where a style cannot be written."""
        work = _Work(self, Tally())
        for records in _groups(read(block, self._layout, self._line)):
            scanned = iter(self._scanned([r.parts for r in records if isinstance(r, Record) and r.number >= 0]))
            for record in records:
                if isinstance(record, Problem):
                    work.bad(record)
                elif record.number < 0:
                    work.between(record.raw)
                else:
                    work.take(record, *next(scanned))
        return work.sifted()

    def clean(self, record: Any) -> Cleaned:
        """One record, not a file's: a dict or list as a line of JSON says it, or a text.

        Raises UnscannableRequest for what cannot be looked through exactly.
        """
        if isinstance(record, str):
            return self._cleaned((TextPart(record, "text"),), None, lambda texts: texts.get(0, record))
        value = value_of(record, self._line)
        return self._cleaned(value.content.parts, value.content, value.edited)

    def _cleaned(
        self, parts: tuple[TextPart, ...], content: Extract | None, edited: Callable[[Mapping[int, str]], Any]
    ) -> Cleaned:
        findings, _, _ = self._scanned([parts])[0]
        if self._drop and any(findings):
            return Cleaned(None, parts, findings)
        redaction = self.redacted(parts, findings, content.misfits if content else None)
        whole = edited(redaction.texts)
        if redaction.exposed and not self._leave_exposed:
            whole = None
        return Cleaned(whole, parts, findings, redaction.entries, len(redaction.exposed))

    def _scanned(self, records: Sequence[tuple[TextPart, ...]]) -> list[_Scanned]:
        """Findings of the records' parts, but for those that are excepted."""
        budget = self._budget if self._scanner.names is not None else None
        if budget is None:
            each = [(found, False) for found in self._scanner.records(records, self._principal)]
        else:
            large = [sum([len(part.text) for part in parts]) > budget for parts in records]
            ruled = iter(self._scanner.engine.records([r for r, big in zip(records, large, strict=True) if big]))
            rest = [r for r, big in zip(records, large, strict=True) if not big]
            named = iter(self._scanner.records(rest, self._principal))
            each = [(next(ruled if big else named), big) for big in large]
        if self._exceptions is None:
            return [(found, _NONE, big) for found, big in each]
        return [(*self._exceptions(r, found), big) for r, (found, big) in zip(records, each, strict=True)]

    def redacted(
        self,
        parts: Sequence[TextPart],
        findings: Findings,
        misfits: Callable[[Mapping[int, str]], frozenset[int]] | None,
    ) -> Redaction:
        return redact(self._vault, self._tenant, parts, findings, self._taken, misfits, self._style)


def _groups(records: Iterable[Record | Problem]) -> Iterator[list[Record | Problem]]:
    """Records that are scanned together: as many as a processor's cache holds."""
    group: list[Record | Problem] = []
    size = 0
    for record in records:
        group.append(record)
        size += len(record.raw) if isinstance(record, Record) else 0
        if size > GROUP:
            yield group
            group, size = [], 0
    if group:
        yield group


class _Work:
    """One block on its way."""

    def __init__(self, sifter: Sifter, tally: Tally) -> None:
        self._sifter, self._tally = sifter, tally
        self._whole = Whole(sifter._line) if sifter._line not in (None, "plain") else None
        self._out: list[bytes] = []
        self._problems: list[Problem] = []
        self._entries: dict[str, VaultEntry] = {}
        self._identities: dict[tuple[str, str], str] = {}

    def bad(self, problem: Problem) -> None:
        self._tally.records += 1
        self._problem(problem)

    def between(self, raw: bytes) -> None:
        self._out.append(raw)

    def take(self, record: Record, findings: Findings, excepted: Mapping[str, int], unnamed: bool) -> None:
        """A record with its findings. ``unnamed``: nobody looked for names in it."""
        tally, sifter = self._tally, self._sifter
        tally.records += record.lines if isinstance(record, Passage) else 1
        tally.characters += sum([len(part.text) for part in record.parts])
        if record.unscanned:
            tally.unscanned |= frozenset(record.unscanned)
        if unnamed:
            tally.unscanned |= {"names"}
        if excepted:
            tally.excepted.update(excepted)
        parts, data, shown = (
            self._leaving(record, findings)
            if sifter._decisions or any(findings)
            else (record.parts, record.raw, record.raw)
        )
        self._out.append(data)
        if self._whole is not None and data and isinstance(record, Line) and record.content.document is not None:
            self._whole.add(record.number, record.content.document.value)
        if sifter._watch is not None:
            sifter._watch(record.number, parts, findings, shown)

    def _leaving(self, record: Record, findings: Findings) -> tuple[Sequence[TextPart], bytes, bytes]:
        """The parts of a record, the bytes that leave for it, and those that may be shown of it."""
        sifter, tally = self._sifter, self._tally
        if isinstance(record, Passage):
            data = self._passage(record, findings)
            return record.parts, data, data
        choice = sifter._decisions.get(record.number)
        found = any(findings)
        if not found and choice != "drop":
            return record.parts, record.raw, record.raw
        redaction = sifter.redacted(record.parts, findings, record.misfits)
        parts = _fit(record.parts, redaction)
        if choice == "drop" or (found and sifter._drop and choice is None):
            self._count(record.number, parts, findings, redaction)
            tally.dropped += 1
            return parts, b"", b""
        redacted = record.rebuild(redaction.texts)
        if choice == "keep":
            as_written = [replace(p, redactable=False) for p in parts]
            self._count(record.number, as_written, findings, redaction)
            return parts, record.raw, redacted
        self._count(record.number, parts, findings, redaction)
        if redaction.exposed and not sifter._leave_exposed:
            self._problem(Problem(record.number, EXPOSED))
            return parts, b"", b""
        self._entries.update((e.placeholder, e) for e in redaction.entries)
        tally.changed += bool(redaction.texts)
        return parts, redacted, redacted

    def _passage(self, record: Passage, findings: Findings) -> bytes:
        """A passage without the lines that are dropped, the others as they are decided."""
        sifter = self._sifter
        part, found = record.parts[0], findings[0]
        starts = _line_starts(part.text)
        choices = {n: c for n in range(len(starts)) if (c := sifter._decisions.get(record.number + n))}
        if not found and not choices:
            return record.raw
        whole = sifter.redacted(record.parts, findings, None)
        self._count(record.number, _fit(record.parts, whole), findings, whole)
        touched = {n: lines for n, lines in ((i, _lines_of(f, starts)) for i, f in enumerate(found))}
        gone = {n for n, c in choices.items() if c == "drop"}
        if sifter._drop:
            gone |= {n for lines in touched.values() for n in lines if n not in choices}
        self._tally.dropped += len(gone)
        kept = [f for i, f in enumerate(found) if not all(choices.get(n) == "keep" for n in touched[i])]
        changed = {n for f in kept for n in _lines_of(f, starts)} - gone
        self._tally.changed += len(changed)
        if not gone and len(kept) == len(found):
            self._entries.update((e.placeholder, e) for e in whole.entries)
            return record.rebuild(whole.texts)
        return self._pieces(part, kept, starts, gone)

    def _pieces(self, part: TextPart, kept: Sequence[Finding], starts: Sequence[int], gone: set[int]) -> bytes:
        parts, findings = [], []
        at = [*starts, len(part.text)]
        n = 0
        while n < len(starts):
            first = n
            while n < len(starts) and n not in gone:
                n += 1
            if n > first:
                low, high = at[first], at[n]
                parts.append(replace(part, text=part.text[low:high]))
                findings.append(
                    tuple(
                        replace(f, start=max(f.start, low) - low, end=min(f.end, high) - low)
                        for f in kept
                        if f.start < high and low < f.end
                    )
                )
            n += 1
        redaction = self._sifter.redacted(parts, tuple(findings), None)
        self._entries.update((e.placeholder, e) for e in redaction.entries)
        return "".join(redaction.texts.get(i, p.text) for i, p in enumerate(parts)).encode()

    def _count(self, number: int, parts: Sequence[TextPart], findings: Findings, redaction: Redaction) -> None:
        self._tally.add(facts.each(parts, findings, self._identity, redaction.links), number)

    def _identity(self, type_: str, value: str) -> str:
        key = type_, value
        known = self._identities.get(key)
        if known is None:
            digest = self._sifter._vault.digest(self._sifter._tenant, type_, value)
            known = self._identities[key] = digest.hex()
        return known

    def _problem(self, problem: Problem) -> None:
        self._tally.bad += 1
        self._problems.append(problem)

    def sifted(self) -> Sifted:
        entries = tuple(self._entries.values())
        marks = self._sifter._surrogates.noted()
        data, problems = b"".join(self._out), tuple(self._problems)
        return Sifted(data, self._tally.records, self._tally, entries, problems, marks.drawn, marks.seen, self._whole)


def _placeholders(type_: str, category: Category) -> str:
    return "placeholder"


def _fit(parts: Sequence[TextPart], redaction: Redaction) -> Sequence[TextPart]:
    """The parts; those in which something could not be replaced are not redactable."""
    if not redaction.unfit:
        return parts
    return [replace(p, redactable=False) if i in redaction.unfit else p for i, p in enumerate(parts)]


def _line_starts(text: str) -> list[int]:
    starts, at = [0], text.find("\n") + 1
    while at and at < len(text):
        starts.append(at)
        at = text.find("\n", at) + 1
    return starts


def _lines_of(finding: Finding, starts: Sequence[int]) -> range:
    from bisect import bisect_right

    return range(bisect_right(starts, finding.start) - 1, bisect_right(starts, max(finding.start, finding.end - 1)))


__all__ = ["Choice", "Cleaned", "Excepting", "Sifted", "Sifter", "Watch"]
