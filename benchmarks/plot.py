"""Plots as SVG without a dependency: lines over logarithmic or plain axes, and bars; readable in light and dark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

Points = Sequence[tuple[float, float]]
WIDTH, HEIGHT = 720, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 190, 40, 56
_COLOURS = ("#0b6bcb", "#c2410c", "#15803d", "#7e22ce", "#b91c1c", "#0e7490", "#a16207", "#4b5563")
_STYLE = """
text{font:12px system-ui,sans-serif;fill:#1f2328}.title{font-weight:600;font-size:14px}
.grid{stroke:#d0d7de;stroke-width:1}.paper{fill:#fff}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.grid{stroke:#30363d}.paper{fill:#0d1117}}
"""


def lines(title: str, series: Mapping[str, Points], across: str, up: str, *, logarithmic: bool = True) -> str:
    """A whole SVG document: one line for each of ``series``, its name where the line ends.

    ``across`` and ``up`` name the axes with their units. On logarithmic axes values must be above 0.
    """
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points]
    horizontal = _Axis(xs, _LEFT, WIDTH - _RIGHT, logarithmic)
    vertical = _Axis(ys, HEIGHT - _BOTTOM, _TOP, logarithmic)
    pieces = [
        *_head(title, HEIGHT),
        *(_vertical_line(horizontal.at(v), v) for v in horizontal.ticks),
        *(_horizontal_line(vertical.at(v), v) for v in vertical.ticks),
        _text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 12, across, anchor="middle"),
        f'<text transform="translate(16 {(HEIGHT - _BOTTOM + _TOP) / 2}) rotate(-90)" text-anchor="middle">',
        f"{escape(up)}</text>",
    ]
    ends: list[float] = []
    for number, (name, points) in sorted(enumerate(series.items()), key=lambda s: vertical.at(s[1][1][-1][1])):
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join(f"{horizontal.at(x):.1f},{vertical.at(y):.1f}" for x, y in points)
        pieces.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        pieces += (
            f'<circle cx="{horizontal.at(x):.1f}" cy="{vertical.at(y):.1f}" r="3" fill="{colour}"/>' for x, y in points
        )
        end = max(vertical.at(points[-1][1]) + 4, ends[-1] + 15 if ends else 0)  # names never lie upon each other
        ends.append(end)
        pieces.append(f'<circle cx="{WIDTH - _RIGHT + 12}" cy="{end - 4:.1f}" r="4" fill="{colour}"/>')
        pieces.append(_text(WIDTH - _RIGHT + 22, end, name))
    return "\n".join([*pieces, "</svg>"]) + "\n"


def bars(title: str, groups: Mapping[str, Sequence[float | None]], names: Sequence[str], across: str) -> str:
    """A whole SVG document: for each of ``groups`` a bar to the left or right of zero for each of ``names``.

    None draws no bar. ``across`` names the axis with its unit.
    """
    most = max((abs(v) for values in groups.values() for v in values if v is not None), default=0.0) or 1.0
    left, right, thick = 2 * _LEFT, WIDTH - _RIGHT, 9
    high = thick * len(names) + 8
    foot = _TOP + high * len(groups)
    middle, unit = (left + right) / 2, (right - left) / 2 / most
    step = _step(2 * most)
    ticks = [step * n for n in range(-int(most / step), int(most / step) + 1)]
    pieces = [*_head(title, foot + _BOTTOM), _text((left + right) / 2, foot + _BOTTOM - 12, across, anchor="middle")]
    for tick in ticks:
        x = middle + tick * unit
        pieces.append(f'<line class="grid" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{foot}"/>')
        pieces.append(_text(x, foot + 18, f"{tick:g}", anchor="middle"))
    for row, (group, values) in enumerate(groups.items()):
        top = _TOP + row * high + 4
        pieces.append(_text(left - 8, top + (high - 8) / 2 + 4, group, anchor="end"))
        for i, value in enumerate(values):
            if value is not None:
                start, wide = min(middle, middle + value * unit), max(abs(value * unit), 0.5)
                place = f'x="{start:.1f}" y="{top + i * thick}" width="{wide:.1f}" height="{thick - 1}"'
                pieces.append(f'<rect {place} fill="{_COLOURS[i % len(_COLOURS)]}"/>')
    for i, name in enumerate(names):
        pieces.append(
            f'<circle cx="{right + 12}" cy="{_TOP + 16 * i + 8}" r="4" fill="{_COLOURS[i % len(_COLOURS)]}"/>'
        )
        pieces.append(_text(right + 22, _TOP + 16 * i + 12, name))
    return "\n".join([*pieces, "</svg>"]) + "\n"


def _head(title: str, height: float) -> list[str]:
    """How a document starts."""
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img"',
        f' aria-label="{escape(title)}">',
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{height:g}"/>',
        _text(_LEFT, 22, title, "title"),
    ]


class _Axis:
    """Values to pixels, and where to draw lines."""

    def __init__(self, values: Sequence[float], low: float, high: float, logarithmic: bool) -> None:
        self._low, self._high, self._log = low, high, logarithmic
        if logarithmic:
            least, most = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
            most = max(most, least + 1)
            self._least, self._most = float(least), float(most)
            self.ticks = [10.0**n for n in range(least, most + 1)]
        else:
            step = _step(max(values) or 1.0)
            self._least, self._most = 0.0, math.ceil((max(values) or 1.0) / step) * step
            self.ticks = [step * n for n in range(round(self._most / step) + 1)]

    def at(self, value: float) -> float:
        place = math.log10(value) if self._log else value
        return self._low + (self._high - self._low) * (place - self._least) / (self._most - self._least)


def _step(most: float) -> float:
    """A round distance that parts 0 to ``most`` into about five."""
    rough = most / 5
    power = 10.0 ** math.floor(math.log10(rough))
    return next(n * power for n in (1, 2, 2.5, 5, 10) if n * power >= rough)


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text{style} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _vertical_line(x: float, value: float) -> str:
    line = f'<line class="grid" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{HEIGHT - _BOTTOM}"/>'
    return line + _text(x, HEIGHT - _BOTTOM + 18, _number(value), anchor="middle")


def _horizontal_line(y: float, value: float) -> str:
    line = f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{WIDTH - _RIGHT}" y2="{y:.1f}"/>'
    return line + _text(_LEFT - 8, y + 4, _number(value), anchor="end")


def _number(value: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
