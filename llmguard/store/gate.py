"""Gate: counts the threads that use a connection, and holds them off while the process forks.

SQLite's locks live in the process: a connection that is open during a fork is unsafe in the child, and its bookkeeping
makes the child's own connections unsafe too (sqlite.org/howtocorrupt.html §2.6). So none is open during a fork.
"""

from __future__ import annotations

import threading
from types import TracebackType


class Gate:
    """``with gate:`` around every use of a connection. Entering again in the same thread never waits."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._inside: list[int] = []
        self._paused = False

    def __enter__(self) -> None:
        me = threading.get_ident()
        with self._changed:
            while self._paused and me not in self._inside:
                self._changed.wait()
            self._inside.append(me)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._inside.remove(threading.get_ident())
            if self._paused:
                self._changed.notify_all()

    def pause(self) -> bool:
        """Waits until nobody else is inside and keeps others out. False if the caller itself is inside."""
        me = threading.get_ident()
        with self._changed:
            self._paused = True
            self._changed.wait_for(lambda: all(i == me for i in self._inside))
            return not self._inside

    def resume(self) -> None:
        with self._changed:
            self._paused = False
            self._changed.notify_all()
