"""PolicyFile: the policy of the configuration as it stands in its file now, read again where the file was changed.

It owns what was read last and why it could not be read since. It puts nothing in force. Invariant: what cannot be used
never takes the place of what could.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from llmguard.config import Settings
from llmguard.errors import ConfigError
from llmguard.policy import Policy
from llmguard.policy.document import configured

log = logging.getLogger("llmguard")
_Signature = tuple[int, int, int, int] | None
"""Device, inode, size and time of change; None where there is no such file."""


class PolicyFile:
    """``policy`` is the last one that could be used. ``error`` says why the file cannot be used now; "" if it can."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigError if the policy cannot be used: a guard does not start without one."""
        self._settings = settings
        self._lock = threading.Lock()
        self._read = self._seen = _signature(settings.policy)
        self.policy: Policy = configured(settings)
        self.error = ""

    def again(self) -> None:
        """The next look reads the file, however it looks."""
        with self._lock:
            self._read = (0, 0, 0, 0)
            self._seen = _signature(self._settings.policy)

    def look(self) -> bool:
        """Reads a file that was changed and has stayed the same since the last look; whether it holds another policy.

        So what an editor has written half of is not read.
        """
        with self._lock:
            now = _signature(self._settings.policy)
            settled, self._seen = now == self._seen, now
            if not settled or now == self._read:
                return False
            self._read = now
            return self._taken()

    def _taken(self) -> bool:
        before = self.policy.version
        try:
            self.policy, self.error = configured(self._settings), ""
        except ConfigError as e:
            self.error = e.message
            log.error("the policy file cannot be used, and what is in force stays: %s", e.message)
        return self.policy.version != before


def _signature(path: Path | None) -> _Signature:
    try:
        at = path.stat() if path is not None else None
    except OSError:
        return None
    return None if at is None else (at.st_dev, at.st_ino, at.st_size, at.st_mtime_ns)
