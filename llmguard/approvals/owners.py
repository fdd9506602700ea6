"""Owners: the processes that spend approvals, and whether one of them is gone.

An owner is ``PID:ULID``; the ULID's time lies in the life of the process. A process of the same number that started
later is another one, which matters in containers, where everybody is process 1.
"""

from __future__ import annotations

import os
from pathlib import Path

from ulid import ULID

_GRACE_MS = 2000
"""Clock ticks and boot time are coarse."""
_DEAD = frozenset("ZXx")
"""States of a process that was killed and that nobody has reaped: nothing of it runs."""


def gone(owner: str | None) -> bool:
    """Whether the process that executes an approval lives no more. What cannot be read names no living process."""
    pid, _, stamp = (owner or "").partition(":")
    try:
        number, begun = int(pid), int(ULID.from_str(stamp).timestamp * 1000)
    except ValueError:
        return True
    if number <= 0 or not _alive(number):
        return True
    found = _process(number)
    return found is not None and (found[0] in _DEAD or found[1] > begun + _GRACE_MS)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _process(pid: int) -> tuple[str, int] | None:
    """State and start (UTC ms) of a process; None where the system does not tell (proc(5), fields 3 and 22)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = next(int(x.split()[1]) for x in Path("/proc/stat").read_text().splitlines() if x.startswith("btime "))
        return fields[0], boot * 1000 + int(fields[19]) * 1000 // os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, StopIteration):
        return None
