"""Screen: other people's text on a terminal. What could steer the terminal or the eye is made visible, never obeyed."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

_INVISIBLE = frozenset(
    [0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, *range(0x180B, 0x1810), *range(0xFE00, 0xFE10)]
)
"""Characters that show nothing though Unicode calls them printable."""
_WIDE = 240
"""Columns where no terminal sets them: what is piped is not folded."""


def visible(text: str, *, lines: bool = False) -> str:
    r"""``text`` with every control, ANSI, bidi, zero-width and invisible character written as ``\u{202e}``.

    ``lines`` keeps line feeds and tabs, for bodies; everything else stays on its line.
    """
    return "".join(c if _harmless(c, lines) else f"\\u{{{ord(c):x}}}" for c in text)


def _harmless(character: str, lines: bool) -> bool:
    if lines and character in "\n\t":
        return True
    code = ord(character)
    return character.isprintable() and code not in _INVISIBLE and not 0xE0000 <= code <= 0xE0FFF


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


def moment(milliseconds: int | None) -> str:
    """UTC milliseconds as a date and time; nothing for None."""
    if milliseconds is None:
        return ""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
