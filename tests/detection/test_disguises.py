"""Disguises: what a text says once its encodings are undone is found where it stood."""

from __future__ import annotations

import base64
import html
import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard import catalogue
from llmguard.detection import Engine, disguises
from llmguard.model import TextPart

ENGINE = Engine(catalogue.load())
EMAIL = "jane.roe@example.org"


def found(text: str) -> list[tuple[str, str]]:
    return [(text[f.start : f.end], f.type) for f in ENGINE.scan([TextPart(text, "")])[0]]


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("text", "span"),
    [
        (b64(f"mail me at {EMAIL}"), b64(f"mail me at {EMAIL}")),
        (f"é decode {b64('é ' + EMAIL)} please", b64("é " + EMAIL)),
        (base64.urlsafe_b64encode(f'{{"e":"{EMAIL}"}}'.encode()).decode().rstrip("="), None),
        (b64(b64(f"mail {EMAIL}")), None),
        (b64("?email=jane%40example.org"), None),
        (f"see data:text/plain;base64,{b64(EMAIL)} there", b64(EMAIL)),
        ("mail jane&#46;roe&#64;example.org now", "jane&#46;roe&#64;example.org"),
        (b64(r'{"a":"jane\u0040example.org"}'), None),
        (base64.b64encode(b"123-45-6789").decode(), None),
        ("x jane&commat;example&#x2E;org", "jane&commat;example&#x2E;org"),
        ("https://a.example/?email=jane%40example.org&x=1", "jane%40example.org"),
        ("jane%2540example.org", "jane%2540example.org"),
    ],
)
def test_disguised_address_is_found_where_it_stands(text: str, span: str | None) -> None:
    assert [where for where, _ in found(text)] == [span or text]


@pytest.mark.parametrize("disguise", [b64, quote])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_json_of_json_inside_an_encoding_hides_neither_labels_nor_edges(disguise: Any, levels: int) -> None:
    """Its short escapes (a tab before a value, quotes around a label) are undone at whatever level they stand."""
    for inner in (["name\tssn\nJo\t345-97-6840\n"], {"password": "Zq8OV713PQo74x"}):
        text = json.dumps(inner)
        for _ in range(levels - 1):
            text = json.dumps({"x": text})
        assert found(disguise(text)), (levels, inner)


def test_digits_with_escaped_blanks_are_found() -> None:
    assert found("card%204111%201111%201111%201111") == [("4111%201111%201111%201111", "CREDIT_CARD")]


@pytest.mark.parametrize(
    "text", ["50% of &amp; more", "100%25", b64("nothing to see here at all"), "A" * 64, "&nosuch;%zz"]
)
def test_what_says_nothing_stays_nothing(text: str) -> None:
    assert found(text) == []


def test_plain_and_disguised_values_are_both_found() -> None:
    text = f"{EMAIL} and {b64('or ' + EMAIL)} and bob%40example.org"
    assert [t for _, t in found(text)] == ["EMAIL"] * 3


def test_layers_are_bounded() -> None:
    text = f"mail {EMAIL}"
    for _ in range(disguises.DEPTH + 1):
        text = b64(text)
    assert found(text) == []


@given(st.text())
def test_views_map_back_to_what_they_stand_for(text: str) -> None:
    escaped = quote(text, safe="") + "&#" + "38;" + html.escape(text)
    for view in disguises.views(escaped, escaped.encode(), True):
        spans = [view.span(i, i + 1) for i in range(len(view.text))]
        assert all(0 <= low < high <= len(escaped) for low, high in spans)
        assert spans == sorted(spans)
        assert all(escaped[low:high] == c for c, (low, high) in zip(view.text, spans, strict=True) if high - low == 1)
