"""Items: what an answer of the Responses API made can be referred to later, one item at a time.

Owns where the ids of items stand in answers, in events and in requests (``item_reference``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

MOST = 200
"""Items of one answer, or references of one request, that count."""


def made(value: Any) -> Iterator[str]:
    """Scopes of the items of an answer or event: ``item:msg_1``."""
    if type(value) is dict:
        output = value.get("output")
        for item in (value.get("item"), *(output[:MOST] if type(output) is list else ())):
            if type(item) is dict and type(item.get("id")) is str:
                yield f"item:{item['id']}"


def referred(body: Any) -> Iterator[str]:
    """Scopes of the items that a request refers to."""
    given = body.get("input", body.get("items")) if type(body) is dict else None
    for item in given[-MOST:] if type(given) is list else ():
        if (
            type(item) is dict
            and item.get("type", "item_reference") == "item_reference"
            and type(item.get("id")) is str
        ):
            yield f"item:{item['id']}"
