"""Other people's words in a message: one line, bounded, nothing hidden, and nothing that a chat would obey.

Invariant: what ``shown`` returns has no line feed, no control and no invisible character, and at most ``most``
characters.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from llmguard.invisible import harmless, label

TYPES = 10
"""Types of findings that are named; the others are counted."""


def shown(text: str, most: int = 200) -> str:
    """``text`` on one line; what the eye does not see is named, as ``[U+202E RLO]``."""
    told = "".join(c if harmless(c) else f"[{label(c)}]" for c in text[: most + 1])
    return told if len(told) <= most else told[: most - 1] + "…"


def counted(findings: Mapping[str, int]) -> str:
    """``2 IBAN, 1 PERSON and 7 more of 3 types``: most first."""
    ranked = sorted(findings.items(), key=lambda item: (-item[1], item[0]))
    first, rest = ranked[:TYPES], ranked[TYPES:]
    told = ", ".join(f"{count} {shown(kind, 40)}" for kind, count in first) or "nothing"
    return told + (f" and {sum(c for _, c in rest)} more of {len(rest)} types" if rest else "")


def moment(at: int) -> str:
    """UTC milliseconds, for people."""
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def mrkdwn(text: str, most: int = 1000) -> str:
    """The same where Slack reads markup: without its three characters nobody is mentioned and nothing is a link.

    Source: Slack, "Formatting text for app surfaces", escaping text.
    """
    return shown(text, most).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
