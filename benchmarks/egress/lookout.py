"""Lookout: whether a value can be read from what a provider received, and through which decodings.

Owns the decodings that anybody would try: JSON at every level, percent, base64 in both alphabets, HTML entities,
escapes that stand in plain text, token ids. A value counts as seen if seven tenths of it in a row are there, whatever
the case and the separators.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from typing import Any
from urllib.parse import unquote

from benchmarks.egress.canaries import Canary, core

DEPTH = 8
_BASE64 = re.compile(r"[A-Za-z0-9+/]{12,}={0,2}")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]{12,}={0,2}")
_ESCAPE = re.compile(r"\\+u([0-9a-fA-F]{4})")
_ENTITY = re.compile(r"&(?:#\d+|#[xX][0-9a-fA-F]+|\w+);")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?[eE]\+?\d+")
SHARE = 0.7
VOCABULARIES = ("cl100k_base", "o200k_base")
"""Those of models that take tokens today."""


def seen(canaries: Sequence[Canary], texts: dict[str, str]) -> list[tuple[Canary, str, str]]:
    """Which canaries can be read, in which of the ``texts`` by name, and through what: ``json > base64``."""
    if not canaries:
        return []
    found: dict[Canary, tuple[str, str]] = {}
    for name, text in texts.items():
        for way, view in views(text):
            plain = core(view)
            for canary in canaries:
                if canary not in found and any(piece in plain for piece in _pieces(canary.core)):
                    found[canary] = (name, way)
    return [(canary, *where) for canary, where in found.items()]


def _pieces(whole: str) -> tuple[str, str]:
    size = max(8, round(len(whole) * SHARE))
    return whole[:size], whole[-size:]


def views(text: str, way: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """A text, and what can be decoded from it."""
    yield way or "raw", text
    if depth >= DEPTH:
        return
    start = text.lstrip()[:1]
    if start in ("{", "[", '"') and (strings := _strings(text)) is not None:
        yield from views("\n".join(strings.plain), _step(way, "json"), depth + 1)
        for nested in strings.nested:
            yield from views(nested, _step(way, "json"), depth + 1)
        return
    for step, decoded in _decodings(text):
        yield from views(decoded, _step(way, step), depth + 1)


def _step(way: str, step: str) -> str:
    return f"{way} > {step}" if way else step


def _decodings(text: str) -> Iterator[tuple[str, str]]:
    if "%" in text and (decoded := unquote(text)) != text:
        yield "percent", decoded
    if "&" in text and _ENTITY.search(text) and (decoded := html.unescape(text)) != text:
        yield "html", decoded
    if "\\u" in text and (decoded := _ESCAPE.sub(lambda m: chr(int(m[1], 16)), text)) != text:
        yield "escape", decoded
    if _NUMBER.search(text) and (decoded := _NUMBER.sub(_written_out, text)) != text:
        yield "exponent", decoded
    for found in {*_BASE64.findall(text), *_BASE64URL.findall(text)}:
        if (unpacked := _unpacked(found)) is not None:
            yield "base64", unpacked


def _written_out(match: re.Match[str]) -> str:
    value = float(match[0])
    return f"{value:.0f}" if 1e8 < abs(value) < 1e30 else match[0]


def _unpacked(text: str) -> str | None:
    """The text that base64 holds, if it is text."""
    body = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        raw = base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
        decoded = raw.decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return decoded if all(c.isprintable() or c in "\r\n\t" for c in decoded) else None


class _Strings:
    """What a JSON text says: its short pieces, and strings that may hold more of it."""

    def __init__(self) -> None:
        self.plain: list[str] = []
        self.nested: list[str] = []

    def add(self, value: Any) -> None:
        if isinstance(value, str):
            if value.lstrip()[:1] in ("{", "[", '"') and len(value) > 1:
                self.nested.append(value)
            self.plain.append(value)
        elif isinstance(value, dict):
            for key, child in value.items():
                self.add(key)
                self.add(child)
        elif isinstance(value, list):
            if len(value) > 2 and all(type(x) is int for x in value):
                self.plain.append(_detokenized(tuple(value)))
            for child in value:
                self.add(child)
        elif value is not None and not isinstance(value, bool):
            self.plain.append(f"{value:.0f}" if isinstance(value, float) and abs(value) > 1e9 else str(value))


def _strings(text: str) -> _Strings | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    strings = _Strings()
    strings.add(value)
    return strings


@cache
def vocabulary(name: str) -> Any:
    """One of the provider's vocabularies of tokens."""
    with warnings.catch_warnings():  # its import reads tables in a way that Python is about to drop
        warnings.simplefilter("ignore", DeprecationWarning)
        import bpe_openai

        return bpe_openai.get_encoding(name)


def vocabulary_of(model: str) -> str | None:
    """Which vocabulary a model reads, if its name tells."""
    from tiktoken.model import encoding_name_for_model

    try:
        return encoding_name_for_model(model)
    except KeyError:
        return None


def _detokenized(tokens: tuple[int, ...]) -> str:
    """What token ids say in either of the provider's vocabularies."""
    said = []
    for name in VOCABULARIES:
        with suppress(KeyError, OverflowError):  # no token of this vocabulary
            said.append(vocabulary(name).decode(list(tokens)) or "")
    return "\n".join(said)
