"""Redaction: values out, placeholders in; and back again, where a value may return.

Owns the placeholders' grammar with everything that models do to it (case, ``\\_``, spaces, missing or escaped
brackets, plural), and the table of places where a value may return. Never guesses: a tag is restored only if it is
exactly one that was granted. Restored text is never looked at again.

Invariant: restoring what was redacted gives the original text back, also when that text holds look-alikes of
placeholders. One pass over a text, whatever the number of entries.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from llmguard.errors import UnscannableRequest, UpstreamError
from llmguard.model import Finding, Origin, TextPart, VaultEntry
from llmguard.payload import offsets
from llmguard.payload.json import Document, parse
from llmguard.payload.nesting import Nesting
from llmguard.payload.offsets import Path, Shift
from llmguard.vault import TAG_LENGTH, Vault

Sink = Literal["text", "tool_argument", "url"]

Misfits = Callable[[Mapping[int, str]], frozenset[int]]

MAX_GROWTH = 64 * 1024 * 1024
"""Characters by which restoring may lengthen one answer."""

_TRUST: tuple[Origin, ...] = ("user", "assistant", "tool", "system")
_SPACES = " \\t\\u00a0"
_HYPHENS = "\\-\\u2010\\u2011"
_SEPARATOR = rf"(?:\\{{0,16}}_|[{_SPACES}{_HYPHENS}])"
_TAG = re.compile(rf"[_{_SPACES}{_HYPHENS}]([A-Za-z0-9]{{{TAG_LENGTH},}})")
_RUN = re.compile(rf"[A-Za-z0-9]{{{TAG_LENGTH},}}")
_CLOSE = re.compile(rf"[{_SPACES}]{{0,3}}(\\{{0,16}})\]")
_UNCLOSED = re.compile(rf"[{_SPACES}]{{0,3}}\\{{0,16}}\Z")
_ESCAPE_BEFORE = re.compile(r"\\(?:[nrtbf]|u[0-9a-fA-F]{4})\Z")
_JOINED_AFTER = re.compile(r"\\{0,16}_(?:[^\W_]|(?P<end>\Z))|\\{1,16}(?P<slashes>\Z)")
_BOUNDARY = re.compile(r"\\+|\[|(?<![^\W_])[A-Za-z0-9]|(?<=\\[nrtbf])[A-Za-z0-9]|(?<=\\u[0-9a-fA-F]{4})[A-Za-z0-9]")
_NAME_WORD = re.compile(r"[^\W\d_]+")
_FORM = 4
"""Characters that a shorter form of a name adds to the tag of its person."""
_DROPPED = "_- \t\u00a0\u2010\u2011[\\"
_LEGAL = _DROPPED + "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_CANONICAL = {ord(c): None for c in _DROPPED}
_LEFT = 24
"""Characters before a candidate that its left boundary depends on."""


# --------------------------------------------------------------------------- redact


@dataclass(frozen=True, slots=True)
class Redaction:
    """New texts by part index; one entry per placeholder; findings that stand where nothing can be replaced.

    ``unfit`` are parts that could be replaced, but for a limit of their slot that no placeholder keeps.
    """

    texts: dict[int, str] = field(repr=False)
    entries: tuple[VaultEntry, ...]
    exposed: tuple[tuple[TextPart, Finding], ...]
    unfit: frozenset[int] = frozenset()


def redact(
    vault: Vault,
    tenant: str,
    parts: Sequence[TextPart],
    findings: Sequence[Sequence[Finding]],
    taken: frozenset[str] = frozenset(),
    misfits: Misfits | None = None,
) -> Redaction:
    """Replaces findings (aligned with ``parts``, sorted, not overlapping) by placeholders of their values.

    ``taken`` are placeholders that other values own. ``misfits`` names the edits that a limit of their slot forbids:
    these are made with placeholders without brackets, where that fits and comes back, or not at all. Raises
    GuardUnavailable if no placeholder is free.
    """
    texts: dict[int, str] = {}
    exposed: list[tuple[TextPart, Finding]] = []
    mint = _Mint(vault, tenant, parts, taken, linked(people(parts, findings)))
    for index, (part, found) in enumerate(zip(parts, findings, strict=True)):
        if found and part.redactable:
            texts[index] = _replaced(part, found, mint)
        else:
            exposed += [(part, finding) for finding in found]
    unfit = frozenset(_fitted(texts, parts, findings, mint, misfits)) if misfits else frozenset()
    exposed += [(replace(parts[i], redactable=False), finding) for i in sorted(unfit) for finding in findings[i]]
    return Redaction(texts, tuple(mint.entries.values()), tuple(exposed), unfit)


def _fitted(
    texts: dict[int, str],
    parts: Sequence[TextPart],
    findings: Sequence[Sequence[Finding]],
    mint: _Mint,
    misfits: Misfits,
) -> Iterator[int]:
    """Takes the brackets off where they do not fit, and the edits out that do not fit without. Yields those."""
    bad = misfits(texts)
    if not bad:
        return
    restorer = Restorer(mint.entries.values())
    for index in bad:
        texts[index] = _replaced(parts[index], findings[index], mint, bare=True)
    lost = {i for i in bad if restorer.text(texts[i], None) != parts[i].text}
    for index in misfits(texts) | lost:
        del texts[index]
        yield index


def _replaced(part: TextPart, found: Sequence[Finding], mint: _Mint, bare: bool = False) -> str:
    pieces, end = [], 0
    for finding in found:
        value = part.text[finding.start : finding.end]
        name = mint.placeholder(finding, value, part.origin)
        pieces += [part.text[end : finding.start], name[1:-1] if bare else name]
        end = finding.end
    pieces.append(part.text[end:])
    return "".join(pieces)


def people(parts: Sequence[TextPart], findings: Sequence[Sequence[Finding]]) -> frozenset[str]:
    """What people are called in a call."""
    pairs = zip(parts, findings, strict=True)
    return frozenset(p.text[f.start : f.end] for p, found in pairs for f in found if f.type == "PERSON")


def linked(names: Iterable[str]) -> dict[str, str]:
    """Which of ``names`` is a shorter form of which other one: ``Jane`` and ``J. Doe`` of ``Jane Doe``.

    A form that fits several people (``Doe`` of Jane and of John) is linked to none of them.
    """
    words = {name: tuple(_NAME_WORD.findall(name.casefold())) for name in names}
    holders: dict[str, list[str]] = {}
    for name, parts in words.items():
        if len(parts) > 1:
            for key in {part for word in parts for part in (word, word[0])}:
                holders.setdefault(key, []).append(name)
    links = {}
    for name, parts in words.items():
        fits = [w for w in holders.get(parts[-1], ()) if _is_form(parts, words[w])] if parts else []
        whole = [w for w in fits if not any(w != x and _is_form(words[w], words[x]) for x in fits)]
        if len({words[w] for w in whole}) == 1 and words[whole[0]] != parts:
            links[name] = min(whole)
    return links


def _is_form(parts: Sequence[str], whole: Sequence[str]) -> bool:
    """Whether every word of ``parts`` stands for one of ``whole``, in order; an initial stands for its word."""
    if len(parts) > len(whole) or all(len(part) == 1 for part in parts):
        return False
    rest = iter(whole)
    return all(any(word == part or (len(part) == 1 and word[0] == part) for word in rest) for part in parts)


class _Mint:
    """Placeholders of one call: unique, and unlike anything that the call's own text looks like.

    The tag of a shorter form of a name begins with the tag of the whole name: one person, and each form comes back as
    it was written.
    """

    def __init__(
        self,
        vault: Vault,
        tenant: str,
        parts: Sequence[TextPart],
        taken: frozenset[str],
        links: Mapping[str, str],
    ) -> None:
        self.entries: dict[str, VaultEntry] = {}
        self._vault, self._tenant, self._taken = vault, tenant, taken
        self._parts = parts
        self._links = links
        self._issued: dict[tuple[str, str], str] = {}
        self._runs: frozenset[str] | None = None
        self._prefixes: dict[int, frozenset[str]] = {}

    def placeholder(self, finding: Finding, value: str, origin: Origin) -> str:
        key = (finding.type, value)
        name = self._issued.get(key)
        if name is None:
            name = self._issued[key] = self._free(finding.type, value)
            self.entries[name] = VaultEntry(name, value, finding.type, finding.category, origin)
        elif _TRUST.index(origin) < _TRUST.index(self.entries[name].origin):
            self.entries[name] = replace(self.entries[name], origin=origin)
        return name

    def _free(self, type_: str, value: str) -> str:
        length = TAG_LENGTH
        while True:
            name = self._name(type_, value, length)
            if name not in self._taken and name not in self.entries and not self._looked_like(name):
                return name
            length += 4 if length > TAG_LENGTH else 2

    def _name(self, type_: str, value: str, length: int) -> str:
        name = self._vault.placeholder(self._tenant, type_, value, length)
        whole = self._links.get(value) if type_ == "PERSON" else None
        if whole is None:
            return name
        person = self._vault.placeholder(self._tenant, type_, whole)
        return f"{person[:-1]}{name[len(type_) + 2 :][: length - TAG_LENGTH + _FORM]}]"

    def _looked_like(self, name: str) -> bool:
        tag = name[1:-1].rpartition("_")[2].upper()
        if self._runs is None:
            self._runs = frozenset(run.upper() for part in self._parts for run in _RUN.findall(part.text))
        if len(tag) not in self._prefixes:
            self._prefixes[len(tag)] = frozenset(run[: len(tag)] for run in self._runs)
        return tag in self._prefixes[len(tag)]


# --------------------------------------------------------------------------- restore


def may_return(entry: VaultEntry, sink: Sink, tool: str | None, tools_with_secrets: frozenset[str]) -> bool:
    """The table. Nothing goes into URLs; secrets from system or tool text only into arguments of configured tools."""
    if sink == "url":
        return False
    if entry.category != "secret" or entry.origin in ("user", "assistant"):
        return True
    return sink == "tool_argument" and tool in tools_with_secrets


class Budget:
    """How much restoring may still add to one answer."""

    __slots__ = ("_left",)

    def __init__(self, limit: int = MAX_GROWTH) -> None:
        self._left = limit

    def spend(self, characters: int) -> None:
        """Raises UpstreamError once an answer repeats placeholders to grow without bounds."""
        self._left -= characters
        if self._left < 0:
            raise UpstreamError("the answer grows beyond bounds when restored; it was cut")


@dataclass(frozen=True, slots=True)
class _Granted:
    """One entry as the matcher sees it: ``before`` matches what stands before its tag, however mangled."""

    entry: VaultEntry
    tag: str
    before: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class _Hit:
    """A placeholder at [start, end); ``entry`` is None while it depends on text that has not come yet."""

    start: int
    end: int
    entry: VaultEntry | None


def tags(text: str) -> frozenset[str]:
    """What could be the tags of placeholders in ``text``: their first ``TAG_LENGTH`` characters, as they are issued."""
    return frozenset(tag[:TAG_LENGTH].lower() for tag in _TAG.findall(text))


class Restorer:
    """Puts granted values back. ``tools`` are names of tools that may receive secrets from system and tool text."""

    def __init__(self, entries: Iterable[VaultEntry], tools: frozenset[str] = frozenset()) -> None:
        self.entries = tuple(entries)
        self.tools = tools
        by_tag: dict[str, list[_Granted]] = {}
        patterns: dict[str, re.Pattern[str]] = {}
        keys = []
        self._reach = 0
        for entry in sorted(self.entries, key=lambda e: (-len(e.placeholder), _TRUST.index(e.origin))):
            type_, _, tag = entry.placeholder[1:-1].rpartition("_")
            pattern = patterns.setdefault(type_, _before(type_))
            by_tag.setdefault(tag[:TAG_LENGTH].upper(), []).append(_Granted(entry, tag.lower(), pattern))
            keys.append((type_ + tag).translate(_CANONICAL).upper())
            self._reach = max(self._reach, _reach(type_, tag))
        self._by_tag = by_tag
        self._keys = sorted(keys)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def passage(
        self, sink: Sink | None = "text", tool: str | None = None, *, nested: bool = False, budget: Budget | None = None
    ) -> Passage:
        """A text on its way, piece by piece. ``nested``: JSON inside it is restored as JSON."""
        return Passage(self, sink, tool, nested, budget or Budget())

    def text(self, s: str, sink: Sink | None = "text", tool: str | None = None, before: str = "") -> str:
        """A whole plain text. ``before``: what stands in front of it, as far as that decides about URLs.

        ``sink=None`` restores everything, in URLs too: only for text that no model wrote.
        """
        if not self.touches(s):
            return s
        passage = self.passage(sink, tool)
        passage.nesting.trail.add(before)
        return passage.feed(s) + passage.finish()

    def json(self, raw: bytes) -> bytes:
        """An answer: restored in every string, in JSON inside strings too; unchanged if it is not strict JSON."""
        if not self:
            return raw
        try:
            document = parse(raw)
        except UnscannableRequest:
            return raw
        budget = Budget()
        texts = self.replacements(document.value, budget)
        if not texts:
            return raw
        told = retold(document.value, self, budget)
        return self.rewritten(document, texts, told)

    def rewritten(self, document: Document, texts: dict[int, str], told: Retold) -> bytes:
        """The answer with these strings, by number, and with what speaks about them."""
        if not told.texts and not told.numbers:
            return self.splice(document, texts)
        numbers = offsets.ordinals(document.value)
        texts = texts | {numbers[path]: text for path, text in told.texts.items()}
        spliced = self.splice(document, texts)
        return offsets.patched(spliced, {numbers[path] - 1: new for path, new in told.numbers.items()})

    def splice(self, document: Document, texts: Mapping[int, str]) -> bytes:
        """Keys that would become equal stay placeholders."""
        try:
            return document.splice(texts)
        except UnscannableRequest:
            keys = {place.number for place in places(document.value) if place.is_key}
            return document.splice({k: text for k, text in texts.items() if k not in keys})

    def replacements(self, value: Any, budget: Budget, names: Mapping[str, str] | None = None) -> dict[int, str]:
        """The strings of a tree that change when they are restored, by number."""
        changed = {}
        for place in places(value, names or {}):
            if self.touches(place.text):
                passage = self.passage(place.sink, place.tool, nested=True, budget=budget)
                text = passage.feed(place.text) + passage.finish()
                if text != place.text:
                    changed[place.number] = text
        return changed

    def touches(self, text: str) -> bool:
        """Whether a granted tag stands anywhere in the text: a cheap no for nearly all text."""
        return any(tag[:TAG_LENGTH].upper() in self._by_tag for tag in _TAG.findall(text))

    def hits(self, text: str, start: int, final: bool) -> Iterator[_Hit]:
        """Placeholders from ``start`` on; the last may have no entry: it depends on what follows."""
        for match in _TAG.finditer(text, start):
            granted = self._by_tag.get(match[1][:TAG_LENGTH].upper())
            hit = granted and _hit(text, match, granted, final)
            if hit:
                yield hit
                if hit.entry is None:
                    return

    def unfinished(self, text: str, start: int) -> int:
        """Where the tail begins that could still become a placeholder; the length of the text if there is none."""
        start = max(start, len(text) - self._reach, len(text.rstrip(_LEGAL)))
        for match in _BOUNDARY.finditer(text, start):
            tail = text[match.start() :].translate(_CANONICAL).upper()
            if self._begins(tail) or (tail.endswith("S") and self._is(tail[:-1])):
                return match.start()
        return len(text)

    def _is(self, tail: str) -> bool:
        at = bisect_left(self._keys, tail)
        return at < len(self._keys) and self._keys[at] == tail

    def _begins(self, tail: str) -> bool:
        at = bisect_left(self._keys, tail)
        return at < len(self._keys) and self._keys[at].startswith(tail)


def _before(type_: str) -> re.Pattern[str]:
    words = _SEPARATOR.join(map(re.escape, type_.split("_")))
    return re.compile(
        rf"(?:(?P<slashes>\\{{0,16}})(?P<open>\[)[{_SPACES}]{{0,3}})?(?P<word>{words}){_SEPARATOR}\Z", re.I | re.A
    )


def _reach(type_: str, tag: str) -> int:
    """The longest mangled form of a placeholder, in characters."""
    return len(type_) + len(tag) + 17 * (type_.count("_") + 3) + 8


def _hit(text: str, match: re.Match[str], granted: Sequence[_Granted], final: bool) -> _Hit | None:
    run, at = match[1].lower(), match.start(1)
    for candidate in granted:
        if not run.startswith(candidate.tag):
            continue
        type_ = candidate.entry.type
        before = candidate.before.search(text, max(0, at - _reach(type_, "")), at)
        if before is None:
            continue
        if before["open"] and (hit := _bracketed(text, match, before, run == candidate.tag, candidate.entry, final)):
            return hit
        if before["open"] and _CLOSE.match(text, match.end()):
            continue
        if hit := _bare(text, match, before.start("word"), candidate, final):
            return hit
    return None


def _bracketed(
    text: str, match: re.Match[str], before: re.Match[str], exact: bool, entry: VaultEntry, final: bool
) -> _Hit | None:
    end = match.end()
    close = _CLOSE.match(text, end)
    if close is None:
        waits = not final and _UNCLOSED.match(text, end)
        return _Hit(before.start(), end, None) if waits else None
    if not exact:
        return None
    # Only brackets that are escaped on both sides lose their backslashes: before a real bracket they are text.
    return _Hit(before.end("slashes") - min(len(before["slashes"]), len(close[1])), close.end(), entry)


def _bare(text: str, match: re.Match[str], start: int, candidate: _Granted, final: bool) -> _Hit | None:
    """A placeholder that lost its brackets. It must stand alone, but for a plural s."""
    rest, end = match[1][len(candidate.tag) :], match.end()
    if rest not in ("", "s", "S") or not _alone_before(text, start):
        return None
    if end == len(text):
        return _Hit(start, end - len(rest), candidate.entry if final else None)
    joined = _JOINED_AFTER.match(text, end)
    if joined and (joined["end"] is not None or joined["slashes"] is not None):
        return _Hit(start, end - len(rest), candidate.entry if final else None)
    if joined or text[end].isalnum():
        return None
    return _Hit(start, end - len(rest), candidate.entry)


def _alone_before(text: str, start: int) -> bool:
    left = text[max(0, start - _LEFT) : start]
    if not left:
        return True
    if left[-1] == "_":
        return not left.rstrip("_").rstrip("\\")[-1:].isalnum()
    return not left[-1].isalnum() or _ESCAPE_BEFORE.search(left) is not None


class Passage:
    """One text that is restored as it passes. What ``feed`` returns, joined, is the same for every chunking."""

    __slots__ = (
        "_budget",
        "_held",
        "_left",
        "_nested",
        "_read",
        "_restorer",
        "_sink",
        "_tool",
        "nesting",
        "shifts",
        "written",
    )

    def __init__(self, restorer: Restorer, sink: Sink | None, tool: str | None, nested: bool, budget: Budget) -> None:
        self._restorer, self._sink, self._tool, self._nested, self._budget = restorer, sink, tool, nested, budget
        self.nesting = Nesting()
        self._left = self._held = ""
        self._read = self.written = 0
        self.shifts: list[Shift] = []
        """What was replaced so far, in order."""

    @property
    def held(self) -> str:
        """What is held back: it could still become a placeholder."""
        return self._held

    @property
    def longer(self) -> int:
        """By how many characters what was written is longer than what came."""
        return self.written - self._read - len(self._held)

    def feed(self, text: str) -> str:
        """What can be written now. At most one mangled placeholder's length is held back."""
        return self._run(text, False)

    def finish(self) -> str:
        """What was held back; nothing comes after it."""
        return self._run("", True)

    def _run(self, new: str, final: bool) -> str:
        text = self._left + self._held + new
        at = len(self._left)
        end = len(text)
        out = []
        for hit in self._restorer.hits(text, at, final):
            if hit.entry is None:
                end = min(end, hit.start)
            elif hit.start >= at:
                out += [self._keep(text[at : hit.start]), self._put(text[hit.start : hit.end], hit.entry)]
                at = hit.end
        if not final:
            end = max(at, min(end, self._restorer.unfinished(text, at)))
        out.append(self._keep(text[at:end]))
        self._left, self._held = text[max(0, end - _LEFT) : end], text[end:]
        return "".join(out)

    def _keep(self, raw: str) -> str:
        if self._nested:
            self.nesting.advance(raw)
        else:
            self.nesting.trail.add(raw)
        self._read += len(raw)
        self.written += len(raw)
        return raw

    def _put(self, raw: str, entry: VaultEntry) -> str:
        if self._sink and not self._may_return(entry, self._sink):
            return self._keep(raw)
        value = self.nesting.escape(entry.value)
        self._budget.spend(len(value))
        self.nesting.insert(raw, value)
        start, new_start = self._read, self.written
        self._read, self.written = start + len(raw), new_start + len(value)
        self.shifts.append(Shift(start, self._read, new_start, self.written))
        return value

    def _may_return(self, entry: VaultEntry, sink: Sink) -> bool:
        inside = self.nesting.trail.inside(self.nesting.depth)
        return may_return(entry, "url" if inside else sink, self._tool, self._restorer.tools)


# --------------------------------------------------------------------------- what an answer says of its own text


@dataclass(frozen=True, slots=True)
class Retold:
    """New tokens, and new numbers or arrays of numbers as they are written, by path."""

    texts: dict[Path, str] = field(default_factory=dict, repr=False)
    numbers: dict[Path, str] = field(default_factory=dict)


def retold(value: Any, restorer: Restorer, budget: Budget) -> Retold:
    """Citations, tokens and offsets of an answer as they are once its text is restored."""
    told = Retold()
    for text, path, notes in offsets.annotated(value):
        passage = restorer.passage(nested=True, budget=Budget())
        passage.feed(offsets.at(value, text))
        passage.finish()
        cite(told, path, notes, passage.shifts)
    for _, rows in offsets.spoken(value):
        passage = restorer.passage(nested=True, budget=budget)
        written, longer = [], {}
        for path, token in rows:
            longer[path] = passage.longer
            written.append(passage.feed(token))
        if written:
            written[-1] += passage.finish()
        texts = {path: new for (path, token), new in zip(rows, written, strict=True) if new != token}
        retell(told, value, texts, longer)
    return told


def cite(told: Retold, path: Path, notes: Sequence[Any] | Mapping[str, Any], shifts: Sequence[Shift]) -> None:
    """Moves the offsets of annotations, whose list or object stands at ``path``."""
    for i, note in notes.items() if isinstance(notes, Mapping) else enumerate(notes):
        for inner, index, is_end in offsets.citations(note) if type(note) is dict else ():
            told.numbers[(*path, i, *inner)] = str(offsets.moved(index, shifts, is_end=is_end))


def retell(told: Retold, value: Any, texts: Mapping[Path, str], longer: Mapping[Path, int]) -> None:
    """Other tokens, with the bytes that they consist of; ``longer``: by how much the text before each token grew."""
    told.texts.update(texts)
    for path, token in texts.items():
        beside = (*path[:-1], "bytes")
        if path[-1] == "token" and type(offsets.at(value, beside)) is list:
            told.numbers[beside] = offsets.number_list(token.encode(errors="replace"))
    lists = {path[:-1] for path in longer if path[-2:-1] == ("tokens",)}
    for path in lists:
        beside = (*path[:-1], "text_offset")
        old = [offsets.whole(x) for x in offsets.at(value, beside) or ()]
        if None not in old and any(longer.get((*path, i), 0) for i in range(len(old))):
            moved = [(x or 0) + longer.get((*path, i), 0) for i, x in enumerate(old)]
            told.numbers[beside] = offsets.number_list(moved)


# --------------------------------------------------------------------------- where strings of an answer stand

_LINKS = frozenset(("url", "uri", "href", "src", "image_url", "audio_url", "video_url", "file_url", "server_url"))
"""Keys of an answer whose value is fetched by whoever shows it."""


@dataclass(frozen=True, slots=True)
class AnswerPlace:
    """One string of an answer: its number in lexical order, and what happens to it once it has arrived."""

    number: int
    text: str = field(repr=False)
    is_key: bool
    sink: Sink
    tool: str | None


def places(value: Any, names: Mapping[str, str] | None = None) -> Iterator[AnswerPlace]:
    """Every string of an answer. ``names``: tool names by item id, for events that name the item only."""
    walk = _Places(names or {})
    return walk.value(value, "text", None)


class _Places:
    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._next = -1

    def value(self, value: Any, sink: Sink, tool: str | None) -> Iterator[AnswerPlace]:
        if type(value) is str:
            self._next += 1
            yield AnswerPlace(self._next, value, False, sink, tool)
        elif type(value) is list:
            for child in value:
                yield from self.value(child, sink, tool)
        elif type(value) is dict:
            for key, child in value.items():
                self._next += 1
                yield AnswerPlace(self._next, key, True, sink, tool)
                if sink == "text" and key in _LINKS:
                    yield from self.value(child, "url", None)
                else:
                    yield from self.value(child, *(self._argument(value, key) or (sink, tool)))

    def _argument(self, node: Mapping[str, Any], key: str) -> tuple[Sink, str | None] | None:
        """The tool that the value under ``key`` is an argument of."""
        kind = node.get("type")
        called = type(kind) is str and (kind.endswith("_call") or kind == "tool_use")
        if key == "arguments" or (key == "input" and (called or "input" in str(kind))):
            return "tool_argument", self._named(node)
        if key == "action" and called:
            return "tool_argument", str(kind).removesuffix("_call")
        if key == "command" and type(kind) is str and "_call_command." in kind:
            return "tool_argument", kind.removeprefix("response.").partition("_call")[0]
        return None

    def _named(self, node: Mapping[str, Any]) -> str | None:
        name = node.get("name")
        if type(name) is not str:
            name = self._names.get(str(node.get("item_id")))
        return name
