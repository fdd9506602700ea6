"""The scanner: rules and names together, for calls and for text.

Owns: who is looked at next, how much of a call the names model reads, what it remembers. Never does: skip silently.
What the budget did not reach is ``unscanned`` "names"; what the queue cannot take is GuardUnavailable.

Invariants: rules see every part; where a rule and the model overlap, the rule's finding stands and what is left of the
other is kept too; memory holds findings under keyed digests, no text; of two principals who wait, each gets every other
window.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from llmguard.detection.engine import Engine
from llmguard.detection.memory import Found, Memory, salt
from llmguard.detection.names import DETECTORS, INSTALL, Names, Reading, available
from llmguard.errors import ConfigError, GuardUnavailable
from llmguard.model import DEFAULT_TENANT, EVASION, Finding, Principal, Scanned, TextPart

log = logging.getLogger("llmguard")
BUDGET = 64 * 1024
"""Characters of one call that the names model reads, unless the settings say otherwise."""
WORKERS = 2
"""Threads that read. More than processors do not pay."""
PLANNED = 8
"""Budgets of text that are looked at line by line, to tell which windows the model has to read."""
BACKLOG = 4
"""Budgets that may wait for one principal; ``BACKLOG`` times as many for all together."""
REMEMBERED = 100_000
"""Findings and texts that are remembered, of the rules and of the model each."""
WORTH = 512
"""Characters from which on remembering a text is cheaper than asking the rules again."""
NOT_INSTALLED = f"names and addresses of people are not looked for: {INSTALL}, or set names = false"
_LABELLED = 256
_WORD = re.compile(r"[^\W_]+")
_LOCAL = Principal("local", DEFAULT_TENANT, "service", "local")


def chosen(wanted: bool | None, thresholds: Mapping[str, float] | None = None) -> Names | None:
    """Names as the setting says: on, off, or (None) on where the packages are, which is told once where they are not.
    ``thresholds``: the least confidence of what is found, by type.

    Raises: ConfigError if they are wanted and not installed.
    """
    if wanted is False:
        return None
    if available():
        return Names(thresholds)
    if wanted:
        raise ConfigError(f"names = true needs packages that are not installed: {INSTALL}")
    _announce()
    return None


@functools.cache
def _announce() -> None:
    log.warning(NOT_INSTALLED)


class Scanner:
    """``submit`` for calls, ``scan`` for text. Safe for threads and after a fork. Without ``names``, rules alone."""

    def __init__(self, engine: Engine, names: Names | None = None, *, budget: int = BUDGET) -> None:
        self.engine = engine
        self.names = names
        self._budget = budget
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._memory = Memory(REMEMBERED)
        self._ruled = Memory(REMEMBERED)
        self._queue = _Queue(BACKLOG * self._budget, min(WORKERS, os.cpu_count() or 1))

    @property
    def ready(self) -> bool:
        """Whether a call would not wait for the model to load."""
        return self.names is None or self.names.loaded

    @property
    def types(self) -> frozenset[str]:
        """Every type that is found here, names of people too where they are not looked for at the moment."""
        return frozenset({*(d.type for d in self.engine.detectors), *DETECTORS, EVASION})

    def warm(self) -> None:
        """Loads the model on a thread of its own. Until it is there, calls that need it wait."""
        if self.names is not None and not self.names.loaded:
            threading.Thread(target=_load, args=(self.names,), name="llmguard-names-load", daemon=True).start()

    def close(self) -> None:
        """Ends the worker threads; what waits is refused."""
        self._queue.close()

    def scan(self, parts: Sequence[TextPart], principal: Principal = _LOCAL) -> tuple[Found, ...]:
        """Findings of all parts, whatever their length, worked out in the caller's thread.

        Raises: UnscannableRequest for a text that is not well-formed Unicode.
        """
        rules = self.ruled(parts, principal)
        return rules if self.names is None else self._named(parts, rules, principal, self.names)

    def _named(
        self, parts: Sequence[TextPart], rules: tuple[Found, ...], principal: Principal, names: Names
    ) -> tuple[Found, ...]:
        survey = self._survey(parts, principal, names, None)
        for reading in survey.plans.values():
            for window in reading.windows:
                names.read(reading, window)
        return self._concluded(parts, rules, survey, names)

    def records(self, records: Sequence[Sequence[TextPart]], principal: Principal = _LOCAL) -> list[tuple[Found, ...]]:
        """What ``scan`` tells of each record's parts by themselves; many records cost less so.

        Raises: UnscannableRequest for a text that is not well-formed Unicode.
        """
        rules = self.engine.records(records)
        if self.names is None:
            return rules
        return [self._named(parts, found, principal, self.names) for parts, found in zip(records, rules, strict=True)]

    def submit(self, parts: Sequence[TextPart], principal: Principal) -> Scanned | Future[Scanned]:
        """Findings of a call's parts: at once if the model has nothing new to read, else when it has.

        Raises: UnscannableRequest; GuardUnavailable if too much is waiting already.
        """
        rules = self.ruled(parts, principal)
        names = self.names
        if names is None:
            return Scanned(rules)
        if self._process != os.getpid():  # threads do not survive a fork
            self._reset()
        survey = self._survey(parts, principal, names, PLANNED * self._budget)
        windows = self._within_budget(survey)
        unscanned = ("names",) if survey.partial else ()
        if not windows:
            return Scanned(self._concluded(parts, rules, survey, names), unscanned)
        job = _Job(
            len(windows),
            names.read,
            lambda: Scanned(self._concluded(parts, rules, survey, names), unscanned),
        )
        self._queue.put(principal.id, job, windows)
        return job.future

    def ruled(self, parts: Sequence[TextPart], principal: Principal) -> tuple[Found, ...]:
        """What rules alone find in each part. Long parts that came before are not looked at again.

        Raises: UnscannableRequest for a text that is not well-formed Unicode.
        """
        whose = salt(principal.tenant)
        return self.engine.across(parts, tuple(self._ruled_part(part, whose) for part in parts))

    def _ruled_part(self, part: TextPart, whose: bytes) -> Found:
        if len(part.text) < WORTH:
            return self.engine.scan((part,))[0]
        key = self._ruled.key(whose, part.label, part.text)
        found = self._ruled.get(key)
        if found is None:
            found = self.engine.scan((part,))[0]
            self._ruled.put(key, found)
        return found

    # ----------------------------------------------------------------- one call

    def _survey(self, parts: Sequence[TextPart], principal: Principal, names: Names, limit: int | None) -> _Survey:
        """What is known of the parts already, and what is to be read: the newest text first, each distinct one once.

        ``limit``: characters that are looked at line by line.
        """
        survey = _Survey([None] * len(parts), {}, {})
        whose = salt(principal.tenant)
        left = limit
        for i in reversed(range(len(parts))):
            part = parts[i]
            if not _may_hold_names(part):
                continue
            prefix, text = _prefixed(part)
            key = self._memory.key(whose, str(prefix), text)
            known = self._memory.get(key)
            survey.known[i] = known
            if known is None:
                survey.waiting.setdefault(key, []).append((i, prefix))
                if key not in survey.plans:
                    if left is not None and len(text) > left:
                        survey.partial.add(key)
                        text = text[:left]
                    survey.plans[key] = names.plan(text)
                    left = None if left is None else left - len(text)
        return survey

    def _within_budget(self, survey: _Survey) -> list[_Window]:
        """The windows that are read. Texts with one that is not are marked as partial."""
        windows: list[_Window] = []
        spent = 0
        for key, reading in survey.plans.items():
            for window in reading.windows:
                size = window[1] - window[0]
                if spent + size > self._budget:
                    survey.partial.add(key)
                    break
                spent += size
                windows.append((reading, window))
        return windows

    def _concluded(
        self, parts: Sequence[TextPart], rules: Sequence[Found], survey: _Survey, names: Names
    ) -> tuple[Found, ...]:
        for key, reading in survey.plans.items():
            numbers = survey.waiting[key]
            found = tuple(_shifted(names.conclude(reading), numbers[0][1]))
            for i, _ in numbers:
                survey.known[i] = found
            if key not in survey.partial:
                self._memory.put(key, found)
        named = _with_mentions(parts, survey.known, names)
        return tuple(_joined(r, n) if n else r for r, n in zip(rules, named, strict=True))


_Window = tuple[Reading, tuple[int, int]]


@dataclass(slots=True, repr=False)
class _Survey:
    """Findings by part (None: not looked for, or not yet), plans by digest, and which parts wait for which."""

    known: list[Found | None]
    plans: dict[bytes, Reading]
    waiting: dict[bytes, list[tuple[int, int]]]
    partial: set[bytes] = field(default_factory=set)


def _may_hold_names(part: TextPart) -> bool:
    """Text of a body. Keys, path, query, headers and single words that must stay as they are hold identifiers."""
    return part.place == "body" and (part.redactable or " " in part.text)


def _prefixed(part: TextPart) -> tuple[int, str]:
    """The text that the model reads: a short value stands behind its label. And the length of that label."""
    if not part.label or len(part.text) > _LABELLED or "\n" in part.text:
        return 0, part.text
    prefix = " ".join(_WORD.findall(part.label[:64])) + ": "
    return len(prefix), prefix + part.text


def _shifted(found: Found, by: int) -> Iterator[Finding]:
    for f in found:
        if f.end > by:
            yield replace(f, start=max(0, f.start - by), end=f.end - by) if by else f


def _with_mentions(parts: Sequence[TextPart], known: Sequence[Found | None], names: Names) -> list[Found]:
    """Whoever is named in one part is masked in the others too."""
    surfaces: set[str] = set()
    for part, found in zip(parts, known, strict=True):
        if found:
            surfaces |= names.surfaces(part.text, found)
    if not surfaces:
        return [found or () for found in known]
    return [
        () if found is None else names.mentioned(part.text, found, surfaces)
        for part, found in zip(parts, known, strict=True)
    ]


def _joined(rules: Found, named: Found) -> Found:
    """Rules stand; of what the model found, the pieces between them."""
    if not rules:
        return named
    pieces: list[Finding] = list(rules)
    at = 0
    for finding in named:
        start = finding.start
        while at < len(rules) and rules[at].end <= start:
            at += 1
        i = at
        while i < len(rules) and rules[i].start < finding.end:
            if rules[i].start > start:
                pieces.append(replace(finding, start=start, end=rules[i].start))
            start = max(start, rules[i].end)
            i += 1
        if start < finding.end:
            pieces.append(replace(finding, start=start))
    return tuple(sorted(pieces, key=lambda f: f.start))


def _load(names: Names) -> None:
    try:
        names.load()
    except Exception as e:  # noqa: BLE001  the process lives on: /readyz tells, calls that need names are refused
        log.error("the names model cannot be loaded (%s): calls that need it are refused", type(e).__name__)


# --------------------------------------------------------------------------- queue


class _Job:
    """One call's windows. Whoever finishes the last one makes the answer."""

    def __init__(
        self, windows: int, read: Callable[[Reading, tuple[int, int]], None], conclude: Callable[[], Scanned]
    ) -> None:
        self._read = read
        self._conclude = conclude
        self._left = windows
        self._lock = threading.Lock()
        self.future: Future[Scanned] = Future()
        self.future.set_running_or_notify_cancel()  # from now on nobody can cancel it: it has one outcome

    def work(self, reading: Reading, window: tuple[int, int]) -> None:
        """Reads one window, unless the job has failed already."""
        if self.future.done():
            return
        try:
            self._read(reading, window)
            with self._lock:
                self._left -= 1
                last = self._left == 0
            if last:
                self.future.set_result(self._conclude())
        except Exception as e:  # noqa: BLE001  handed to whoever waits: a driver decides what it means
            self.fail(e)

    def fail(self, error: Exception) -> None:
        with self._lock:
            if not self.future.done():
                self.future.set_exception(error)


class _Queue:
    """Windows of several principals, served in turn by a few threads that start with the first one."""

    def __init__(self, limit: int, workers: int) -> None:
        """``limit``: characters that may wait for one principal."""
        self._limit = limit
        self._workers = workers
        self._waiting: OrderedDict[str, deque[tuple[_Job, Reading, tuple[int, int]]]] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._closed = False

    def put(self, principal: str, job: _Job, windows: Sequence[_Window]) -> None:
        """All windows or none. Raises GuardUnavailable."""
        size = sum(high - low for _, (low, high) in windows)
        with self._changed:
            own = self._sizes.get(principal, 0)
            if self._closed:
                raise GuardUnavailable("the guard is closed")
            if (own and own + size > self._limit) or sum(self._sizes.values()) + size > BACKLOG * self._limit:
                raise GuardUnavailable("too much text waits to be looked through for names; try again")
            self._sizes[principal] = own + size
            self._waiting.setdefault(principal, deque()).extend((job, r, w) for r, w in windows)
            while len(self._threads) < self._workers:
                thread = threading.Thread(target=self._serve, name="llmguard-names", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            left = [entry[0] for entries in self._waiting.values() for entry in entries]
            self._waiting.clear()
            self._changed.notify_all()
        for job in left:
            job.fail(GuardUnavailable("the guard was closed"))

    def _serve(self) -> None:
        while (entry := self._take()) is not None:
            job, reading, window = entry
            job.work(reading, window)

    def _take(self) -> tuple[_Job, Reading, tuple[int, int]] | None:
        """The next principal's next window; None when the queue is closed."""
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return None
                self._changed.wait()
            principal, entries = self._waiting.popitem(last=False)
            entry = entries.popleft()
            self._sizes[principal] -= entry[2][1] - entry[2][0]
            if entries:
                self._waiting[principal] = entries
            else:
                del self._sizes[principal]
            return entry
