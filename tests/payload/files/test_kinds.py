"""What a file is, by what it holds."""

from __future__ import annotations

import codecs
import io
import struct
import tarfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.payload.files import HEAD, REWRITABLE, charset_of, kind_of

PDF = b"%PDF-1.7\n%\xe2\xe3\n1 0 obj<<>>endobj"


def zipped(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return out.getvalue()


def tarred() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"), io.BytesIO())
    return out.getvalue()


KINDS = [
    (b"", "empty"),
    (b"hello there\n", "text"),
    (b'{"a": 1}\n{"a": 2}\n', "jsonl"),
    (b'{"a": 1}\r\n{"a": 2}\r\n', "jsonl"),
    (b'{"a": 1}', "json"),
    (b'[\n  {"a": 1}\n]\n', "json"),
    (b'\xef\xbb\xbf{"a": 1}', "json"),
    (b"[INFO] a line of a log\n", "text"),
    (b"[1] Smith, A book\n", "text"),
    (b"{% if x %}a template{% endif %}", "text"),
    (b"a,b\n1,2\n", "text"),
    (b"# A title\n\ntext", "text"),
    (b"<!doctype html><html></html>", "text"),
    (b'<?xml version="1.0"?><a/>', "text"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "text"),
    (b"1\n00:00:01,000 --> 00:00:02,000\nHello\n", "text"),
    (b"WEBVTT\n\n00:01.000 --> 00:02.000\nHello\n", "text"),
    (b"\x1b[32mgreen\x1b[0m a log in colours\n", "text"),
    (codecs.BOM_UTF16_LE + "hello".encode("utf-16-le"), "foreign"),
    (codecs.BOM_UTF16_BE + "hello".encode("utf-16-be"), "foreign"),
    (codecs.BOM_UTF32_LE + "hello".encode("utf-32-le"), "foreign"),
    (b'<?xml version="1.0" encoding="ISO-8859-1"?><a>M\xfcller</a>', "foreign"),
    (b'<html><meta charset="windows-1252">M\xfcller', "foreign"),
    (b"M\xfcller", "binary"),
    (b"\0\1\2\3", "binary"),
    (b"abc\0def", "binary"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "binary"),
    (b"\x7fELF\2\1\1" + bytes(20), "binary"),
    (PDF, "pdf"),
    (b"\xef\xbb\xbf\n" + PDF, "pdf"),
    (b"{\\rtf1\\ansi hello}", "rtf"),
    (b"From: a@b.example\nTo: c@d.example\nContent-Transfer-Encoding: base64\n\naGk=", "eml"),
    (b"Received: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n", "eml"),
    (b"From: a\nTo: b\nSubject: notes of a call\n\nplain text", "text"),
    (b"From a@b.example Mon Jan  1 10:00:00 2024\nFrom: a@b.example\n\nhi\n", "mbox"),
    (b"\x89PNG\r\n\x1a\n", "image"),
    (b"\xff\xd8\xff\xe0", "image"),
    (b"GIF89a....", "image"),
    (b"RIFF\0\0\0\0WEBPVP8 ", "image"),
    (b"BM" + struct.pack("<LLL", 70, 0, 54) + bytes(40), "image"),
    (b"BMW sells cars, and so do others", "text"),
    (b"\0\0\0\x18ftypheic\0\0\0\0", "image"),
    (b"P3\n# made by hand\n2 2\n255\n0 0 0 1 1 1", "image"),
    (b"#define x_width 8\n#define x_height 8\n", "image"),
    (b"ID3\4\0\0\0\0\0\0", "audio"),
    (b"RIFF\0\0\0\0WAVEfmt ", "audio"),
    (b"OggS\0\2", "audio"),
    (b"\xff\xfb\x90\x64", "audio"),
    (b"\0\0\0\x18ftypM4A \0\0\0\0", "audio"),
    (b"\0\0\0\x18ftypisom\0\0\0\0", "video"),
    (b"\x1aE\xdf\xa3", "video"),
    (b"\x1f\x8b\x08\0", "archive"),
    (b"(\xb5/\xfd\x04", "archive"),
    (b"7z\xbc\xaf\x27\x1c\0\4", "archive"),
    (b"BZh91AY&SY", "archive"),
    (b"\xfd7zXZ\0\0", "archive"),
    (tarred(), "archive"),
    (zipped("a.txt"), "archive"),
    (zipped("[Content_Types].xml", "word/document.xml"), "docx"),
    (zipped("[Content_Types].xml", "xl/workbook.xml"), "xlsx"),
    (zipped("[Content_Types].xml", "ppt/presentation.xml"), "pptx"),
    (b"PAR1\x15\x04", "parquet"),
]


@pytest.mark.parametrize(("head", "kind"), KINDS, ids=[f"{i}-{kind}" for i, (_, kind) in enumerate(KINDS)])
def test_content_tells_the_kind_whatever_the_file_is_called(head: bytes, kind: str) -> None:
    assert kind_of(head) == kind
    if kind not in ("text", "json", "jsonl"):
        for name, media_type in (("notes.txt", "text/plain"), ("x.png", "image/png"), ("a.jsonl", "application/jsonl")):
            assert kind_of(head, name, media_type) == kind


def test_text_with_the_name_of_a_picture_is_text() -> None:
    assert kind_of(b"a text", "x.png", "image/png") == "text"


def test_a_name_decides_between_kinds_of_text() -> None:
    assert kind_of(b"a,b\n1,2\n", "people.csv") == "csv"
    assert kind_of(b"a\tb\n", "people.tsv") == "csv"
    assert kind_of(b"a,b\n1,2\n", "", "text/csv; charset=utf-8") == "csv"
    assert kind_of(b'{"a": 1}\n', "one.jsonl") == "jsonl"
    assert kind_of(b'{"a": 1}\nnot json\n', "broken.jsonl") == "jsonl"
    assert kind_of(b"not json\n", "broken.jsonl") == "jsonl"


def test_a_first_line_longer_than_the_head_is_told_by_the_name() -> None:
    head = b'{"a": "' + b"x" * HEAD
    assert kind_of(head[:HEAD], "data.jsonl") == "jsonl"
    assert kind_of(head[:HEAD], "data.json") == "json"
    assert kind_of(head[:HEAD]) == "json"


def test_a_declared_charset_opens_what_utf8_does_not() -> None:
    assert kind_of(b"M\xfcller", "a.txt", "text/plain; charset=iso-8859-1") == "foreign"
    assert charset_of(b"M\xfcller", "text/plain; charset=iso-8859-1") == "cp1252"
    assert charset_of(b"M\xfcller") is None
    assert kind_of("Müller".encode(), "a.txt", "text/plain; charset=iso-8859-1") == "text"


def test_a_character_that_the_head_cuts_does_not_make_it_binary() -> None:
    text = "ä" * HEAD
    assert kind_of((b"x" + text.encode())[:HEAD]) == "text"


def test_a_character_that_the_end_of_the_file_cuts_does() -> None:
    assert kind_of("ä".encode()[:1]) == "binary"


@given(st.binary(max_size=300), st.text(max_size=10), st.text(max_size=10))
def test_any_bytes_have_a_kind_and_only_utf8_can_be_rewritten(head: bytes, name: str, media_type: str) -> None:
    if kind_of(head, name, media_type) in REWRITABLE:
        head.decode()
