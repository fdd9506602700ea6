"""The report of a replay as one HTML file: pictures and tables, light and dark, no script, nothing loaded.

Before is hatched and now is full, and every bar says its number: nothing depends on a colour. Everything is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from llmguard.cli.replay import notes
from llmguard.cli.times import moment
from llmguard.paper import axis, bar, head, label, svg, text

if TYPE_CHECKING:
    from llmguard.approvals.history import Reviewing
    from llmguard.policy.replay import Report

_WIDTH = 760
_DAYS = 92
"""Days that are drawn, the newest."""
_STYLE = """
.loosens td:first-child{font-weight:600;color:var(--warn)}
svg .before{fill:url(#hatch);stroke:var(--ink)}svg .now{fill:var(--bar);stroke:var(--ink)}
svg .hatch{stroke:var(--ink)}svg .empty{fill:none;stroke:var(--ink)}
"""
_HATCH = (
    '<svg width="0" height="0" aria-hidden="true"><defs>'
    '<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<line class="hatch" x1="0" y1="0" x2="0" y2="6" stroke-width="1.6"/></pattern></defs></svg>'
)


def page(report: Report, reviewing: Reviewing, version: str, against: str, *, title: str) -> str:
    """The whole document."""
    from llmguard.approvals.history import told

    pieces = [
        *head(f"Replay of policy {title}", _STYLE),
        _HATCH,
        f"<h1>Replay of policy {text(version[:12])}</h1>",
        f'<p class="soft">against {text(against[:12])}, which is in force; {text(_period(report))}</p>',
        f'<p class="lead">{text(told(report))}</p>',
        "<ul>" + "".join(f"<li>{text(line)}" for line in notes(report, reviewing)) + "</ul>",
    ]
    if report.calls:
        pieces += [
            _figure("Verdicts", verdicts(report), "Calls by verdict: hatched before, full now."),
            _figure("Held per day", days(report), "Held calls of each day (UTC): hatched before, full now."),
            _figure("Risk that is left", risks(report), _RISKS),
            _changes(report),
            *(
                _by(report, *names)
                for names in (("principal", "Callers"), ("operation", "Operations"), ("type", "Types"))
            ),
        ]
    return "\n".join([*pieces, "</html>"]) + "\n"


_RISKS = (
    "Calls by residual risk. Height is the number of calls on a logarithmic scale; the filled part is the share that is"
    " held, written below. A call that leaves as it was written counts with all of its risk."
)


def _period(report: Report) -> str:
    if not report.calls:
        return "no calls"
    return f"{report.calls:,} calls, {moment(report.first)} to {moment(report.last)}"


def _figure(title: str, picture: str, caption: str) -> str:
    return f"<h2>{text(title)}</h2><figure>{picture}<figcaption>{text(caption)}</figcaption></figure>"


# --------------------------------------------------------------------------- pictures


def verdicts(report: Report) -> str:
    """Two bars for each verdict."""
    counts = report.verdicts()
    most = max(max(pair) for pair in counts.values())
    left, right, high = 150, 90, 18
    pieces, y = [], 8.0
    for verdict, pair in counts.items():
        pieces.append(label(left - 10, y + high + 4, _VERDICTS.get(verdict, verdict), "end"))
        for kind, n in zip(("before", "now"), pair, strict=True):
            wide = max(1.0 if n else 0.0, (_WIDTH - left - right) * n / most)
            pieces.append(bar(kind, left, y, wide, high))
            pieces.append(label(left + wide + 6, y + 13, f"{n:,}"))
            y += high + 2
        y += 12
    return _svg(y, "calls by verdict, before and now", pieces)


_VERDICTS = {
    "allow": "allowed",
    "redact": "redacted",
    "require_approval": "held",
    "block": "blocked",
    "error": "refused",
}


def days(report: Report) -> str:
    """Two bars for each day."""
    shown = sorted(report.days.items())[-_DAYS:]
    most = max((max(before, now) for _, (_, before, now) in shown), default=0)
    left, low, high = 44, 150.0, 120.0
    step = (_WIDTH - left - 10) / max(len(shown), 1)
    wide = min(26.0, step * 0.4)
    every = max(1, math.ceil(len(shown) / 12))
    pieces = [_axis(left, low), label(left - 6, low - high + 4, f"{most:,}", "end"), label(left - 6, low, "0", "end")]
    for i, (day, (_, before, now)) in enumerate(shown):
        x = left + step * (i + 0.5)
        for kind, n, at in (("before", before, x - wide), ("now", now, x)):
            tall = high * n / most if most else 0
            pieces.append(bar(kind, at, low - tall, wide, tall))
            if len(shown) <= 14:
                pieces.append(label(at + wide / 2, low - tall - 4, f"{n:,}", "middle"))
        if i % every == 0:
            pieces.append(label(x, low + 16, day[5:], "middle", "soft"))
    return _svg(low + 28, "held calls per day, before and now", pieces)


def risks(report: Report) -> str:
    """Two histograms beside each other."""
    most = math.log10(1 + max(max(row[0], row[2]) for row in report.risks))
    low, high, gap = 150.0, 112.0, 24.0
    half = (_WIDTH - gap) / 2
    step = half / len(report.risks)
    pieces = []
    for side, (name, kind) in enumerate((("before", "before"), ("now", "now"))):
        start = side * (half + gap)
        pieces += [
            label(start, 14, name),
            f'<line class="axis" x1="{start}" y1="{low}" x2="{start + half}" y2="{low}"/>',
        ]
        for i, row in enumerate(report.risks):
            calls, held = row[2 * side], row[2 * side + 1]
            tall = high * math.log10(1 + calls) / most if most else 0.0
            x, part = start + step * i + 3, tall * held / calls if calls else 0.0
            pieces.append(
                f'<rect class="empty" x="{x:.1f}" y="{low - tall:.1f}" width="{step - 6:.1f}" height="{tall:.1f}"/>'
            )
            pieces.append(bar(kind, x, low - part, step - 6, part))
            middle = x + (step - 6) / 2
            pieces.append(label(middle, low - tall - 4, _short(calls) if calls else "", "middle"))
            pieces.append(label(middle, low + 14, f"{i * 10}", "middle", "soft"))
            pieces.append(label(middle, low + 29, _percent(held / calls) if held else "", "middle"))
    return _svg(low + 38, "calls by residual risk and the share that is held, before and now", pieces)


def _percent(share: float) -> str:
    return "<1%" if share < 0.01 else f"{100 * share:.0f}%"


def _short(n: int) -> str:
    return f"{n:,}" if n < 10_000 else f"{n / 1000:,.0f}k"


def _svg(height: float, title: str, pieces: Iterable[str]) -> str:
    return svg(_WIDTH, height, title, pieces)


def _axis(x: float, y: float) -> str:
    return axis(x, y, _WIDTH)


# --------------------------------------------------------------------------- tables


def _changes(report: Report) -> str:
    from llmguard.policy.replay import EFFECTS, LOOSENS

    rows = []
    for r in report.rows:
        sides = [f"{v} ({rule})" for v, rule in ((r.before, r.before_rule), (r.after, r.after_rule))]
        examples = "" if r.effect == "same" else " ".join(f"<code>{text(id_)}</code>" for id_ in r.examples)
        kind = ' class="loosens"' if r.effect in LOOSENS else ""
        cells = f"<td>{text(EFFECTS[r.effect])}<td class=n>{r.calls:,}<td>{text(sides[0])}<td>{text(sides[1])}"
        rows.append(f"<tr{kind}>{cells}<td>{examples}")
    first = "<tr><th>What changes<th class=n>Calls<th>Before<th>Now<th>For example"
    return f"<h2>Changes</h2><table>{first}{''.join(rows)}</table>"


def _by(report: Report, table: str, title: str) -> str:
    from llmguard.policy.replay import CHANGED, EFFECTS

    names = report.by.get(table, {})
    if not names:
        return ""
    seen: Sequence[str] = [what for what in CHANGED if any(what in counts for counts in names.values())]
    rows = []
    for name in sorted(names, key=lambda n: (-sum(names[n].values()), n))[:50]:
        shown = f"{report.names[name]} ({name})" if table == "principal" and report.names.get(name) else name
        cells = "".join(f"<td class=n>{names[name].get(what, 0):,}" for what in seen)
        rows.append(f"<tr><td>{text(shown)}{cells}")
    columns = "".join(f"<th class=n>{text(EFFECTS[what])}" for what in seen)
    return f"<h2>{text(title)}</h2><table><tr><th>{columns}{''.join(rows)}</table>"
