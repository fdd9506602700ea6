"""Charts as SVG that the server draws: no script, no inline style; words and numbers stand beside every mark.

A chart is for the eye: the numbers stand in a table beside it (``ui.chart``), which is what a screen reader reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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


# --------------------------------------------------------------------------- charts of several series

WIDE, SLIM, WHOLE = 540, 320, 1120
"""Units of a chart beside others, of one on a phone and of one over the whole page. Two are drawn, one is shown."""
HEIGHT, FOOT, HEAD = 190, 22, 16
_MARKS = ("mark-plain", "mark-full", "mark-lines", "mark-cross")
_FILLS = {"mark-lines": "url(#lines)", "mark-cross": "url(#cross)"}


@dataclass(frozen=True, slots=True)
class Series:
    """One kind of mark. ``mark``: 0 hollow, 1 full, 2 lines, 3 cross-hatched, so that no colour has to tell them."""

    name: str
    values: Sequence[int]
    mark: int

    @property
    def total(self) -> int:
        return sum(self.values)


PATTERNS = Markup(
    '<svg class="off" width="0" height="0" aria-hidden="true" focusable="false"><defs>'
    '<pattern id="lines" class="mark-lines" width="6" height="6" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><rect class="ground" width="6" height="6"/>'
    '<path class="ink" d="M1.5 0V6" stroke-width="3"/></pattern>'
    '<pattern id="cross" class="mark-cross" width="6" height="6" patternUnits="userSpaceOnUse">'
    '<rect class="ground" width="6" height="6"/><path class="ink" d="M0 0L6 6M6 0L0 6" stroke-width="1.8"/></pattern>'
    "</defs></svg>"
)
"""What lines and cross-hatches are made of; once on a page that has them."""


def both(draw: Callable[[int], Markup], wide: int = WIDE) -> Markup:
    """A chart in two widths."""
    return Markup('<div class="wide-only">{}</div><div class="slim-only">{}</div>').format(draw(wide), draw(SLIM))


def legend(series: Sequence[Series]) -> Markup:
    """The marks in words, with their sums."""
    items = [
        Markup('<li><svg viewBox="0 0 14 14" aria-hidden="true">{}</svg> {} <b>{}</b></li>').format(
            _rect(one.mark, 1, 1, 12, 12), one.name, f"{one.total:,}"
        )
        for one in series
    ]
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(items))


def columns(labels: Sequence[str], series: Sequence[Series], *, stacked: bool = True, wide: int = WIDE) -> Markup:
    """Columns, stacked or side by side, with a scale, and what the largest is."""
    marks = legend(series) if len(series) > 1 else Markup("")
    return marks + both(lambda width: _columns(labels, series, stacked, width), wide)


def _columns(labels: Sequence[str], series: Sequence[Series], stacked: bool, width: int) -> Markup:
    sums = [(sum if stacked else max)(s.values[i] for s in series) for i in range(len(labels))]
    top = _round_up(max(sums, default=0))
    left = int(10 + _width(_short(top)))
    room, base = width - left - 2, HEIGHT - FOOT
    scale = (base - HEAD) / top
    step = room / len(labels)
    drawn = [_grid(left, width, base, top, scale)]
    told = 7 * max(len(_short(s)) for s in sums) < step
    for i in range(len(labels)):
        x, wide = left + i * step, max(2.0, min(step * 0.72, 110))
        x += (step - wide) / 2
        drawn.append(_column([(s.mark, s.values[i]) for s in series], x, wide, base, scale, stacked))
        if sums[i] and (told or sums[i] == max(sums)):
            middle = min(max(x + wide / 2, left + 3.5 * len(_short(sums[i]))), width - 3.5 * len(_short(sums[i])))
            drawn.append(_text(middle, base - sums[i] * scale - 4, _short(sums[i])))
    every = max(1, -int(-(max(map(_width, labels)) + 10) // step))
    for i, label in enumerate(labels):
        if (len(labels) - 1 - i) % every == 0:
            x = min(left + (i + 0.5) * step, width - _width(label) / 2)
            drawn.append(_text(x, HEIGHT - 6, label, "faint"))
    return svg(HEIGHT, Markup("").join(drawn), width)


def _grid(left: int, width: int, base: int, top: int, scale: float) -> Markup:
    lines = []
    for value in (0, top // 2, top) if top > 1 else (0, top):
        y = f"{base - value * scale:.1f}"
        lines.append(
            Markup(
                '<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>'
                '<text class="faint" x="{}" y="{}" text-anchor="end">{}</text>'
            ).format(left, width, y, y, left - 5, f"{base - value * scale + 4:.1f}", _short(value))
        )
    return Markup("").join(lines)


def _column(parts: Sequence[tuple[int, int]], x: float, wide: float, base: int, scale: float, stacked: bool) -> Markup:
    drawn, y = [], float(base)
    each = wide if stacked else wide / len(parts)
    for n, (mark, value) in enumerate(parts):
        height = max(value * scale, 1.5) if value else 0.0
        if height:
            at = x if stacked else x + n * each
            drawn.append(_rect(mark, at, y - height, each, height))
        y -= height if stacked else 0.0
    return Markup("").join(drawn)


def shares(rows: Sequence[tuple[str, int, int]], words: tuple[str, str]) -> Markup:
    """Horizontal bars, of each a part. ``words``: what the whole bar is, and what the part."""
    kinds = (Series(words[0], [r[1] for r in rows], 0), Series(words[1], [r[2] for r in rows], 1))
    return legend(kinds) + both(lambda width: _shares(rows, width))


def ranked(rows: Sequence[tuple[str, int]], marks: Sequence[int] = ()) -> Markup:
    """Horizontal bars with their numbers. ``marks``: of each bar; default: full."""
    return both(lambda width: _shares([(label, n, n) for label, n in rows], width, marks))


def _shares(rows: Sequence[tuple[str, int, int]], width: int, marks: Sequence[int] = ()) -> Markup:
    most = max((r[1] for r in rows), default=0) or 1
    names = [_cut(r[0], width * 0.42) for r in rows]
    label = max(_width(name) for name in names) + 8
    room = width - label - 8 - max(_width(f"{r[1]:,}") for r in rows)
    drawn = []
    for i, (_, whole, part) in enumerate(rows):
        y = i * ROW
        drawn.append(_text(label - 8, y + 16, _plain(names[i]), at="end"))
        if whole != part:
            drawn.append(_rect(0, label, y + 4, max(1.5, room * whole / most), 15))
        if part:
            drawn.append(_rect(marks[i] if marks else 1, label, y + 4, max(1.5, room * part / most), 15))
        end = label + max(1.5, room * whole / most) + 6
        drawn.append(Markup('<text x="{}" y="{}">{}</text>').format(f"{end:.1f}", y + 16, f"{whole:,}"))
    return svg(len(rows) * ROW, Markup("").join(drawn), width)


def _rect(mark: int, x: float, y: float, width: float, height: float) -> Markup:
    name = _MARKS[mark]
    fill = Markup(' fill="{}"').format(_FILLS[name]) if name in _FILLS else ""
    return Markup('<rect class="mark {}" x="{}" y="{}" width="{}" height="{}"{}/>').format(
        name, f"{x:.1f}", f"{y:.1f}", f"{width:.1f}", f"{height:.1f}", fill
    )


def _text(x: float, y: float, said: str, kind: str = "plain", at: str = "middle") -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        kind, f"{x:.1f}", f"{y:.1f}", at, said
    )


def _width(text: str) -> float:
    """About how wide a text is in units: letters differ, and no font is known here."""
    return sum(8.8 if c.isupper() or c in "mw_…" else 4.2 if c in "ijl.,:' " else 7.2 for c in text)


def _cut(text: str, room: float) -> str:
    """As much of a text as fits."""
    if _width(text) <= room:
        return text
    while text and _width(text) > room - 9:
        text = text[:-1]
    return text + "…"


def _round_up(number: int) -> int:
    """The end of a scale: 1, 2, 4, 6, 8 or 10 times a power of ten."""
    power = 10 ** max(0, len(str(number)) - 1)
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= number) if number else 1


def _short(number: int) -> str:
    """``950``, ``1.2k``, ``3M``."""
    for least, unit in ((1_000_000, "M"), (1000, "k")):
        if number >= 10 * least or (number >= least and number % least == 0):
            return f"{number / least:.0f}{unit}"
        if number >= least:
            return f"{number / least:.1f}{unit}"
    return str(number)


# --------------------------------------------------------------------------- a risk and its terms

_WIDE, _HIGH = 160, 12


def scale(value: int) -> Markup:
    """A risk on its scale from 0 to 100, with marks where the words change (30 medium, 70 high)."""
    return _drawn(
        300,
        _HIGH,
        Markup(
            '<rect class="track" width="300" height="{0}" rx="2"/><rect class="fill" width="{1}" height="{0}" rx="2"/>'
            '<path class="tick" d="M90 0V{0}M210 0V{0}"/>'
        ).format(_HIGH, 3 * max(0, min(100, value))),
    )


def term(points: float, left: float, least: float, most: float) -> Markup:
    """What one term adds or takes: the frame as written, the filled part as it leaves, both from the same line."""
    span = (most - least) or 1.0
    zero = _WIDE * -least / span

    def box(value: float, style: str) -> Markup:
        width = abs(value) * _WIDE / span
        x = zero if value >= 0 else zero - width
        return Markup('<rect class="{}" x="{}" y="1.5" width="{}" height="9"/>').format(
            style, f"{x:.1f}", f"{width:.1f}"
        )

    line = Markup('<path class="axis" d="M{0} 0V{1}"/>').format(f"{zero:.1f}", _HIGH)
    return _drawn(_WIDE, _HIGH, box(left, "left") + box(points, "frame") + line)


def _drawn(width: int, height: int, content: Markup) -> Markup:
    return Markup(
        '<svg viewBox="-1 0 {} {}" preserveAspectRatio="none" aria-hidden="true" focusable="false">{}</svg>'
    ).format(width + 2, height, content)
