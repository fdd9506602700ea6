"""Wrapped: what is encoded in a string is looked at, and closed again as it was."""

from __future__ import annotations

import base64
import io
import json
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard.payload import wrapped
from llmguard.payload.extract import extract
from tests.payload.test_extract import call, texts


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@given(st.text(), st.sampled_from(["text/plain", "text/csv;charset=utf-8", "application/json", ""]), st.booleans())
@settings(deadline=None)
def test_data_urls_of_text_close_as_they_were(text: str, media: str, coded: bool) -> None:
    raw = text.encode()
    url = f"data:{media};base64,{base64.b64encode(raw).decode()}" if coded else wrapped_url(media, text)
    opened = wrapped.data_url(url)
    assert opened is not None
    assert opened.text == text
    assert opened.close(text) == url


def wrapped_url(media: str, text: str) -> str:
    empty = wrapped.data_url(f"data:{media},")
    assert empty is not None
    return empty.close(text)


def test_charset_alphabet_and_padding_are_kept() -> None:
    url = "data:text/plain;charset=iso-8859-1;base64," + base64.b64encode("é?>".encode("latin-1")).decode()
    opened = wrapped.data_url(url)
    assert opened is not None
    assert (opened.text, opened.close("é?>")) == ("é?>", url)
    bare = base64.urlsafe_b64encode("ÿ?>~ words".encode()).decode().rstrip("=")
    data = wrapped.file_data(bare)
    assert data is not None
    assert data.close(data.text) == bare


@pytest.mark.parametrize(
    "url",
    ["data:image/png;base64,aGk=", "data:text/plain;base64,§", "data:text/plain;charset=utf-7,hi", "data: hi", "x"],
)
def test_what_is_not_text_stays_closed(url: str) -> None:
    assert wrapped.data_url(url) is None


def test_files_that_are_text_are_redacted_in_place() -> None:
    file = {
        "type": "file",
        "file": {"filename": "jane@x.com.pdf", "file_data": "data:text/csv;base64," + b64("a,jane")},
    }
    body = {"messages": [{"role": "user", "content": [file]}]}
    found = extract(call(body))
    by_text = {p.text: i for i, p in enumerate(found.parts)}
    assert by_text.keys() >= {"jane@x.com", "a,jane"}
    assert found.unscanned == ()
    edited = json.loads(found.rebuild({by_text["jane@x.com"]: "[E]", by_text["a,jane"]: "a,[N]"}))
    changed = edited["messages"][0]["content"][0]["file"]
    assert changed == {"filename": "[E].pdf", "file_data": "data:text/csv;base64," + b64("a,[N]")}


def test_json_in_a_file_is_json() -> None:
    inner = '{"to": "jane", "n": 1e5}'
    body = {"input": [{"role": "user", "content": [{"type": "input_file", "file_data": b64(inner)}]}]}
    found = extract(call(body, "/responses"))
    edits = {i: "[N]" for i, p in enumerate(found.parts) if p.text == "jane"}
    data = json.loads(found.rebuild(edits))["input"][0]["content"][0]["file_data"]
    assert base64.b64decode(data).decode() == inner.replace("jane", "[N]")


def test_files_that_cannot_be_read_count_as_not_looked_into() -> None:
    for data, kind in (
        (b64("%PDF-1.4 text"), "pdf"),
        (base64.b64encode(b"\x00\xff\xfe").decode(), "file"),
        ("data:application/pdf;base64,JVBERg==", "pdf"),
        ("data:application/pdf;base64,§", "file"),
        ("data:image/png;base64,iVBORw0KGgo=", "image"),
    ):
        body = {"input": [{"role": "user", "content": [{"type": "input_file", "file_data": data}]}]}
        assert extract(call(body, "/responses")).unscanned == (kind,), kind


def test_what_a_file_in_a_body_says_is_seen_and_cannot_be_rewritten() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", "<w:t xmlns:w='urn:w'>jane@x.com</w:t>")
    data = "data:application/octet-stream;base64," + base64.b64encode(out.getvalue()).decode()
    content = [{"type": "input_file", "file_data": data}, {"type": "input_text", "text": "words after"}]
    body = {"input": [{"role": "user", "content": content}]}
    found = extract(call(body, "/responses"))
    assert found.unscanned == ()
    numbers = {p.text: i for i, p in enumerate(found.parts)}
    part = found.parts[numbers["jane@x.com"]]
    assert not part.redactable
    assert numbers["jane@x.com"] > numbers["words after"]  # the numbers of the others must not depend on it
    assert part.address == "/input/0/content/0/file_data#word/document.xml"
    edited = json.loads(found.rebuild({numbers["words after"]: "[N]"}))["input"][0]["content"]
    assert (edited[0]["file_data"], edited[1]["text"]) == (data, "[N]")


def test_data_urls_are_opened_wherever_they_stand() -> None:
    assert "jane" in texts({"metadata": {"x": "DATA:;base64," + b64("jane")}})
    assert "a jane" in texts({"x": "data:text/plain,a%20jane"})


def test_reprs_do_not_show_text() -> None:
    assert "jane" not in repr(wrapped.file_data(b64("jane was here")))
