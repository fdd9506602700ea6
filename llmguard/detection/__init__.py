"""Detection: text in, findings out. ``Scanner`` is the entry; what leaves it never holds a value."""

from llmguard.detection.engine import Engine
from llmguard.detection.scanner import Scanner, chosen

__all__ = ["Engine", "Scanner", "chosen"]
