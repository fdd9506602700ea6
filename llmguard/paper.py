"""Paper: what our pages in one file are made of: the head, the style, and marks of SVG; light and dark, no script.

Owns looks and escaping. Never does: load anything, or depend on a colour: bars say their numbers. Invariant: text of
others is escaped, and what could steer the eye is made visible.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from llmguard.invisible import harmless

STYLE = """
:root{color-scheme:light dark;--ink:#1f2328;--soft:#59636e;--paper:#fff;--line:#d0d7de;--bar:#0b6bcb;--warn:#b3261e}
@media(prefers-color-scheme:dark){
:root{--ink:#e6edf3;--soft:#9aa4ae;--paper:#0d1117;--line:#3d444d;--bar:#58a6ff;--warn:#ff8a80}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper)}
body{margin:2rem auto;max-width:62rem;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin-top:2rem}.lead{font-size:1.1rem}
p.soft,figcaption{color:var(--soft);font-size:.9rem}figure{margin:1rem 0}svg{max-width:100%;height:auto}
table{border-collapse:collapse;width:100%;font-size:.92rem}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}code{font-size:.85em}
svg text{font:12px system-ui,sans-serif;fill:var(--ink)}svg .soft{fill:var(--soft)}
svg .axis{stroke:var(--line)}
"""
"""What every page has in common; a page adds its own."""


def head(title: str, style: str) -> list[str]:
    """The beginning of a document, up to its body. A browser is told to load nothing."""
    return [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{text(title)}</title><style>{STYLE}{style}</style>",
    ]


def text(of_others: str, *, lines: bool = False) -> str:
    """Text of anybody, for HTML and SVG. ``lines`` keeps line feeds and tabs."""
    return escape("".join(c if harmless(c, lines=lines) else f"\\u{{{ord(c):x}}}" for c in of_others), quote=True)


def svg(width: float, height: float, title: str, pieces: Iterable[str]) -> str:
    """A picture with its name for who does not see it."""
    start = f'<svg viewBox="0 0 {width:g} {height:.0f}" role="img" aria-label="{text(title)}">'
    return start + "".join(pieces) + "</svg>"


def bar(kind: str, x: float, y: float, wide: float, tall: float) -> str:
    """A rectangle of the class ``kind``."""
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{tall:.1f}"/>'


def axis(x: float, y: float, end: float) -> str:
    """A line to stand on."""
    return f'<line class="axis" x1="{x:g}" y1="{y:g}" x2="{end:g}" y2="{y:g}"/>'


def label(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    """Words at a place."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text(words)}</text>'
