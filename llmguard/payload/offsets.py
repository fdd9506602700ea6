"""Offsets: the numbers of an answer that speak about its text, and how they move when the text gets longer.

Owns where citations (``start_index``, ``end_index``), tokens with their log probabilities, and ``text_offset`` stand,
in every dialect. An offset counts code points. Never touches a string: those are the Document's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmguard.errors import GuardUnavailable
from llmguard.payload.json import Number

Path = tuple[str | int, ...]
TEXTS = ("text", "value", "content")
"""Keys of the text that the ``annotations`` beside it are about."""

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"')
_NUMBERS = re.compile(rb"\s*:\s*(-?[0-9][0-9.eE+-]*|\[[0-9.eE+,\s-]*\]|null)")


@dataclass(frozen=True, slots=True)
class Shift:
    """A piece of a text at [start, end) that was written at [new_start, new_end)."""

    start: int
    end: int
    new_start: int
    new_end: int


def moved(index: int, shifts: Sequence[Shift], *, is_end: bool = False) -> int:
    """Where an offset of the text lies in the written text. Inside a replaced piece: at its beginning, or its end."""
    by = 0
    for shift in shifts:
        if index <= shift.start:
            break
        if index < shift.end:
            return shift.new_end if is_end else shift.new_start
        by = shift.new_end - shift.end
    return index + by


def ordinals(value: Any) -> dict[Path, int]:
    """Of every value of a tree, how many strings stand before it: a string's number; its key's number is one less."""
    found: dict[Path, int] = {}
    count = 0

    def walk(node: Any, path: Path) -> None:
        nonlocal count
        found[path] = count
        if type(node) is dict:
            for key, child in node.items():
                count += 1
                walk(child, (*path, key))
        elif type(node) is list:
            for i, child in enumerate(node):
                walk(child, (*path, i))
        elif type(node) is str:
            count += 1

    walk(value, ())
    return found


def patched(raw: bytes, numbers: Mapping[int, str]) -> bytes:
    """The JSON text with other numbers, or flat arrays of numbers, behind the keys of these numbers.

    Raises GuardUnavailable if no such value stands there.
    """
    if not numbers:
        return raw
    wanted, pieces, end = dict(numbers), [], 0
    for k, match in enumerate(_STRING.finditer(raw)):
        if k in wanted:
            value = _NUMBERS.match(raw, match.end())
            if value is None:
                break
            pieces += [raw[end : value.start(1)], wanted.pop(k).encode()]
            end = value.end(1)
        if not wanted:
            return b"".join((*pieces, raw[end:]))
    raise GuardUnavailable("an offset of an answer is no number; the answer was cut")


def citations(node: Mapping[str, Any]) -> Iterator[tuple[Path, int, bool]]:
    """The offsets of one annotation, also inside it: path, value, and whether it is an end."""
    for key, child in node.items():
        if key in ("start_index", "end_index"):
            if (index := whole(child)) is not None:
                yield (key,), index, key == "end_index"
        elif type(child) is dict:
            for path, index, is_end in citations(child):
                yield (key, *path), index, is_end


def whole(value: Any) -> int | None:
    """The number as an int, if it is one: parsed, or as it was written."""
    if type(value) is int:
        return value
    return int(value) if type(value) is Number and value.isdecimal() else None


def annotated(value: Any, path: Path = ()) -> Iterator[tuple[Path, Path, list[Any]]]:
    """Texts with annotations beside them: path of the text, path of the list, the list."""
    if type(value) is dict:
        notes = value.get("annotations")
        if type(notes) is list and notes:
            for key in TEXTS:
                if type(value.get(key)) is str:
                    yield (*path, key), (*path, "annotations"), notes
        for key, child in value.items():
            if type(child) in (dict, list):
                yield from annotated(child, (*path, key))
    elif type(value) is list:
        for i, child in enumerate(value):
            if type(child) in (dict, list):
                yield from annotated(child, (*path, i))


def tokens(value: Any, path: Path = ()) -> Iterator[tuple[Path, list[tuple[Path, str]]]]:
    """Lists of tokens below a ``logprobs``: path of the list, and of every token its path and text, in order."""
    if type(value) is list:
        first = value[0] if value else None
        if type(first) is dict and type(first.get("token")) is str:
            rows = enumerate(value)
            yield (
                path,
                [
                    ((*path, i, "token"), row["token"])
                    for i, row in rows
                    if type(row) is dict and _is_text(row, "token")
                ],
            )
    elif type(value) is dict:
        for key, child in value.items():
            if key == "tokens" and type(child) is list:
                yield (*path, key), [((*path, key, i), t) for i, t in enumerate(child) if type(t) is str]
            elif type(child) is list and key != "top_logprobs":
                yield from tokens(child, (*path, key))


def _is_text(row: Mapping[str, Any], key: str) -> bool:
    return type(row.get(key)) is str


def spoken(value: Any, path: Path = ()) -> Iterator[tuple[Path, list[tuple[Path, str]]]]:
    """The lists of tokens of every ``logprobs`` of a tree."""
    if type(value) is dict:
        for key, child in value.items():
            if type(child) in (dict, list):
                yield from (tokens if key == "logprobs" else spoken)(child, (*path, key))
    elif type(value) is list:
        for i, child in enumerate(value):
            if type(child) in (dict, list):
                yield from spoken(child, (*path, i))


def number_list(values: Sequence[int]) -> str:
    return json.dumps(list(values), separators=(",", ":"))


def at(value: Any, path: Path) -> Any:
    """The value at a path, or None."""
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value
