"""Charts as SVG that the server draws: no script, no inline style; words and numbers stand beside every mark.

A chart is for the eye: the numbers stand in a table beside it (``ui.chart``), which is what a screen reader reads.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from llmguard.inbox.text import visible

WIDTH, ROW, LABEL = 640, 24, 190
_LONGEST = 26
"""Characters of a label that fit beside a bar."""


def bars(rows: Sequence[tuple[str, float]], unit: str = "") -> Markup:
    """Horizontal bars, the longest the whole width. Shapes are in classes of inbox.css, so that both themes fit."""
    most = max((value for _, value in rows), default=0) or 1
    lines = [_bar(at, label, value, value / most, unit) for at, (label, value) in enumerate(rows)]
    return svg(len(rows) * ROW, Markup("").join(lines))


def svg(height: float, content: Markup, width: float = WIDTH) -> Markup:
    """Decoration to a screen reader: the table beside it says the same."""
    return Markup('<svg viewBox="0 0 {} {}" aria-hidden="true" focusable="false">{}</svg>').format(
        f"{width:g}", f"{height:g}", content
    )


def _bar(at: int, label: str, value: float, share: float, unit: str) -> Markup:
    y, room = at * ROW, WIDTH - LABEL - 90
    short = label if len(label) <= _LONGEST else label[: _LONGEST - 1] + "…"
    return Markup(
        '<text x="{0}" y="{1}" text-anchor="end">{2}</text>'
        '<rect class="bar-fill" x="{3}" y="{4}" width="{5}" height="16" rx="2"/>'
        '<text x="{6}" y="{1}">{7}</text>'
    ).format(
        LABEL - 8,
        y + 16,
        _plain(short),
        LABEL,
        y + 3,
        f"{max(1.5, room * share):.1f}",
        f"{LABEL + room * share + 6:.1f}",
        f"{value:g}{unit}",
    )


def _plain(label: str) -> Markup:
    """A label in SVG, where no chip of HTML can stand."""
    return escape(visible(label).striptags())
