"""Answers that pass piece by piece: where their text stands, how it is restored, what the model wrote."""

from llmguard.streaming.content import ContentRestorer
from llmguard.streaming.output import Output
from llmguard.streaming.restorer import StreamRestorer

__all__ = ["ContentRestorer", "Output", "StreamRestorer"]
