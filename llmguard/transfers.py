"""Transfers: files on their way to the provider. Looked into, redacted into a spool, wiped when their call is over.

The guard's side of the effect ``Sift``. A file of text is sifted block by block, whatever its size; what no library can
rewrite is read and counted, and the policy decides. Never does: send, decide, hold a whole file in memory.

Invariant: a placeholder that stands in what may leave is stored, and granted to ``call:ID``, before ``sift`` returns.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from itertools import islice
from typing import Any, cast

from llmguard import census
from llmguard.config import Settings
from llmguard.detection import Scanner
from llmguard.effects import Sift, SiftedFile, StyleOf
from llmguard.errors import GuardUnavailable, UnscannableRequest
from llmguard.facts import each
from llmguard.model import Call, Category, FormField, Grant, Payload, Scanned, VaultEntry, pieces_of, window
from llmguard.payload import files, lines, multipart
from llmguard.payload import json as strict_json
from llmguard.redaction.surrogates import unpacked
from llmguard.sifting import Block, Choices, Layout, Met, Problem, Sifter, Tally, blocks
from llmguard.spool import Spools, opened
from llmguard.vault import Vault

HEAD = 64 * 1024
"""Bytes by which it is told what a file is."""
SLICE = 500
"""Placeholders of one unit of work, so that nobody waits long for it."""
TOLD = 5
"""Bad lines that a refusal names."""
BLOCK = 1 << 20
"""Bytes that are sifted at once."""
SAMPLE = census.Limits(sample=30)
"""Of training data, records of each stratum that reviewers are shown."""
REPORT = 160 * 1024
"""Bytes of a report, at most."""
TRIES = 4
Put = Callable[[Call, Sequence[VaultEntry], Sequence[Grant]], frozenset[str]]
"""Stores placeholders and grants of a call; those that belong to other values. Raises GuardUnavailable."""
Submit = Callable[..., Scanned]


class Transfers:
    """The files of one guard's calls. Safe for threads."""

    def __init__(self, settings: Settings, vault: Vault, scanner: Scanner, put: Put, scan: Submit) -> None:
        """``scan``: looks through parts of a call, as far as its budget goes."""
        self._settings, self._vault, self._scanner, self._put, self._scan = settings, vault, scanner, put, scan
        self._rules = Scanner(scanner.engine)
        self.spools = Spools(vault, limit=settings.spool_bytes, largest=settings.max_upload_bytes)
        self._made: dict[str, list[Payload]] = {}
        self._lock = threading.Lock()

    def reader(self, tenant: str, content_type: str) -> multipart.Reader:
        """Reads a form, its files into the spool. Raises UnscannableRequest."""
        return multipart.Reader(content_type, partial(self.spools.writer, tenant))

    def release(self, fields: Iterable[FormField]) -> None:
        """Wipes the files of a request that is over."""
        for f in fields:
            self.spools.release(f.content)

    def over(self, call: Call) -> None:
        """Wipes what was made for a call, and what came with it."""
        if call.id in self._made:
            with self._lock:
                made = self._made.pop(call.id)
            for content in made:
                self.spools.release(content)
        self.release(call.body.fields)

    # ----------------------------------------------------------------- one file

    def sift(self, effect: Sift) -> SiftedFile:
        """Raises UnscannableRequest for lines that the provider could not read either, GuardUnavailable."""
        f = effect.file
        kind = files.kind_of(window(f.content, 0, HEAD), f.filename or "", f.media_type)
        if kind in files.REWRITABLE:
            return self._cleaned(effect, cast(Layout, kind))
        return self._looked_into(effect.call, f, kind)

    def _looked_into(self, call: Call, f: FormField, kind: files.Kind) -> SiftedFile:
        with opened(f.content) as file:
            seen = files.look_into(file, kind, media_type=f.media_type)
        scanned = self._scan(call, seen.parts)
        found = tuple(each(seen.parts, scanned.findings, self._identity(call), {}))
        characters = sum(len(part.text) for part in seen.parts)
        return SiftedFile(f.content, found, (*seen.unscanned, *scanned.unscanned), characters)

    def _identity(self, call: Call) -> Callable[[str, str], str]:
        return lambda type_, value: self._vault.digest(call.tenant, type_, value).hex()

    def _cleaned(self, effect: Sift, layout: Layout) -> SiftedFile:
        call, f = effect.call, effect.file
        line, avoid = self._line(call, f) if layout == "jsonl" else None, frozenset[bytes]()
        while True:  # a value is drawn anew a few times at most (``dataset.collisions``)
            work = _Sifting(self, effect, layout, line, avoid)
            content = self._written(work, call.tenant)
            if not work.collisions:
                break
            self.spools.release(content)
            if work.collisions <= avoid:
                raise GuardUnavailable("a surrogate that is a value of the file was drawn again")
            avoid |= work.collisions
        if work.tally.changed or work.tally.dropped:
            with self._lock:
                self._made.setdefault(call.id, []).append(content)
        else:
            self.spools.release(content)
            content = f.content
        unscanned = tuple(sorted({*work.tally.unscanned, *work.unscanned}))
        return SiftedFile(content, work.tally.found(), unscanned, work.tally.characters, work.report())

    def _written(self, work: _Sifting, tenant: str) -> Payload:
        writer = self.spools.writer(tenant)
        try:
            for data in work.blocks():
                writer.write(data)
            return writer.close()
        except BaseException:
            writer.abort()
            raise

    def _line(self, call: Call, f: FormField) -> lines.LineKind:
        purpose = multipart.value(call.body.fields, "purpose")
        return lines.kind_of(purpose, _first(f.content))

    def sifter(self, effect: Sift, scanner: Scanner, **more: Any) -> Sifter:
        style = _irreversible(effect.style) if _trains(effect.call) else effect.style
        return Sifter(scanner, self._vault, effect.call.tenant, style=style, leave_exposed=True, **more)

    def draws(self, effect: Sift) -> bool:
        """Whether a surrogate may be drawn for something in a file: then its values are remembered, as digests."""
        kinds = {(d.type, d.category) for d in self._scanner.engine.detectors}
        style = effect.style
        return _trains(effect.call) or any(style(*kind) == "surrogate" for kind in (*kinds, ("PERSON", "pii")))

    def watch(self, call: Call) -> census.Watch | None:
        """Who looks on for the reviewers of training data."""
        return census.Watch(census.key_of(self._vault, call.tenant), limits=SAMPLE) if _trains(call) else None

    def store(self, call: Call, entries: Iterable[VaultEntry]) -> frozenset[str]:
        """The placeholders that belong to other values, if there are any."""
        rest = iter(entries)
        taken: frozenset[str] = frozenset()
        while some := list(islice(rest, SLICE)):
            taken |= self._put(call, some, [Grant(f"call:{call.id}", e.placeholder, e.origin) for e in some])
        return taken

    @property
    def scanners(self) -> tuple[Scanner, Scanner]:
        """With names, as far as the settings look for them; and rules alone."""
        return self._scanner, self._rules

    @property
    def names_budget(self) -> int:
        return self._settings.names_budget if self._scanner.names is not None else 0


class _Sifting:
    """One file on its way: names in its beginning, as far as the budget of a call goes, rules in all of it."""

    def __init__(
        self, transfers: Transfers, effect: Sift, layout: Layout, line: lines.LineKind | None, avoid: frozenset[bytes]
    ) -> None:
        self._avoid, self._seen, self._drawn = avoid, set[bytes](), set[bytes]()
        self._draws = transfers.draws(effect)
        self._transfers, self._effect, self._layout, self._line = transfers, effect, layout, line
        self._taken: frozenset[str] = frozenset()
        self._problems: list[Problem] = []
        self._whole: lines.Whole | None = None
        self._watch = transfers.watch(effect.call)
        self._census = census.Census(SAMPLE)
        self._met = Met.of(effect.decisions or Choices(()))
        self.tally = Tally()
        self.unscanned: tuple[str, ...] = ()

    def blocks(self) -> Iterator[bytes]:
        """What may leave, block by block. Raises UnscannableRequest, GuardUnavailable."""
        budget, (named, ruled) = self._transfers.names_budget, self._transfers.scanners
        size = min(BLOCK, budget) if budget else BLOCK
        scanner = named
        for block in blocks(pieces_of(self._effect.file.content), self._layout, size):
            if scanner is named and budget and self.tally.characters >= budget:
                scanner, self.unscanned = ruled, ("names",)
            yield self._block(block, scanner)
            if len(self._problems) > TOLD:
                break
        if self._problems:
            raise UnscannableRequest(_told(self._problems))
        if self._whole is not None and (wrong := self._whole.problems()):
            raise UnscannableRequest(f"the provider would refuse the file: {'; '.join(wrong)}")
        self._met.ensure_all()

    @property
    def collisions(self) -> frozenset[bytes]:
        """Marks of surrogates that are values of the file."""
        return frozenset(self._seen & self._drawn)

    def report(self) -> Mapping[str, Any]:
        """What reviewers of training data see of it; {} for all other files. The name is not ours to say."""
        if self._watch is None:
            return {}
        made = census.report(self._census, name="", layout=self._layout, version=version("llmguard")).fitted(REPORT)
        told: dict[str, Any] = json.loads(made.to_json())
        return told | ({"decided": dict(sorted(self._met.counts.items()))} if self._met.counts else {})

    def _block(self, block: Block, scanner: Scanner) -> bytes:
        """Once more with longer placeholders, where one of them belongs to another value."""
        for _ in range(TRIES):
            kind: dict[str, Any] = {"layout": self._layout, "line": self._line, "taken": self._taken}
            kind["avoid"] = self._avoid
            numbers: list[int] = []
            decisions = self._effect.decisions
            if decisions is not None:
                kind["decisions"] = decisions
            sifter = self._transfers.sifter(self._effect, scanner, watch=self._looking(numbers), **kind)
            sifted = sifter.block(block)
            taken = self._transfers.store(self._effect.call, sifted.entries)
            counted = self._watch.taken(block, sifted) if self._watch is not None else None
            if not taken:
                if counted is not None:
                    self._census += counted
                for number in numbers:
                    self._met.record(number)
                self.tally = self.tally + sifted.tally
                self._whole = (
                    sifted.whole if self._whole is None or sifted.whole is None else self._whole + sifted.whole
                )
                if self._draws:
                    self._seen |= unpacked(sifted.seen)
                    self._drawn |= unpacked(sifted.drawn)
                self._problems += sifted.problems
                return sifted.data
            self._taken |= taken
        raise GuardUnavailable("placeholders could not be made unique; try again")

    def _looking(self, numbers: list[int]) -> Any:
        """What is told of each record: the watch, and where people decided of records, which there are."""
        watch = self._watch
        if self._effect.decisions is None:
            return watch

        def both(number: int, *record: Any) -> None:
            numbers.append(number)
            if watch is not None:
                watch(number, *record)

        return both


def _trains(call: Call) -> bool:
    return call.operation.kind == "training"


def _irreversible(style: StyleOf) -> StyleOf:
    """What a model learns never comes back: in training data, a realistic value instead of a placeholder."""

    def of(type_: str, category: Category) -> str:
        named = style(type_, category)
        return "surrogate" if named == "placeholder" else named

    return of


def _first(content: Payload) -> object:
    """The value of the first line, None if it is none."""
    begun = window(content, 0, HEAD * 16)
    for line in begun.split(b"\n"):
        if line.strip():
            try:
                return strict_json.parse(line.strip()).value
            except UnscannableRequest:
                return None
    return None


def _told(problems: Sequence[Problem]) -> str:
    """What is wrong with the first lines that are; never what stands in them."""
    named = "; ".join(f"line {p.record + 1}: {p.reason}" for p in problems[:TOLD])
    return f"the file cannot be looked through exactly: {named}" + ("; and more" if len(problems) > TOLD else "")
