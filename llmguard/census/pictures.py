"""Pictures of a report: bars and columns as SVG, each in two widths, of which a style shows the one that fits.

Every mark says its number; a shade only helps who sees it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from llmguard.census.lowest import Estimate
from llmguard.census.report import Group
from llmguard.paper import axis, bar, label, svg

WIDE, HALF, SLIM = 760, 460, 320
"""Units of a picture over the page, of one beside another, and of one on a phone."""
SHADES = ("one", "two", "three", "four")
"""Classes of stacked parts: from empty over hatched to full."""
STYLE = """
svg .fill{fill:var(--bar)}svg .track{fill:none;stroke:var(--line)}
svg .part{stroke:var(--ink);stroke-width:1}svg .one{fill:var(--paper)}svg .two{fill:url(#lines)}
svg .three{fill:url(#cross)}svg .four{fill:var(--bar)}pattern path{stroke:var(--bar)}pattern rect{fill:var(--paper)}
.slim{display:none}.legend{list-style:none;padding:0;margin:.4rem 0;display:flex;flex-wrap:wrap;gap:.2rem 1.2rem}
.legend svg{width:14px;height:14px;vertical-align:-2px}
@media(max-width:599px){.wide{display:none}.slim{display:block}.slim svg{width:100%}}
"""
PATTERNS = (
    '<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>'
    '<pattern id="lines" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="6" height="6"/><path d="M1 0V6" stroke-width="1.6"/></pattern>'
    '<pattern id="cross" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="5" height="5"/><path d="M0 2.5H5M2.5 0V5" stroke-width="1.6"/></pattern></defs></svg>'
)
"""What the shades are made of, once on a page."""


def both(draw: Callable[[int], str], wide: int = WIDE) -> str:
    """A picture in two widths."""
    return f'<div class="wide">{draw(wide)}</div><div class="slim">{draw(SLIM)}</div>'


def bars(title: str, rows: Sequence[tuple[str, float, str]]) -> str:
    """A bar for each row: its name, its value, and what is said of it."""
    return both(lambda width: _bars(title, rows, width))


def _bars(title: str, rows: Sequence[tuple[str, float, str]], width: int) -> str:
    most = max((value for _, value, _ in rows), default=0) or 1
    slim = width == SLIM
    left, step = (0, 40) if slim else (190, 26)
    room = width - left - (2 if slim else 250)
    pieces = []
    for i, (name, value, said) in enumerate(rows):
        y, wide = i * step, max(1.5, room * value / most) if value else 0.0
        if slim:
            pieces += [
                label(0, y + 13, name),
                label(width, y + 13, said, "end", "soft"),
                bar("fill", 0, y + 18, wide, 13),
            ]
        else:
            pieces += [label(left - 10, y + 15, name, "end"), bar("fill", left, y + 3, wide, 16)]
            pieces.append(label(left + wide + 8, y + 15, said))
    return svg(width, len(rows) * step + 4, title, pieces)


def stacks(title: str, rows: Sequence[tuple[str, Sequence[int], str]], names: Sequence[str]) -> str:
    """A bar for each row, as long as any other, in parts that are shares; with a legend."""
    marks = "".join(
        f'<li><svg viewBox="0 0 14 14" aria-hidden="true">{bar(f"part {shade}", 1, 1, 12, 12)}</svg> {name}'
        for name, shade in zip(names, SHADES, strict=True)
    )
    return f'<ul class="legend">{marks}</ul>' + both(lambda width: _stacks(title, rows, width))


def _stacks(title: str, rows: Sequence[tuple[str, Sequence[int], str]], width: int) -> str:
    slim = width == SLIM
    left, step = (0, 40) if slim else (190, 26)
    room = width - left - (2 if slim else 250)
    pieces = []
    for i, (name, values, said) in enumerate(rows):
        y, x, total = i * step, float(left) + 0.5, sum(values) or 1
        pieces.append(label(0 if slim else left - 10, y + (13 if slim else 15), name, "start" if slim else "end"))
        place = (width, y + 13, said, "end", "soft") if slim else (left + room + 8, y + 15, said)
        pieces.append(label(*place))
        for value, shade in zip(values, SHADES, strict=True):
            wide = room * value / total
            if value:
                pieces.append(bar(f"part {shade}", x, y + (18 if slim else 3), max(wide, 1.5), 14))
            x += wide
    return svg(width, len(rows) * step + 4, title, pieces)


def columns(title: str, groups: Sequence[Group], *, logarithmic: bool = False) -> str:
    """A column for each group, with its number above and its name below."""
    return both(lambda width: _columns(title, groups, width, logarithmic), HALF)


def _columns(title: str, groups: Sequence[Group], width: int, logarithmic: bool) -> str:
    low, high = 150.0, 118.0
    step = width / max(1, len(groups))
    turned = step < 6.6 * max((len(g.name) for g in groups), default=0)
    size: Callable[[int], float] = math.log1p if logarithmic else float
    most = max((size(g.count.value) for g in groups), default=0.0) or 1.0
    pieces = [axis(0, low, width)]
    for i, group in enumerate(groups):
        x, wide, n = step * (i + 0.5), min(64.0, step * 0.7), group.count.value
        tall = max(1.5, high * size(n) / most) if n else 0.0
        pieces.append(bar("fill", x - wide / 2, low - tall, wide, tall))
        pieces.append(label(x, low - tall - 5, short(group.count), "middle"))
        if turned:
            name = label(0, 4, group.name, "end", "soft")
            pieces.append(f'<g transform="translate({x + 4:.1f} {low + 8:.1f}) rotate(-50)">{name}</g>')
        else:
            pieces.append(label(x, low + 17, group.name, "middle", "soft"))
    return svg(width, low + (50 if turned else 24), title, pieces)


def short(count: Estimate) -> str:
    """A number above a column."""
    n = count.value
    for least, unit, one in ((10**8, "M", 10**6), (10**5, "k", 10**3)):
        if n >= least:
            return f"{n / one:,.0f}{unit}"
    return f"{n:,}"
