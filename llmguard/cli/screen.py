"""Screen: other people's text on a terminal. What could steer the terminal or the eye is made visible, never obeyed."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmguard.cli.times import moment as moment
from llmguard.invisible import harmless

_WIDE = 240
"""Columns where no terminal sets them: what is piped is not folded."""


def visible(text: str, *, lines: bool = False) -> str:
    r"""``text`` with every control, ANSI, bidi, zero-width and invisible character written as ``\u{202e}``.

    ``lines`` keeps line feeds and tabs, for bodies; everything else stays on its line.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if harmless(c, lines=lines) else f"\\u{{{ord(c):x}}}" for c in text)


def styled(text: str, style: str = "", *, lines: bool = False) -> Text:
    """Visible text for rich: no markup in it is read, no emoji name is replaced."""
    return Text(visible(text, lines=lines), style=style)


def console(*, err: bool = False) -> Console:
    made = Console(stderr=err, highlight=False, markup=False, emoji=False, soft_wrap=True)
    if not made.is_terminal:
        made.width = _WIDE
    return made


def table(*columns: str) -> Table:
    """A table whose first column, the one that names a row, is never folded."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for i, column in enumerate(columns):
        made.add_column(column, overflow="fold", no_wrap=i == 0)
    return made


def grid(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of visible words as lines, their columns as wide as their widest word; the last one as it comes."""
    widths = [max(cell_len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    lines = []
    for row in rows:
        padded = [word + " " * (width - cell_len(word)) for word, width in zip(row, widths, strict=True)]
        lines.append("  ".join(padded).rstrip())
    return lines


def interactive() -> bool:
    """Whether somebody sits there: questions go to stderr and are answered on stdin."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask_secret(what: str, *, twice: bool = False) -> str:
    """A secret from the terminal, without an echo; a line of stdin where that is no terminal."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    secret: str = click.prompt(what, hide_input=True, confirmation_prompt=twice, err=True)
    return secret
