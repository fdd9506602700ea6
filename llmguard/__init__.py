"""llmguard: nothing sensitive leaves unseen. Light to import; the client libraries load on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmguard.guard import Guard as Guard
    from llmguard.wrapper import wrap as wrap

__version__ = "0.1.0"
__all__ = ["Guard", "__version__", "wrap"]


def __getattr__(name: str) -> Any:
    if name == "Guard":
        from llmguard.guard import Guard

        return Guard
    if name == "wrap":
        from llmguard.wrapper import wrap

        return wrap
    raise AttributeError(f"module 'llmguard' has no attribute {name!r}")
