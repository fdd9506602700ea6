"""Figures: points in a square or a strip, as SVG that a browser shows as it is. No library."""

from __future__ import annotations

from collections.abc import Sequence

_WIDE, _HIGH, _EDGE = 460, 300, 48


def plot(title: str, points: Sequence[tuple[float, float]], across: str, up: str) -> str:
    """Joined points. Axes run from 0 to 1 if all fits there (then with its diagonal), else from 0 to the most."""
    unit = all(0 <= v <= 1 for point in points for v in point)
    most_x, most_y = (1.0, 1.0) if unit else (max(x for x, _ in points), max(y for _, y in points) * 1.1)

    def at(x: float, y: float) -> tuple[float, float]:
        return _EDGE + x / most_x * (_WIDE - 2 * _EDGE), _HIGH - _EDGE - y / most_y * (_HIGH - 2 * _EDGE)

    left, bottom = at(0, 0)
    right, top = at(most_x, most_y)
    drawn = " ".join(f"{a:.1f},{b:.1f}" for a, b in (at(x, y) for x, y in points))
    dots = "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3"/>' for a, b in (at(x, y) for x, y in points))
    diagonal = f'<path d="M{left} {bottom}L{right} {top}" stroke="#bbb" stroke-dasharray="4"/>' if unit else ""
    texts = (
        (_WIDE / 2, 20, title),
        (_WIDE / 2, _HIGH - 10, across),
        (left, bottom + 16, "0"),
        (right, bottom + 16, f"{most_x:g}"),
        (left - 20, top + 4, f"{most_y:.3g}"),
        (left - 20, (top + bottom) / 2, up),
    )
    words = "".join(f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="middle">{word}</text>' for x, y, word in texts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {_HIGH}" '
        'font-family="sans-serif" font-size="11">'
        f'<rect width="{_WIDE}" height="{_HIGH}" fill="white"/>{diagonal}'
        f'<path d="M{left} {top}V{bottom}H{right}" fill="none" stroke="#444"/>'
        f'<polyline points="{drawn}" fill="none" stroke="#0a6"/><g fill="#0a6">{dots}</g>{words}</svg>\n'
    )
