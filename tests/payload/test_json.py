"""Strict JSON: one meaning or a refusal, and edits that leave every other byte alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard.errors import UnscannableRequest
from llmguard.payload.json import MAX_DEPTH, Number, parse, strings

REFUSED = {
    "empty": b"",
    "blank": b" \n",
    "no_json": b"hello",
    "truncated_object": b'{"a": 1',
    "truncated_string": b'{"a": "b',
    "trailing_data": b'{"a": 1} {"b": 2}',
    "trailing_comma": b"[1,]",
    "byte_order_mark": b'\xef\xbb\xbf{"a": 1}',
    "utf_16": '{"a": 1}'.encode("utf-16"),
    "invalid_utf8": b'{"a": "\xff"}',
    "encoded_surrogate": b'{"a": "\xed\xa0\x80"}',
    "duplicate_keys": b'{"a": 1, "a": 2}',
    "duplicate_keys_by_escape": b'{"a": 1, "\\u0061": 2}',
    "duplicate_keys_inside": b'[{"x": {"a": 1, "a": 1}}]',
    "nan": b'{"a": NaN}',
    "infinity": b"[Infinity]",
    "minus_infinity": b"[-Infinity]",
    "high_surrogate": b'["\\ud83d"]',
    "low_surrogate": b'["x\\uDE00y"]',
    "swapped_surrogates": b'["\\ude00\\ud83d"]',
    "surrogate_in_key": b'{"\\ud83d": 1}',
    "raw_control_character": b'["a\nb"]',
    "bad_escape": b'["\\x41"]',
    "single_quotes": b"{'a': 1}",
    "comment": b"[1] // x",
    "leading_zero": b"[01]",
    "long_number": b"[" + b"1" * 1001 + b"]",
    "long_fraction": b"[0." + b"1" * 1001 + b"]",
    "deep": b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
    "deep_objects": b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1),
    "very_deep": b"[" * 10_000 + b"]" * 10_000,
    "absurdly_deep_and_open": b"[" * 1_000_000,
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED)
def test_what_has_no_single_meaning_is_refused(raw: bytes) -> None:
    with pytest.raises(UnscannableRequest):
        parse(raw)


def test_refusal_names_the_place_and_never_the_content() -> None:
    with pytest.raises(UnscannableRequest, match="byte 24") as caught:
        parse('{"secret-é": "canary", oops}'.encode())
    assert "canary" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("raw", [b'["\\ud83d\\ude00"]', b'["\\\\ud83d"]', b" [1, 2.50, 1e5, -0]\n", b'"text"', b"null"])
def test_what_has_one_meaning_is_kept_as_it_came(raw: bytes) -> None:
    assert parse(raw).raw is raw
    assert parse(raw).splice({}) is raw


def test_depth_up_to_the_limit_is_fine() -> None:
    deep = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert parse(deep).raw is deep
    assert parse(json.dumps(["[{" * 500]).encode()).value == ["[{" * 500]


def test_numbers_keep_their_spelling_and_are_no_strings() -> None:
    value = parse(b'[1e5, 1.10, 12345678901234567890, "1e5"]').value
    assert value[:3] == [Number("1e5"), Number("1.10"), Number("12345678901234567890")]
    assert value[0] != value[3]


def test_only_the_replaced_literals_change() -> None:
    raw = b'{ "n":1e5,"v" : 1.10,\n\t"k\\u00e9":"\\u00e9\\/", "name":"jane" , "z":[ "a\\"b", true,null ],"b":"jane"}'
    document = parse(raw)
    numbers = [k for k, text in strings(document.value) if text == "jane"]
    assert document.splice(dict.fromkeys(numbers, 'é"\n')) == raw.replace(b'"jane"', b'"\xc3\xa9\\"\\n"')


def test_a_key_can_be_replaced_but_two_never_become_equal() -> None:
    document = parse(b'{"a": {"jane": 1, "bob": 2}}')
    assert document.splice({1: "x"}) == b'{"a": {"x": 1, "bob": 2}}'
    with pytest.raises(UnscannableRequest, match="equal"):
        document.splice({1: "bob"})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=15,
)


def leaves(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [s for k, v in value.items() for s in (k, *leaves(v))]
    if isinstance(value, list):
        return [s for v in value for s in leaves(v)]
    return [value] if isinstance(value, str) else []


@given(VALUES, st.booleans(), st.sampled_from([None, 2]), st.data())
@settings(max_examples=200, deadline=None)
def test_strings_are_numbered_in_lexical_order(
    value: Any, ascii_: bool, indent: int | None, data: st.DataObject
) -> None:
    raw = json.dumps(value, ensure_ascii=ascii_, indent=indent).encode()
    document = parse(raw)
    found = list(strings(document.value))
    assert [text for _, text in found] == leaves(value)
    if not found:
        return
    k = data.draw(st.integers(0, len(found) - 1))
    result = [text for _, text in strings(parse(document.splice({k: "«new»"})).value)]
    assert result == [*leaves(value)[:k], "«new»", *leaves(value)[k + 1 :]]


def test_content_does_not_show_in_reprs() -> None:
    assert "canary" not in repr(parse(b'["canary"]'))
