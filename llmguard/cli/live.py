"""Live: the desk on a terminal. It owns the keyboard, the screen and the threads that ask the control plane.

The terminal is put back as it was, however this ends. Invariant: what was typed before a question stood on the screen
does not answer it.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import select
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live

from llmguard.cli.approvals import cast
from llmguard.cli.desk import Desk, Fetch, News, Refused, Ring, Vote, Voted, Wish, opened
from llmguard.cli.screen import console
from llmguard.cli.times import now
from llmguard.cli.watch import Link, feed
from llmguard.config import Settings
from llmguard.errors import LLMGuardError

_TICK = 1.0
"""Seconds between looks at the clock."""
_ESCAPE = 0.05
"""Seconds after which an escape is the key and not the beginning of one."""
_ON, _OFF = "\x1b[?2004h\x1b[?7l", "\x1b[?7h\x1b[?2004l"
"""Pasted text is marked as such, and a row that is too long after all is cut instead of moving all others."""


def possible() -> bool:
    """Whether there is a terminal to show it on and to type on."""
    return sys.stdin.isatty() and sys.stdout.isatty() and not console().is_dumb_terminal


def run(settings: Settings, bell: bool) -> None:
    """Until somebody quits. Raises Unauthenticated if nobody is logged in."""
    screen, link = console(), Link(settings)  # the link stays open: threads that still ask end with the process
    with _Wake() as wake, _keyboard() as keys, _shown(screen) as live:
        asking = _Asking(link, wake)
        desk = Desk(link.email)
        typed: deque[str] = deque()
        while not desk.over:
            live.update(_Rows(desk), refresh=True)
            # One key for each picture: what is paged past quickly was on the screen, too.
            ready = wake.wait(keys.fd, 0 if typed else _ESCAPE if keys.pending else _TICK)
            typed += keys.read(ready)
            wishes = [w for news in asking.news() for w in desk.told(news)]
            asked = desk.question
            if typed:
                wishes += desk.key(typed.popleft(), now())
            if desk.question is not None and asked is None:
                typed.clear()
                keys.forget()
            _wished(asking, wishes, screen if bell else None)


def _wished(asking: _Asking, wishes: list[Wish], bell: Console | None) -> None:
    for wish in wishes:
        if not isinstance(wish, Ring):
            asking.ask(wish)
        elif bell is not None:
            bell.bell()


class _Rows:
    """The desk for rich, as large as the terminal is at that moment."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, height = options.max_width, options.height or console.height
        for row in self._desk.draw(width, height, now()):
            row.no_wrap, row.overflow = True, "crop"
            yield row


@contextlib.contextmanager
def _shown(screen: Console) -> Iterator[Live]:
    live = Live(console=screen, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
    with live:
        try:
            screen.file.write(_ON)
            yield live
        finally:
            screen.file.write(_OFF)
            screen.file.flush()


# --------------------------------------------------------------------------- the control plane


class _Asking:
    """Threads that ask, and the news that they bring. They end with the process: a question that hangs keeps nobody."""

    def __init__(self, link: Link, wake: _Wake) -> None:
        self._link = link
        self._wake = wake
        self._news: SimpleQueue[News] = SimpleQueue()
        threading.Thread(target=self._follow, daemon=True).start()

    def ask(self, wish: Fetch | Vote) -> None:
        threading.Thread(target=self._do, args=(wish,), daemon=True).start()

    def news(self) -> Iterator[News]:
        with contextlib.suppress(Empty):
            while True:
                yield self._news.get_nowait()

    def _follow(self) -> None:
        try:
            for event in feed(self._link):
                self._tell(event)
        except LLMGuardError as e:
            self._tell(Refused("", e.message, False))

    def _do(self, wish: Fetch | Vote) -> None:
        vote = isinstance(wish, Vote)
        id_ = str(wish.approval["id"]) if isinstance(wish, Vote) else wish.id
        try:
            client = self._link.client()
            if isinstance(wish, Vote):
                self._tell(Voted(cast(client, dict(wish.approval), wish.verdict, wish.reason)))
            else:
                self._tell(opened(client.get(f"/approvals/{id_}"), now()))
        except LLMGuardError as e:
            self._tell(Refused(id_, e.message, vote))

    def _tell(self, news: News) -> None:
        self._news.put(news)
        self._wake()


class _Wake:
    """Ends a wait from another thread, or because the terminal's size changed."""

    def __enter__(self) -> _Wake:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._before = {s: signal.signal(s, self._leave) for s in (signal.SIGTERM, signal.SIGHUP)}
        self._before[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, lambda *_: None)
        self._fd = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._fd)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        # The pipe stays open: threads that still ask write to it. It ends with the process.

    def __call__(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._write, b"\0")

    def wait(self, keyboard: int, seconds: float) -> bool:
        """Whether something was typed."""
        ready, _, _ = select.select([keyboard, self._read], [], [], seconds)
        if self._read in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._read, 4096)
        return keyboard in ready

    @staticmethod
    def _leave(number: int, _: Any) -> None:
        sys.exit(128 + number)


# --------------------------------------------------------------------------- the keyboard

_NAMES = {
    "\x1b[A": "up",
    "\x1b[B": "down",
    "\x1bOA": "up",
    "\x1bOB": "down",
    "\x1b[5~": "pgup",
    "\x1b[6~": "pgdn",
    "\x1b[H": "home",
    "\x1b[F": "end",
    "\x1bOH": "home",
    "\x1bOF": "end",
    "\x1b[1~": "home",
    "\x1b[4~": "end",
    "\r": "enter",
    "\n": "enter",
    "\x7f": "backspace",
    "\x08": "backspace",
    "\x15": "ctrl-u",
    "\x03": "ctrl-c",
    "\x04": "ctrl-c",
    "\x06": "pgdn",
    "\x02": "pgup",
}
_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O[A-Za-z])")
_PARTIAL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|O)?\Z")
_PASTE, _PASTED = "\x1b[200~", "\x1b[201~"


class Keys:
    """Keys out of what a terminal sends, in whatever pieces that comes."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    @property
    def pending(self) -> bool:
        """Whether an escape waits for what follows it."""
        return bool(self._rest)

    def read(self, ready: bool) -> list[str]:
        """What was typed. ``ready``: there is something; else an escape that nothing followed is the key."""
        if not ready:
            rest, self._rest = self._rest, ""
            return ["esc"] if rest and not rest.startswith(_PASTE) else []
        try:
            received = os.read(self.fd, 65536)
        except OSError:
            received = b""
        return self.feed(received) if received else ["ctrl-c"]  # nobody sits there any more

    def feed(self, received: bytes) -> list[str]:
        text, keys = self._rest + self._text.decode(received), []
        self._rest = ""
        while text:
            if text.startswith(_PASTE):
                pasted, end, text = text.removeprefix(_PASTE).partition(_PASTED)
                if not end:
                    self._rest = (_PASTE + pasted)[-65536:]
                    break
                keys.append(f"paste:{pasted}")
                continue
            if _PARTIAL.match(text):
                self._rest = text
                break
            found = _SEQUENCE.match(text)
            one = found[0] if found else text[0]
            text = text[len(one) :]
            name = "esc" if one == "\x1b" else _NAMES.get(one, one)
            if (len(name) > 1 and not name.startswith("\x1b")) or name.isprintable():
                keys.append(name)
        return keys

    def forget(self) -> None:
        """Drops what was typed and not read yet."""
        import termios

        self._rest = ""
        with contextlib.suppress(termios.error):
            termios.tcflush(self.fd, termios.TCIFLUSH)


@contextlib.contextmanager
def _keyboard() -> Iterator[Keys]:
    """Each key at once, none shown, none a signal."""
    import termios
    import tty

    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        changed = termios.tcgetattr(fd)
        changed[3] &= ~termios.ISIG
        termios.tcsetattr(fd, termios.TCSANOW, changed)
        yield Keys(fd)
    finally:
        termios.tcsetattr(fd, termios.TCSAFLUSH, before)
