"""Command: one approved command as a child process: its signals, its exit code and, if asked for, its output's end.

It runs exactly the words that it is given; no shell is in between. Without a tail the child has our own terminal or
files, so that it sees what they are; with one it writes into pipes whose bytes pass through as they come.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Any

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
KEPT = 64 << 10
"""Bytes of output that are kept to take the last lines from. More than is shown, so that what begins before is seen."""
GRACE = 2.0
"""Seconds that output may still come after the command's end, from what it left behind."""
_PIECE = 64 << 10


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended: its exit code, 128+N where signal N ended it, 127 where it could not be started."""

    code: int
    tail: bytes = field(default=b"", repr=False)
    problem: str = ""


def carried_out(
    command: list[str], program: str, environment: Mapping[str, str], stdin: Path | None, lines: int
) -> Finished:
    """Runs a command and waits for its end. ``lines``: whether the end of its output is wanted."""
    pipe, tee, signals = subprocess.PIPE if lines else None, _Tee(), _Signals()
    with signals:
        try:
            with open(stdin or os.devnull, "rb") as source:
                child = subprocess.Popen(  # noqa: S603  it is what people approved; no shell is in between
                    command, executable=program, env=environment, stdin=source, stdout=pipe, stderr=pipe
                )
        except OSError as e:
            return Finished(127, problem=e.strerror or type(e).__name__)
        signals.belong_to(child)
        for stream, ours in ((child.stdout, 1), (child.stderr, 2)):
            if stream is not None:
                tee.start(stream, ours)
        code = child.wait()
        tee.join()
    return Finished(128 - code if code < 0 else code, tee.end())


class _Signals:
    """Signals that reach us are the command's, from before it starts. A terminal has sent it its own already."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[Any] | None = None
        self._early: list[int] = []
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        foreground = _in_foreground()
        for number in FORWARDED:
            forwards = not foreground or number == signal.SIGTERM
            self._before[number] = signal.signal(number, self._forward if forwards else _ignored)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def belong_to(self, child: subprocess.Popen[Any]) -> None:
        self._child = child
        for number in self._early:
            child.send_signal(number)

    def _forward(self, number: int, _: FrameType | None) -> None:
        if self._child is None:
            self._early.append(number)
        else:
            self._child.send_signal(number)


def _ignored(number: int, _: FrameType | None) -> None:
    """Not SIG_IGN, which the command would inherit."""


def _in_foreground() -> bool:
    """Whether a terminal sends its interrupts to us and to the command alike."""
    for ours in (0, 1, 2):
        try:
            return os.tcgetpgrp(ours) == os.getpgrp()
        except OSError:
            continue
    return False


class _Tee:
    """Passes output on as it comes, and keeps its end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept = b""
        self._cut = False
        self._threads: list[threading.Thread] = []

    def start(self, stream: IO[bytes], ours: int) -> None:
        thread = threading.Thread(target=self._pass, args=(stream, ours), daemon=True)
        self._threads.append(thread)
        thread.start()

    def join(self) -> None:
        """A process that the command left behind may hold its output open: it is not waited for."""
        for thread in self._threads:
            thread.join(GRACE)

    def end(self) -> bytes:
        """From the beginning of a line."""
        with self._lock:
            return self._kept.partition(b"\n")[2] if self._cut else self._kept

    def _pass(self, stream: IO[bytes], ours: int) -> None:
        with stream:
            while piece := os.read(stream.fileno(), _PIECE):
                with self._lock:
                    both = self._kept + piece
                    self._kept, self._cut = both[-KEPT:], self._cut or len(both) > KEPT
                try:
                    _write(ours, piece)
                except OSError:  # nobody reads us: closing the pipe tells the command
                    return


def _write(ours: int, piece: bytes) -> None:
    left = memoryview(piece)
    while left:
        left = left[os.write(ours, left) :]
