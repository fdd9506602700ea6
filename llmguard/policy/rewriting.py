"""Rewriting: a condition that says the same as the one that was written, over fewer findings. Text in, text out.

``exists`` and ``all`` say the same of findings that differ as of all of them. Counts (``size(findings.filter(…))``) are
taken by kind: CEL copies a filtered list at each step, and its time would grow with the square of its length. Whatever
is not recognised stays as it was written.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

KINDS, COUNT, COUNTS, SOME = "findings__kinds", "findings__count", "findings__counts", "findings__some"
"""Our own variables: findings that differ in what is read of them, how many there are in all, counts by key, and a
part of the kinds."""
TYPES = "findings__types"
"""And the types that there are, so that a rule for another one costs nothing more."""
TIMES = "n"
"""The field of a kind that says how many findings are of it."""
_NAME = "findings"
_LOOP = re.compile(r"\.\s*(exists_one|exists|all|filter|map)\s*\(\s*([A-Za-z_]\w*)\s*,")
_ROOT = re.compile(r"(?<![\w.])findings\s*$")
_FILTERED = re.compile(r"\.\s*filter\s*$")
_COUNTED = re.compile(r"(?<![\w.])size\s*\(\s*findings\s*\)|(?<![\w.])findings\s*\.\s*size\s*\(\s*\)")
_SIZE_BEFORE, _SIZE_AFTER = re.compile(r"(?<![\w.])size\s*\(\s*$"), re.compile(r"\s*\.\s*size\s*\(\s*\)")
_TEXT = re.compile(
    r"""'''(?:.|\n)*?'''|\"\"\"(?:.|\n)*?\"\"\"|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|(?P<comment>//[^\n]*)"""
)
_EVERY = ("exists", "all")
"""Macros that say the same of a list whatever stands in it twice."""


@dataclass(frozen=True, slots=True)
class Count:
    """How many findings a condition counts: ``source`` lists the numbers of each kind that is counted."""

    key: str
    source: str


@dataclass(frozen=True, slots=True)
class Rewritten:
    """``text`` is evaluated, once its ``counts`` are known."""

    text: str
    counts: tuple[Count, ...] = ()


@dataclass(frozen=True, slots=True)
class _Loop:
    """A macro: where its list begins (-1: it is not ``findings``), and where its body begins and ends."""

    macro: str
    name: str
    root: int
    start: int
    body: int
    end: int


def rewritten(source: str) -> Rewritten:
    """The same condition over fewer findings."""
    bare = blanked(source)
    loops = [*_loops(bare)]
    changes: list[tuple[int, int, str]] = []
    counts: dict[str, Count] = {}
    for loop in loops:
        if any(o.body <= loop.start < o.end for o in loops):
            continue  # inside of another loop: what it counts may depend on that one's finding
        if span := _counting(bare, loop):
            count = _count(loop, source)
            counts[count.key] = count
            read = f'{COUNTS}["{count.key}"]'
            changes.append((*span, read if loop.macro == "filter" else f"({read} == 1)"))
    inside = [(a, b) for a, b, _ in changes]
    others = [(loop.root, loop.root + len(_NAME), KINDS) for loop in loops if _plain(loop, loops, source, bare)]
    others += [(*m.span(), COUNT) for m in _COUNTED.finditer(bare)]
    others += [piece for loop in loops for piece in _for_its_type(loop, source, bare)]
    changes += [c for c in others if not any(a <= c[0] < b for a, b in inside)]
    return Rewritten(_replaced(source, changes), tuple(counts.values()))


def blanked(source: str) -> str:
    """A condition of the same length without comments, whose texts say nothing: code inside of text is text."""
    return _TEXT.sub(lambda m: " " * len(m[0]) if m["comment"] else '"' + "x" * (len(m[0]) - 2) + '"', source)


def checkable(source: str) -> tuple[frozenset[str], str]:
    """The names of findings in loops, and the condition with another list in place of the findings.

    Findings are maps for CEL, whose fields have no types: ``findings.exists(f, f.typ == 1)`` would compile. Over a list
    of another kind, ``f.type`` and the like can be declared as variables of their types. Columns stay what they are.
    """
    bare = blanked(source)
    loops = [m for m in _LOOP.finditer(bare) if _over_findings(bare, m.start())]
    changes = [(*m.span(2), "_" * len(m[2])) for m in loops]
    roots = [root.start() for m in loops if (root := _ROOT.search(bare, 0, m.start()))]
    changes += [(root, root + len(_NAME), "[true]".ljust(len(_NAME))) for root in roots]
    return frozenset(m[2] for m in loops), _replaced(source, changes)


# --------------------------------------------------------------------------- reading


def _loops(bare: str) -> Iterator[_Loop]:
    for m in _LOOP.finditer(bare):
        root = _ROOT.search(bare, 0, m.start())
        opened = bare.index("(", m.start())
        end = _closing(bare, opened)
        if end >= 0:
            yield _Loop(m[1], m[2], root.start() if root else -1, m.start(), m.end(), end)


def _closing(bare: str, opened: int) -> int:
    depth = 0
    for at in range(opened, len(bare)):
        depth += (bare[at] == "(") - (bare[at] == ")")
        if not depth:
            return at
    return -1


def _counting(bare: str, loop: _Loop) -> tuple[int, int] | None:
    """What of the text is a count of findings: ``size(findings.filter(…))``, ``findings.filter(…).size()``, and
    ``findings.exists_one(…)``.
    """
    if loop.root < 0 or loop.macro not in ("filter", "exists_one"):
        return None
    if loop.macro == "exists_one":
        return loop.root, loop.end + 1
    if after := _SIZE_AFTER.match(bare, loop.end + 1):
        return loop.root, after.end()
    before, closed = _SIZE_BEFORE.search(bare, 0, loop.root), re.compile(r"\s*\)").match(bare, loop.end + 1)
    return (before.start(), closed.end()) if before and closed else None


def _count(loop: _Loop, source: str) -> Count:
    body = source[loop.body : loop.end]
    inner = rewritten(f"{SOME}.exists({loop.name},{body})")  # inside of a loop, so that nothing in it is counted
    body = inner.text[len(SOME) + len(f".exists({loop.name},") : -1]
    text = f"{SOME}.map({loop.name}, ({body}\n), {loop.name}.{TIMES})"
    return Count(hashlib.sha256(text.encode()).hexdigest()[:16], text)


def _plain(loop: _Loop, loops: Iterable[_Loop], source: str, bare: str) -> bool:
    return loop.root >= 0 and _every(loop, loops) and not _for_its_type(loop, source, bare)


def _every(loop: _Loop, loops: Iterable[_Loop]) -> bool:
    """Whether a list of findings is only filtered, and then asked whether there is one or whether it is all of them."""
    by_start = {o.start: o for o in loops}
    while loop.macro == "filter":
        following = by_start.get(loop.end + 1)
        if following is None:
            return False
        loop = following
    return loop.macro in _EVERY


def _for_its_type(loop: _Loop, source: str, bare: str) -> list[tuple[int, int, str]]:
    """``exists(f, f.type == "X" && …)`` is false where there is no X: that is asked first."""
    body = bare[loop.body : loop.end]
    if loop.root < 0 or loop.macro != "exists" or "||" in body or "?" in body:
        return []
    first = re.match(rf"\s*{loop.name}\s*\.\s*type\s*==\s*(\"x*\")\s*(?:&&|$)", body)
    if first is None:
        return []
    literal = source[loop.body + first.start(1) : loop.body + first.end(1)]
    begins = f"({literal} in {TYPES} && {KINDS}"
    return [(loop.root, loop.root + len(_NAME), begins), (loop.end + 1, loop.end + 1, ")")]


def _over_findings(bare: str, dot: int) -> bool:
    """Whether what stands before the dot at ``dot`` is a list of findings: all, or filtered ones."""
    before = bare[:dot].rstrip()
    while before.endswith(")"):
        depth, at = 0, len(before)
        while at > 0 and (at == len(before) or depth):
            at -= 1
            depth += (before[at] == ")") - (before[at] == "(")
        filtered = _FILTERED.search(before[:at])
        if filtered is None:
            return False
        before = before[: filtered.start()].rstrip()
    return _ROOT.search(before) is not None


def _replaced(source: str, changes: Iterable[tuple[int, int, str]]) -> str:
    for start, end, by in sorted(changes, reverse=True):
        source = source[:start] + by + source[end:]
    return source
