"""The grammar of placeholders, with everything that models do to them: case, ``\\_``, spaces, missing or escaped
brackets, plural.

Never guesses: a tag counts only if it is exactly one that was granted. Work is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from llmguard.model import VaultEntry
from llmguard.vault import TAG_LENGTH

_SPACES = " \\t\\u00a0"
_HYPHENS = "\\-\\u2010\\u2011"
_SEPARATOR = rf"(?:\\{{0,16}}_|[{_SPACES}{_HYPHENS}])"
TAG = re.compile(rf"[_{_SPACES}{_HYPHENS}]([A-Za-z0-9]{{{TAG_LENGTH},}})")
"""What could be a tag, with what stands before it."""
_CLOSE = re.compile(rf"[{_SPACES}]{{0,3}}(\\{{0,16}})\]")
_UNCLOSED = re.compile(rf"[{_SPACES}]{{0,3}}\\{{0,16}}\Z")
_ESCAPE_BEFORE = re.compile(r"\\(?:[nrtbf]|u[0-9a-fA-F]{4})\Z")
_JOINED_AFTER = re.compile(r"\\{0,16}_(?:[^\W_]|(?P<end>\Z))|\\{1,16}(?P<slashes>\Z)")
BOUNDARY = re.compile(r"\\+|\[|(?<![^\W_])[A-Za-z0-9]|(?<=\\[nrtbf])[A-Za-z0-9]|(?<=\\u[0-9a-fA-F]{4})[A-Za-z0-9]")
"""Where a placeholder may begin."""
_DROPPED = "_- \t\u00a0\u2010\u2011[\\"
LEGAL = _DROPPED + "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
"""Characters that a mangled placeholder may consist of, but for its end."""
CANONICAL = {ord(c): None for c in _DROPPED}
LEFT = 24
"""Characters before a candidate that its left boundary depends on."""


@dataclass(frozen=True, slots=True)
class Granted:
    """One entry as the matcher sees it: ``before`` matches what stands before its tag, however mangled."""

    entry: VaultEntry
    tag: str
    before: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Hit:
    """A placeholder at [start, end); ``entry`` is None while it depends on text that has not come yet."""

    start: int
    end: int
    entry: VaultEntry | None


def tags(text: str) -> frozenset[str]:
    """What could be the tags of placeholders in ``text``: their first ``TAG_LENGTH`` characters, as they are issued."""
    return frozenset(tag[:TAG_LENGTH].lower() for tag in TAG.findall(text))


def before_tag(type_: str) -> re.Pattern[str]:
    words = _SEPARATOR.join(map(re.escape, type_.split("_")))
    return re.compile(
        rf"(?:(?P<slashes>\\{{0,16}})(?P<open>\[)[{_SPACES}]{{0,3}})?(?P<word>{words}){_SEPARATOR}\Z", re.I | re.A
    )


def reach(type_: str, tag: str) -> int:
    """The longest mangled form of a placeholder, in characters."""
    return len(type_) + len(tag) + 17 * (type_.count("_") + 3) + 8


def hit_at(text: str, match: re.Match[str], granted: Sequence[Granted], final: bool) -> Hit | None:
    run, at = match[1].lower(), match.start(1)
    for candidate in granted:
        if not run.startswith(candidate.tag):
            continue
        type_ = candidate.entry.type
        before = candidate.before.search(text, max(0, at - reach(type_, "")), at)
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
) -> Hit | None:
    end = match.end()
    close = _CLOSE.match(text, end)
    if close is None:
        waits = not final and _UNCLOSED.match(text, end)
        return Hit(before.start(), end, None) if waits else None
    if not exact:
        return None
    # Only brackets that are escaped on both sides lose their backslashes: before a real bracket they are text.
    return Hit(before.end("slashes") - min(len(before["slashes"]), len(close[1])), close.end(), entry)


def _bare(text: str, match: re.Match[str], start: int, candidate: Granted, final: bool) -> Hit | None:
    """A placeholder that lost its brackets. It must stand alone, but for a plural s."""
    rest, end = match[1][len(candidate.tag) :], match.end()
    if rest not in ("", "s", "S") or not _alone_before(text, start):
        return None
    if end == len(text):
        return Hit(start, end - len(rest), candidate.entry if final else None)
    joined = _JOINED_AFTER.match(text, end)
    if joined and (joined["end"] is not None or joined["slashes"] is not None):
        return Hit(start, end - len(rest), candidate.entry if final else None)
    if joined or text[end].isalnum():
        return None
    return Hit(start, end - len(rest), candidate.entry)


def _alone_before(text: str, start: int) -> bool:
    left = text[max(0, start - LEFT) : start]
    if not left:
        return True
    if left[-1] == "_":
        return not left.rstrip("_").rstrip("\\")[-1:].isalnum()
    return not left[-1].isalnum() or _ESCAPE_BEFORE.search(left) is not None
