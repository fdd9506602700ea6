"""A person before a terminal: a real pseudo-terminal, keys, and what stands on its screen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from pathlib import Path
from types import TracebackType
from typing import Self

SECONDS = 20.0
"""Until a test gives up waiting for a text."""
_SGR = re.compile(r"\x1b\[[0-9;]*m")
_OURS = re.compile(r"\x1b\[(?:[0-9;]*m|H|\?(?:1049|25|2004|7)[hl])")
"""What the live view itself sends: colours, home, and the modes that it switches on and off."""


class Terminal:
    """``llmguard`` with these arguments on a terminal of that size. Used as a context manager."""

    def __init__(self, config: Path, *arguments: str, columns: int = 100, rows: int = 30) -> None:
        self._command = [sys.executable, "-m", "llmguard.cli", "--config", str(config), *arguments]
        self._columns, self._rows = columns, rows
        self.sent = ""
        """Everything that came to the terminal."""

    def __enter__(self) -> Self:
        read, write = os.pipe()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.close(write)
            os.read(read, 1)  # until the terminal has its size
            keep = ("PATH", "HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "LANG")
            environment = {k: v for k, v in os.environ.items() if k in keep}
            os.execve(self._command[0], self._command, {**environment, "TERM": "xterm-256color", "PYTHONUTF8": "1"})
        os.close(read)
        self.resize(self._columns, self._rows)
        os.close(write)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._fd)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    @property
    def screen(self) -> list[str]:
        """The rows of the last whole picture of a live view."""
        frames = self.sent.split("\x1b[H")
        return [_OURS.sub("", row).replace("\r", "").rstrip() for row in frames[-1].split("\n")]

    def until(self, *texts: str, since: int = 0) -> str:
        """Waits until the last picture, or what came since, has all of these texts; returns it."""
        end = time.monotonic() + SECONDS
        while True:
            shown = "\n".join(self.screen) if "\x1b[H" in self.sent else _SGR.sub("", self.sent[since:])
            if all(text in shown for text in texts):
                return shown
            assert time.monotonic() < end, f"{texts} did not come; there is:\n{shown}"
            self._receive(0.05)

    def ended(self) -> int:
        """The exit code, once it has ended."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            self._receive(0.01)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
        raise AssertionError(f"it did not end; there is:\n{self.screen}")

    def foreign(self) -> set[str]:
        """Control and escape characters that came to the terminal, beside those of the live view itself."""
        rest = _OURS.sub("", self.sent)
        return {c for c in rest if not c.isprintable() and c not in "\r\n"}

    def _receive(self, seconds: float) -> None:
        if select.select([self._fd], [], [], seconds)[0]:
            try:
                self.sent += os.read(self._fd, 65536).decode(errors="replace")
            except OSError:
                time.sleep(seconds)
