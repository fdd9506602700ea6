"""Redaction: values out, placeholders or one-way styles in; and placeholders back again, where a value may return.

``redact`` replaces findings as the policy's styles say, ``Restorer`` puts granted values back. Only placeholders come
back: what a surrogate, mask, hash or omission stands for is gone.

Invariant: restoring what was redacted gives the original text back, but for values that left in a one-way style; also
when that text holds look-alikes of placeholders.
"""

from __future__ import annotations

from llmguard.redaction.grammar import tags
from llmguard.redaction.linking import linked
from llmguard.redaction.places import AnswerPlace, Sink, places
from llmguard.redaction.redact import Misfits, Redaction, people, redact
from llmguard.redaction.restore import MAX_GROWTH, Budget, Passage, Restorer, may_return
from llmguard.redaction.retold import Retold, cite, retell, retold
from llmguard.redaction.styles import FileStyle, StyleOf
from llmguard.redaction.surrogates import FileSurrogates, Marks

__all__ = [
    "MAX_GROWTH",
    "AnswerPlace",
    "Budget",
    "FileStyle",
    "FileSurrogates",
    "Marks",
    "Misfits",
    "Passage",
    "Redaction",
    "Restorer",
    "Retold",
    "Sink",
    "StyleOf",
    "cite",
    "linked",
    "may_return",
    "people",
    "places",
    "redact",
    "retell",
    "retold",
    "tags",
]
