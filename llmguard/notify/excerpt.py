"""Excerpt: the beginning of what leaves, for a channel that is set to receive it. Redacted once more, whole, then cut.

It was redacted when it was held; what the rules of that call let through is redacted here. Without that, there is none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from llmguard.errors import LLMGuardError
from llmguard.notify.text import shown

Redact = Callable[[str], str]
"""The guard's redaction of a text. It may block."""
LONGEST = 64 * 1024
"""Bytes of a body above which there is no excerpt: a value that is cut is not found."""
SHOWN = 400
_FORM = frozenset({"model", "role", "type", "id", "object"})
"""Members that say how, not what."""


def excerpt(redact: Redact, body: bytes) -> str:
    """One line of at most ``SHOWN`` characters, or "" where there is nothing to show, or nothing that may be shown."""
    if len(body) > LONGEST:
        return ""
    try:
        words = "\n".join(_texts(json.loads(body)))
        return shown(" ".join(redact(words).split()), SHOWN) if words else ""
    except (ValueError, RecursionError, LLMGuardError):
        return ""


def _texts(value: Any) -> Iterator[str]:
    """The strings of a JSON value, in order."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, list):
            waiting.extend(reversed(one))
        elif isinstance(one, dict):
            waiting.extend(v for k, v in reversed(one.items()) if k not in _FORM)
