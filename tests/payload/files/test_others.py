"""Mail, RTF, pictures, sound, text in other charsets, tables."""

from __future__ import annotations

import codecs
import io
import struct
import zlib
from email.message import EmailMessage

import pytest

from llmguard.payload.files import HEAD, Looked, kind_of, look_into


def looked(data: bytes, name: str = "", media_type: str = "") -> Looked:
    return look_into(io.BytesIO(data), kind_of(data[:HEAD], name, media_type), media_type=media_type)


def texts(seen: Looked) -> str:
    return "\n".join(p.text for p in seen.parts)


# --------------------------------------------------------------------------- text


@pytest.mark.parametrize(
    "data",
    [
        codecs.BOM_UTF8 + "Müller".encode(),
        codecs.BOM_UTF16_LE + "Müller".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "Müller".encode("utf-16-be"),
        codecs.BOM_UTF32_LE + "Müller".encode("utf-32-le"),
    ],
)
def test_a_byte_order_mark_tells_the_charset(data: bytes) -> None:
    seen = looked(data)
    assert (texts(seen), seen.unscanned) == ("Müller", ())


def test_a_declared_charset_is_believed_and_none_is_told() -> None:
    data = "Müller".encode("latin-1")
    assert texts(looked(data, "", "text/plain; charset=ISO-8859-1")) == "Müller"
    assert looked(data, "", "text/plain; charset=ISO-8859-1").unscanned == ()
    assert "Müller" in texts(looked(data))
    assert looked(data).unscanned == ("file",)


def test_half_a_surrogate_pair_is_no_trouble_later() -> None:
    for part in looked(codecs.BOM_UTF16_LE + b"a\0b\0" + b"\0\xd8" + b"c\0").parts:
        part.text.encode()


def test_an_empty_file_holds_nothing() -> None:
    assert looked(b"") == Looked((), ())


def test_what_nobody_knows_is_told() -> None:
    assert looked(b"\x7fELF" + bytes(100)).unscanned == ("file",)


# --------------------------------------------------------------------------- RTF


def test_rtf_is_read_with_what_it_hides() -> None:
    data = (
        rb"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Times New Roman;}}{\info{\author Jane Doe}}Dear \b J\'fcr\b0 gen,\par "
        rb"\uc1 5 \u8364 ?{\v not shown}{\*\annotation a remark}{\field{\*\fldinst HYPERLINK mailto:j@example.com}}}"
    )
    seen = looked(data)
    assert seen.unscanned == ()
    for words in ("Jane Doe", "Dear Jürgen,", "5 €", "not shown", "a remark", "mailto:j@example.com"):
        assert words in texts(seen)
    assert "Times" not in texts(seen)
    assert "?" not in texts(seen)


def test_pictures_and_objects_of_rtf_are_told() -> None:
    assert looked(rb"{\rtf1 a{\pict\pngblip 89504e47}b}").unscanned == ("image",)
    assert looked(rb"{\rtf1 a{\object{\*\objdata 0105}}b}").unscanned == ("file",)
    assert looked(rb"{\rtf1 a\bin5 xxxxx}").unscanned == ("file",)
    assert looked(rb"{\rtf1 a").unscanned == ("file",)
    assert looked(rb"{\rtf1 " + b"{" * 100_000).unscanned == ("file",)


# --------------------------------------------------------------------------- mail


def message() -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = "Jürgen <j@example.com>"
    mail["Subject"] = "Grüße"
    mail.set_content("the plain body\n", cte="base64")
    mail.add_alternative("<p>the <b>other</b> body Müller</p>", subtype="html", charset="iso-8859-1")
    mail.add_attachment(b"the attached words", maintype="application", subtype="octet-stream", filename="jane.txt")
    mail.add_attachment(b"\x89PNG\r\n\x1a\n", maintype="image", subtype="png", filename="a.png")
    return mail


def test_headers_bodies_and_attachments_of_mail_are_seen() -> None:
    seen = looked(message().as_bytes())
    assert seen.unscanned == ("image",)
    for words in (
        "From: Jürgen <j@example.com>",
        "Grüße",
        "the plain body",
        "Müller",
        "the attached words",
        "jane.txt",
    ):
        assert words in texts(seen)


def test_a_message_in_a_message_is_seen() -> None:
    outer = EmailMessage()
    outer["Subject"] = "look"
    outer.set_content("see below")
    outer.add_attachment(message())
    assert "the attached words" in texts(looked(outer.as_bytes()))


def test_every_message_of_a_mailbox_is_seen() -> None:
    one = b"From a@example.com Mon Jan  1 10:00:00 2024\n" + message().as_bytes() + b"\n\n"
    box = one + one.replace(b"j@example.com", b"k@example.com")
    assert {"j@example.com", "k@example.com"} <= {w.strip("<>") for w in texts(looked(box)).split()}


@pytest.mark.parametrize("damage", [b"--b", b"", b"--b\r\nContent-Transfer-Encoding: base64\r\n\r\n&&&"])
def test_damaged_mail_is_told_or_read(damage: bytes) -> None:
    head = b"From: a@example.com\r\nSubject: the words\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    assert "the words" in texts(looked(head + damage))


def test_mail_in_very_many_layers_is_told() -> None:
    layers = b"".join(b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (i, i) for i in range(5000))
    assert looked(b"From: a@example.com\r\n" + layers).unscanned == ("file",)


# --------------------------------------------------------------------------- pictures and sound


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))


def exif(order: str = "<") -> bytes:
    """Artist, a wide title, and a place."""
    name, title = b"Jane Artist\0", "Wide title".encode("utf-16-le")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}L", 8)
    at = 8 + 2 + 3 * 12 + 4
    place = at + len(name) + len(title)
    entries = struct.pack(f"{order}HHLL", 0x013B, 2, len(name), at)
    entries += struct.pack(f"{order}HHLL", 0x9C9B, 1, len(title), at + len(name))
    entries += struct.pack(f"{order}HHLL", 0x8825, 4, 1, place)
    degrees = struct.pack(f"{order}H", 1) + struct.pack(f"{order}HHLL", 2, 5, 3, place + 18) + bytes(4)
    degrees += struct.pack(f"{order}6L", 52, 1, 30, 1, 36, 1)
    return head + struct.pack(f"{order}H", 3) + entries + bytes(4) + name + title + degrees


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF>by Jane</rdf:RDF></x:xmpmeta>'
PNG = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", bytes(13))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (PNG + chunk(b"tEXt", b"Comment\0taken by Jane"), "taken by Jane"),
        (PNG + chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"taken by Jane")), "taken by Jane"),
        (PNG + chunk(b"iTXt", b"Title\0\1\0de\0T\0" + zlib.compress("Müller".encode())), "Müller"),
        (PNG + chunk(b"eXIf", exif()), "Artist: Jane Artist"),
        (
            b"\xff\xd8\xff\xe1" + struct.pack(">H", len(exif(">")) + 8) + b"Exif\0\0" + exif(">") + b"\xff\xd9",
            "52.510000",
        ),
        (b"\xff\xd8\xff\xfe" + struct.pack(">H", 15) + b"taken by Jane\xff\xd9", "taken by Jane"),
        (b"\xff\xd8\xff\xe1" + struct.pack(">H", len(XMP) + 2) + XMP + b"\xff\xd9", "by Jane"),
        (b"GIF89a\1\0\1\0\0\0\0!\xfe\x0dtaken by Jane\0;", "taken by Jane"),
        (b"RIFF\0\0\0\0WEBPEXIF" + struct.pack("<L", len(exif())) + exif(), "Title: Wide title"),
        (exif(), "latitude: 52.510000"),
    ],
)
def test_what_a_picture_says_in_words_is_text_and_the_picture_is_told(data: bytes, words: str) -> None:
    seen = looked(data)
    assert words in texts(seen)
    assert seen.unscanned == ("image",)


def test_tags_of_sound_are_text_and_the_sound_is_told() -> None:
    frame = b"\3said by Jane"
    body = b"TPE1" + struct.pack(">L", len(frame)) + bytes(2) + frame
    data = b"ID3\3\0\0" + bytes((0, 0, 0, len(body))) + body + bytes(200)
    seen = looked(data)
    assert (texts(seen), seen.unscanned) == ("said by Jane", ("audio",))
    old = b"\xff\xfb\x90\x64" + bytes(200) + b"TAG" + b"Jane's song".ljust(125, b"\0")
    assert "Jane's song" in texts(looked(old))


def test_a_loop_of_tags_and_sizes_that_lie_end() -> None:
    data = bytearray(exif())
    data[8 + 2 + 36 : 8 + 2 + 40] = struct.pack("<L", 8)
    assert looked(bytes(data)).unscanned == ("image",)
    assert looked(PNG + struct.pack(">L", 1 << 31) + b"tEXtabc").unscanned == ("image",)
    assert looked(PNG + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50 << 20)))).unscanned == ("image",)


# --------------------------------------------------------------------------- tables


def test_texts_of_a_table_are_seen_or_the_table_is_told() -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        assert looked(b"PAR1" + bytes(30) + b"PAR1").unscanned == ("file",)
        return
    out = io.BytesIO()
    pq.write_table(pa.table({"who": ["Jane", "Max"], "n": [1, 2], "tags": [["a tag"], []]}), out)
    seen = looked(out.getvalue())
    assert seen.unscanned == ()
    assert [p.text for p in seen.parts if p.label == "who"] == ["Jane\nMax"]
    assert "a tag" in texts(seen)
    assert looked(out.getvalue()[:-20]).unscanned == ("file",)
