"""What ``llmguard scan`` leaves out: ``.llmguardignore`` and comments in the text.

They are wishes of whoever wrote the file, so they count for ``scan`` alone: never for a call, a data set or ``redact``.
Invariant: what was left out is counted, and the count is told.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from pathspec import GitIgnoreSpec

from llmguard.errors import ConfigError
from llmguard.model import Finding

NAME = ".llmguardignore"
_COMMENT = re.compile(r"llmguard:allow(-next-line)?(?:[ \t]*[:=]?[ \t]*([A-Za-z][\w.*]*(?:,[ \t]?[A-Za-z][\w.*]*)*))?")
_BLANK = re.compile(r"(?<!\\)\s+")


@dataclass(frozen=True, slots=True)
class Ignore:
    """Rules of one file. ``files`` are not read at all; ``some`` leaves out what the named detectors or types find."""

    files: GitIgnoreSpec
    some: tuple[tuple[GitIgnoreSpec, tuple[str, ...]], ...]
    root: Path

    def skips(self, path: Path) -> bool:
        return self.files.match_file(self._below(path))

    def names(self, path: Path) -> tuple[str, ...]:
        """Detectors and types (``*`` allowed) that are left out in a file."""
        below = self._below(path)
        return tuple(n for spec, names in self.some if spec.match_file(below) for n in names)

    def _below(self, path: Path) -> str:
        whole = path.absolute()
        return PurePath(whole.relative_to(self.root) if whole.is_relative_to(self.root) else whole).as_posix()


NOTHING = Ignore(GitIgnoreSpec.from_lines([]), (), Path("/"))


def read(path: Path) -> Ignore:
    """Reads a ``.llmguardignore``: a pattern as in ``.gitignore``, then, if only some findings are left out, their
    detectors or types. Raises: ConfigError with the line's number.
    """
    whole: list[str] = []
    some: list[tuple[GitIgnoreSpec, tuple[str, ...]]] = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: cannot be read: {type(e).__name__}") from None
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        pattern, *names = _BLANK.split(line.strip())
        try:
            spec = GitIgnoreSpec.from_lines([pattern])
        except ValueError:
            raise ConfigError(f"{path}:{number}: not a pattern as in .gitignore") from None
        if not names:
            whole.append(pattern)
            continue
        if wrong := next((n for n in names if not re.fullmatch(r"[A-Za-z][\w.*]*", n)), None):
            raise ConfigError(f"{path}:{number}: {wrong!r} is neither a detector's id nor a type")
        some.append((spec, tuple(names)))
    return Ignore(GitIgnoreSpec.from_lines(whole), tuple(some), path.absolute().parent)


def kept(text: str, findings: Sequence[Finding], names: Iterable[str]) -> list[Finding]:
    """Findings that neither ``names`` nor a comment of the text leaves out.

    ``llmguard:allow`` leaves out what begins on its line, ``llmguard:allow-next-line`` on the one below; with
    detectors or types behind it, only theirs.
    """
    left = tuple(names)
    allowed = _allowed(text) if findings and "llmguard:allow" in text else {}
    return [f for f in findings if not _matches(f, left) and not _permitted(f, text, allowed)]


def _allowed(text: str) -> dict[int, tuple[str, ...]]:
    """By line number from 0: what a comment allows there; ``*`` is everything."""
    allowed: dict[int, tuple[str, ...]] = {}
    for number, line in enumerate(text.split("\n")):
        for m in _COMMENT.finditer(line):
            at = number + 1 if m[1] else number
            names = tuple(n.strip() for n in m[2].split(",")) if m[2] else ("*",)
            allowed[at] = allowed.get(at, ()) + names
    return allowed


def _permitted(finding: Finding, text: str, allowed: dict[int, tuple[str, ...]]) -> bool:
    return bool(allowed) and _matches(finding, allowed.get(text.count("\n", 0, finding.start), ()))


def _matches(finding: Finding, names: Iterable[str]) -> bool:
    return any(n == finding.type or fnmatch.fnmatchcase(finding.detector, n) for n in names)
