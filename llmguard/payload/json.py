"""Document: one strictly parsed JSON text, and edits of its string literals that leave every other byte alone.

Owns parsing and splicing. Strings are counted in lexical order, keys included: the k-th string that a walk of the
tree meets is the k-th string literal of the text. Positions of literals are computed only when something changes.

Invariant: a Document has one meaning. Whatever two parsers could read differently (duplicate keys, a byte order mark,
lone surrogates, NaN, absurd depth or numbers) is refused, and an edited text is parsed again to prove what it says.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, NoReturn

from llmguard.errors import GuardUnavailable, UnscannableRequest
from llmguard.model import hidden

MAX_DEPTH = 128
MAX_NUMBER = 1000
"""Characters of one number. Longer ones are refused: parsers disagree about them."""

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"')
_STRING_LIST_NUMBER = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|\[|-?[0-9][0-9.eE+-]*+')
_WHOLE = re.compile("0|[1-9][0-9]{0,99}")


_NONE: Mapping[int, str] = {}
_TOGETHER = 64 * 1024
"""Bytes of texts that are read at once. Where one of them is bad, all are read again by themselves."""
_MARK = secrets.token_hex(16)
_MARKED = f',"{_MARK}",'.encode()


class Number(str):
    """A number as it was written (``1e5`` stays ``1e5``). Never equal to a plain string."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return type(other) is Number and str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


@dataclass(frozen=True, slots=True)
class Document:
    """The received bytes and what they say: dict, list, str, Number, bool or None."""

    raw: bytes
    value: Any

    def splice(
        self, replacements: Mapping[int, str], lists: Mapping[int, str] = _NONE, numbers: Mapping[int, str] = _NONE
    ) -> bytes:
        """The received bytes with the k-th strings (keys count) replaced, everything else as it came.

        ``lists`` replaces the k-th lists, which hold numbers only, by the JSON text of another such list; ``numbers``
        the k-th numbers, by whole numbers where the new text is one, else by strings. Raises UnscannableRequest if two
        keys of one object become equal, GuardUnavailable if the result does not say what it should.
        """
        if not replacements and not lists and not numbers:
            return self.raw
        literals = {k: _literal(text) for k, text in replacements.items()}
        new = _New(replacements, {k: _value(text) for k, text in lists.items()}, numbers)
        result = _spliced_all(self.raw, literals, lists, numbers) if lists or numbers else _spliced(self.raw, literals)
        if result is None or not _says(result, self.value, new):
            raise GuardUnavailable("an edited body does not say what it should; nothing was sent")
        return result

    def __repr__(self) -> str:
        return f"Document({hidden(self.raw)})"


def _spliced(raw: bytes, literals: Mapping[int, bytes]) -> bytes | None:
    """None if there are fewer strings than that."""
    pieces, end = [], 0
    left, last = len(literals), max(literals)
    for k, match in enumerate(_STRING.finditer(raw)):
        if k in literals:
            pieces += [raw[end : match.start()], literals[k]]
            end, left = match.end(), left - 1
        if k == last:
            break
    pieces.append(raw[end:])
    return None if left else b"".join(pieces)


def _spliced_all(
    raw: bytes, literals: Mapping[int, bytes], lists: Mapping[int, str], numbers: Mapping[int, str]
) -> bytes | None:
    pieces, end = [], 0
    string, list_, number, left = 0, 0, 0, len(literals) + len(lists) + len(numbers)
    for match in _STRING_LIST_NUMBER.finditer(raw):
        first, stop, new = match[0][:1], match.end(), None
        if first == b'"':
            new, string = literals.get(string), string + 1
        elif first == b"[":
            named, list_ = lists.get(list_), list_ + 1
            if named is not None:
                new, stop = named.encode(), raw.index(b"]", stop) + 1
        else:
            told, number = numbers.get(number), number + 1
            new = _numeral(told) if told is not None else None
        if new is not None:
            pieces += [raw[end : match.start()], new]
            end, left = stop, left - 1
    pieces.append(raw[end:])
    return None if left else b"".join(pieces)


def _numeral(text: str) -> bytes:
    return text.encode() if _WHOLE.fullmatch(text) else _literal(text)


def parse(raw: bytes) -> Document:
    """Raises UnscannableRequest, which names what is wrong and where, never the content."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as e:
        raise UnscannableRequest(f"the body is not UTF-8 at byte {e.start}; send JSON in UTF-8") from None
    if text.startswith("\ufeff"):
        raise UnscannableRequest("the body starts with a byte order mark; send it without")
    if not text or text.isspace():
        raise UnscannableRequest("the body is empty; send a JSON document")
    return Document(raw, _value(text))


def parse_many(texts: Sequence[bytes]) -> list[Document | UnscannableRequest]:
    """What ``parse`` says of each text, or how it refuses it. Many short ones cost less so."""
    said: list[Document | UnscannableRequest | None] = [None] * len(texts)
    plain = [i for i, text in enumerate(texts) if _plain(text)]
    for some in _batches(texts, plain):
        for i, value in zip(some, _values([texts[i] for i in some]), strict=False):
            said[i] = Document(texts[i], value)
    return [_parsed(texts[i]) if known is None else known for i, known in enumerate(said)]


def _plain(text: bytes) -> bool:
    """Whether a text needs no look of its own: it cannot be too deep, and holds no half of a surrogate pair."""
    return text.count(b"{") + text.count(b"[") <= MAX_DEPTH and b"\\ud" not in text and b"\\uD" not in text


def _batches(texts: Sequence[bytes], which: Sequence[int]) -> Iterator[list[int]]:
    batch: list[int] = []
    size = 0
    for i in which:
        batch.append(i)
        size += len(texts[i])
        if size > _TOGETHER:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _values(texts: Sequence[bytes]) -> list[Any]:
    """What each text says, or nothing if one of them is not one strict document.

    They are read as the elements of one list, with a mark between each two that no text can know. Every other element
    of that list is the mark only if each text is exactly one element.
    """
    try:
        values = _DECODER.decode(b"".join((b"[", _MARKED.join(texts), b"]")).decode())
    except (ValueError, RecursionError, UnscannableRequest):
        return []
    marks = values[1::2]
    whole = len(values) == 2 * len(texts) - 1 and marks.count(_MARK) == len(marks)
    return values[::2] if whole else []


def _parsed(text: bytes) -> Document | UnscannableRequest:
    try:
        return parse(text)
    except UnscannableRequest as e:
        return e


def strings(value: Any) -> Iterator[tuple[int, str]]:
    """Every string of a tree with its number, keys included, in lexical order."""
    return zip(count(), _strings(value), strict=False)


def _value(text: str) -> Any:
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as e:
        offset = len(text[: e.pos].encode())
        what = "is not whole JSON" if e.pos >= len(text.rstrip()) else "is not one JSON document"
        raise UnscannableRequest(f"the body {what} (byte {offset}); check how it is encoded") from None
    except RecursionError:
        _too_deep()
    # No text can nest deeper than it has opening brackets; only the others need to be measured.
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _measure(value)
    if "\\ud" in text or "\\uD" in text:
        _refuse_surrogates(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise UnscannableRequest("an object of the body has the same key twice; send each key once")
    return value


def _number(lexeme: str) -> Number:
    if len(lexeme) > MAX_NUMBER:
        raise UnscannableRequest(f"a number of the body has more than {MAX_NUMBER} characters; send it as a string")
    return Number(lexeme)


def _constant(name: str) -> NoReturn:
    raise UnscannableRequest(f"the body holds {name}, which is not JSON; send null or a number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_number, parse_float=_number, parse_constant=_constant, strict=True
)


def _too_deep() -> NoReturn:
    raise UnscannableRequest(f"the body nests deeper than {MAX_DEPTH} levels; flatten it")


def _measure(value: Any) -> None:
    level = [value] if type(value) in (dict, list) else []
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            for child in (node.values() if type(node) is dict else node)
            if type(child) in (dict, list)
        ]
    if level:
        _too_deep()


def _refuse_surrogates(value: Any) -> None:
    for text in _strings(value):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UnscannableRequest(
                "a string of the body holds half a surrogate pair; send whole characters"
            ) from None


def _strings(value: Any) -> Iterator[str]:
    if type(value) is str:
        yield value
    elif type(value) is dict:
        for key, child in value.items():
            yield key
            yield from _strings(child)
    elif type(value) is list:
        for child in value:
            yield from _strings(child)


def _literal(text: str) -> bytes:
    try:
        return json.dumps(text, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise GuardUnavailable("a replacement is not whole characters; nothing was sent") from None


class _New:
    """What is new in an edited tree: texts, lists and numbers by the ordinals of what they replace."""

    __slots__ = ("_lists", "_numbers", "_strings", "lists", "numbers", "strings")

    def __init__(self, strings: Mapping[int, str], lists: Mapping[int, Any], numbers: Mapping[int, str]) -> None:
        self.strings, self.lists, self.numbers = strings, lists, numbers
        self._strings, self._lists, self._numbers = count(), count(), count()

    def equal(self, before: Any, after: Any) -> bool:
        """Whether ``after`` is ``before`` with the new in it; order counts."""
        kind = type(before)
        if kind is Number:
            told = self.numbers.get(next(self._numbers))
            return bool(before == after if told is None else after == _value(_numeral(told).decode()))
        if kind is not type(after):
            return False
        if kind is str:
            return bool(self.strings.get(next(self._strings), before) == after)
        if kind is dict:
            return len(before) == len(after) and all(
                self.strings.get(next(self._strings), key) == other and self.equal(child, twin)
                for (key, child), (other, twin) in zip(before.items(), after.items(), strict=True)
            )
        if kind is list:
            listed = self.lists.get(next(self._lists))
            if listed is not None:
                for _ in before:
                    next(self._numbers)
                return bool(listed == after)
            return len(before) == len(after) and all(map(self.equal, before, after))
        return bool(before == after)


def _says(raw: bytes, before: Any, new: _New) -> bool:
    """Whether the text says what the tree said before, but for what is new."""
    try:
        after = parse(raw).value
    except UnscannableRequest as e:
        raise UnscannableRequest("two keys of one object become equal when redacted; rename one of them") from e
    return new.equal(before, after)
