"""Detection: text in, findings out. ``Engine`` is the entry; what leaves it never holds a value."""

from llmguard.detection.engine import Engine

__all__ = ["Engine"]
