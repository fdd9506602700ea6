"""Characters that show nothing, or steer the eye or a terminal: the one table for screens, pages and messages.

It says which and what they are called; how they are shown is each surface's own. Invariant: a character that it calls
harmless prints as itself, in reading order, and moves nothing.
"""

from __future__ import annotations

import unicodedata

_INVISIBLE = frozenset(
    [0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, *range(0x180B, 0x1810), *range(0xFE00, 0xFE10)]
)
"""Characters that show nothing though Unicode calls them printable."""
_SHORT = {
    0x00: "NUL", 0x08: "BS", 0x09: "TAB", 0x0A: "LF", 0x0D: "CR", 0x1B: "ESC", 0x7F: "DEL", 0xA0: "NBSP", 0xAD: "SHY",
    0x061C: "ALM", 0x200B: "ZWSP", 0x200C: "ZWNJ", 0x200D: "ZWJ", 0x200E: "LRM", 0x200F: "RLM", 0x2028: "LS",
    0x2029: "PS", 0x202A: "LRE", 0x202B: "RLE", 0x202C: "PDF", 0x202D: "LRO", 0x202E: "RLO", 0x2060: "WJ",
    0x2066: "LRI", 0x2067: "RLI", 0x2068: "FSI", 0x2069: "PDI", 0xFEFF: "BOM",
}  # fmt: skip


def harmless(character: str, *, lines: bool = False) -> bool:
    """Whether a character can be shown as it is. ``lines``: line feeds and tabs can, too."""
    if lines and character in "\n\t":
        return True
    code = ord(character)
    return character.isprintable() and code not in _INVISIBLE and not 0xE0000 <= code <= 0xE0FFF


def label(character: str) -> str:
    """What to write in a character's place: ``U+202E RLO``."""
    code = ord(character)
    short = _SHORT.get(code) or ("TAG" if 0xE0000 <= code <= 0xE007F else "")
    return f"U+{code:04X} {short}".rstrip()


def name(character: str) -> str:
    """Unicode's name of a character, for whoever wants to know more."""
    return unicodedata.name(character, "a control character").lower()
