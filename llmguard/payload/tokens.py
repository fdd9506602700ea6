"""Tokens: text that was sent as lists of token ids, decoded to be looked at and encoded again when it is redacted.

Owns which encoding a model uses (tiktoken's names; the tables are bpe-openai's, nothing is downloaded). Never guesses:
ids that an encoding does not have, that are no whole text, or of a model that nobody knows, are not rewritten.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from llmguard.errors import GuardUnavailable

PLAUSIBLE = ("cl100k_base", "o200k_base")
"""Encodings that are tried for a model that has no known one."""
MAX_DIGITS = 7


def encoding_of(model: Any) -> str | None:
    """The name of a model's encoding; None if the model is not known."""
    from tiktoken.model import encoding_name_for_model

    try:
        return encoding_name_for_model(model) if type(model) is str else None
    except KeyError:
        return None


def decoded(ids: Sequence[str], encoding: str) -> tuple[str, bool] | None:
    """The text of ids, and whether it says the same when encoded again; None if it is no text in this encoding."""
    if any(len(i) > MAX_DIGITS or not i.isdecimal() for i in ids):
        return None
    codec, numbers = _codec(encoding), [int(i) for i in ids]
    try:
        text: str = codec.decode_bytes(numbers).decode()
    except (KeyError, UnicodeDecodeError):
        return None
    return text, not any(codec.is_special_token(i) for i in set(numbers))


def encoded(encoding: str, text: str) -> str:
    """The ids of a text as a JSON list. Raises GuardUnavailable if they do not say the text."""
    codec = _codec(encoding)
    ids = codec.encode_ordinary(text)
    if codec.decode_bytes(ids) != text.encode():
        raise GuardUnavailable("edited tokens do not say what they should; nothing was sent")
    return json.dumps(ids)


def counted(text: str, encoding: str) -> int:
    """How many tokens a text has in an encoding."""
    return len(_codec(encoding).encode_ordinary(text))


@cache
def _codec(encoding: str) -> Any:
    import bpe_openai

    return bpe_openai.get_encoding(encoding)
