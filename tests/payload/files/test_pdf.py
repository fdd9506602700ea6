"""PDF: text of pages and everything around it; what nobody can read is told."""

from __future__ import annotations

import io
import zlib

import pypdf
import pytest
from pypdf.generic import (
    ArrayObject,
    DictionaryObject,
    NameObject,
    NumberObject,
    StreamObject,
    TextStringObject,
)

from llmguard.payload.files import HEAD, Limits, Looked, kind_of, look_into

PAGE = b"BT /F1 12 Tf 72 720 Td (%s) Tj ET"
FONT = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"


def made(objects: dict[int, bytes], more: bytes = b"") -> bytes:
    """A PDF of these objects; the first is the catalogue."""
    out = bytearray(b"%PDF-1.7\n")
    at = {}
    for number, body in objects.items():
        at[number] = len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start, size = len(out), max(objects) + 1
    out += b"xref\n0 %d\n0000000000 65535 f \n" % size
    for number in range(1, size):
        out += b"%010d 00000 n \n" % at[number] if number in at else b"0000000000 00000 f \n"
    return bytes(out) + b"trailer<</Size %d/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF\n" % (size, more, start)


def stream(data: bytes, entries: bytes = b"") -> bytes:
    return b"<</Length %d%s>>stream\n%s\nendstream" % (len(data), entries, data)


def pages(*drawn: bytes, font: bytes = FONT, more: dict[int, bytes] | None = None, entries: bytes = b"") -> bytes:
    """A PDF whose pages draw this. Object 1 is the catalogue, 2 the pages, 3 the font; pages and drawings follow."""
    kids = b" ".join(b"%d 0 R" % (4 + 2 * i) for i in range(len(drawn)))
    objects = {
        1: b"<</Type/Catalog/Pages 2 0 R" + entries + b">>",
        2: b"<</Type/Pages/Count %d/Kids[%s]>>" % (len(drawn), kids),
        3: font,
    }
    for i, data in enumerate(drawn):
        resources = (
            b"<</Font<</F1 3 0 R>>/XObject<</X1 900 0 R>>>>" if more and 900 in more else b"<</Font<</F1 3 0 R>>>>"
        )
        objects[4 + 2 * i] = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Resources%s/Contents %d 0 R>>" % (
            resources,
            5 + 2 * i,
        )
        objects[5 + 2 * i] = stream(data)
    return made({**objects, **(more or {})})


def looked(data: bytes, limits: Limits | None = None) -> Looked:
    assert kind_of(data[:HEAD]) == "pdf"
    return look_into(io.BytesIO(data), "pdf", limits=limits)


def texts(seen: Looked) -> str:
    return "\n".join(p.text for p in seen.parts)


def written(change) -> bytes:  # type: ignore[no-untyped-def]
    writer = pypdf.PdfWriter(io.BytesIO(pages(PAGE % b"a page")))
    change(writer)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def test_pages_are_text_with_their_numbers() -> None:
    seen = looked(pages(PAGE % b"first words", PAGE % b"second words"))
    assert seen.unscanned == ()
    assert [(p.address, p.text) for p in seen.parts] == [
        ("file#page=1", "first words"),
        ("file#page=2", "second words"),
    ]
    assert not any(p.redactable for p in seen.parts)


def test_properties_bookmarks_and_attachments_are_seen() -> None:
    def change(writer: pypdf.PdfWriter) -> None:
        writer.add_metadata({"/Author": "Jane Author", "/Own": "own property"})
        writer.add_outline_item(title="a bookmark", page_number=0)
        writer.add_attachment("names-of-jane.txt", b"attached words")
        script = {
            NameObject("/S"): NameObject("/JavaScript"),
            NameObject("/JS"): TextStringObject("alert('scripted words')"),
        }
        writer.root_object[NameObject("/OpenAction")] = DictionaryObject(script)

    seen = looked(written(change))
    assert seen.unscanned == ()
    for words in ("Jane Author", "own property", "a bookmark", "names-of-jane.txt", "attached words", "scripted words"):
        assert words in texts(seen)


def test_annotations_fields_and_what_they_draw_are_seen() -> None:
    more = {
        800: b"<</Type/Annot/Subtype/Text/Rect[0 0 9 9]/Contents(a remark)/T(Karl)/AP<</N 801 0 R>>>>",
        801: stream(
            PAGE % b"drawn beside", b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</Font<</F1 3 0 R>>>>"
        ),
        802: b"<</FT/Tx/T(iban)/V(DE00 1234)/TU(your account)/Subtype/Widget/Rect[0 0 9 9]>>",
    }
    seen = looked(pages(PAGE % b"x", more=more, entries=b"/AcroForm<</Fields[802 0 R]>>"))
    for words in ("a remark", "Karl", "drawn beside", "DE00 1234", "your account"):
        assert words in texts(seen)


def test_xml_properties_are_seen_and_their_bombs_told() -> None:
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><a>by Jane</a></x:xmpmeta>"
    assert "by Jane" in texts(looked(pages(PAGE % b"x", more={800: stream(xmp, b"/Type/Metadata/Subtype/XML")})))
    bomb = b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"
    assert looked(pages(PAGE % b"x", more={800: stream(bomb, b"/Type/Metadata/Subtype/XML")})).unscanned == ("pdf",)


def test_objects_and_pages_that_nothing_points_at_are_seen() -> None:
    assert "left behind" in texts(looked(pages(PAGE % b"x", more={800: b"<</Old(left behind)>>"})))
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Resources<</Font<</F1 3 0 R>>>>/Contents 801 0 R>>"
    assert "taken out" in texts(looked(pages(PAGE % b"x", more={800: page, 801: stream(PAGE % b"taken out")})))


def test_what_a_later_revision_deleted_is_seen() -> None:
    first = pages(PAGE % b"deleted words")
    new = b"5 0 obj\n%s\nendobj\n" % stream(PAGE % b"other words")
    at = len(first)
    xref = b"xref\n5 1\n%010d 00000 n \ntrailer<</Size 6/Root 1 0 R/Prev %d>>\nstartxref\n%d\n%%%%EOF\n"
    data = first + new + xref % (at, first.index(b"xref"), at + len(new))
    seen = looked(data)
    assert {p.address: p.text for p in seen.parts} == {
        "file#page=1": "other words",
        "file#revision=1#page=1": "deleted words",
    }


def test_an_encrypted_pdf_is_told_and_one_that_anybody_opens_is_read() -> None:
    closed = written(lambda w: w.encrypt("secret", algorithm="AES-256"))
    assert looked(closed) == Looked((), ("pdf",))
    opened = looked(written(lambda w: w.encrypt("", "owner", algorithm="AES-256")))
    assert (texts(opened), opened.unscanned) == ("a page", ())


IMAGE = stream(bytes(10_000), b"/Subtype/Image/Width 100/Height 100/ColorSpace/DeviceGray/BitsPerComponent 8")


def test_pictures_are_told_on_pages_with_text_as_well() -> None:
    assert looked(pages(b"q /X1 Do Q", more={900: IMAGE})).unscanned == ("image",)
    assert looked(pages(PAGE % b"words", more={900: IMAGE})).unscanned == ("image",)
    inline = b"q BI /W 40 /H 40 /BPC 8 /CS /G ID " + b"a" * 1600 + b" EI Q"
    assert looked(pages(PAGE % b"words" + b"\n" + inline)).unscanned == ("image",)
    dot = IMAGE.replace(b"Width 100/Height 100", b"Width 1/Height 1")
    assert looked(pages(PAGE % b"words", more={900: dot})).unscanned == ()


def test_letters_that_say_nothing_are_told() -> None:
    below = b"<</Type/Font/Subtype/CIDFontType2>>"
    glyphs = b"<</Type/Font/Subtype/Type0/BaseFont/X/Encoding/Identity-H/DescendantFonts[%s]>>" % below
    assert looked(pages(PAGE % b"ab", font=glyphs)).unscanned == ("pdf",)
    drawn = b"\n".join(b"%d 0 m %d 9 l S" % (i, i) for i in range(300))
    assert looked(pages(drawn)).unscanned == ("pdf",)
    assert looked(pages(drawn + b"\n" + PAGE % b"a table")).unscanned == ()


def test_a_zip_or_a_pdf_in_a_pdf_is_looked_into() -> None:
    inner = pages(PAGE % b"inner words")
    assert "inner words" in texts(looked(written(lambda w: w.add_attachment("a.pdf", inner))))


# --------------------------------------------------------------------------- hostile


@pytest.mark.parametrize(
    "objects",
    [
        {2: b"<</Type/Pages/Count 1/Kids[2 0 R]>>"},
        {2: b"<</Type/Pages/Count 1/Kids[3 0 R]>>", 3: b"<</Type/Pages/Parent 2 0 R/Kids[2 0 R]>>"},
        {2: b"2 0 R"},
        {2: b"[" * 5000 + b"]" * 5000},
        {2: b"<</A" * 5000},
        {2: b"(" * 5000},
        {2: b"<</Type/Pages/Count 99999999999/Kids[4 0 R]>>"},
        {2: b"<</Type/Pages/Kids[3 0 R]>>", 3: stream(b"x", b"/Length 99999999999")},
    ],
    ids=["self", "each-other", "reference", "lists", "dictionaries", "strings", "count", "length"],
)
def test_loops_and_depths_end_and_are_told(objects: dict[int, bytes]) -> None:
    seen = looked(made({1: b"<</Type/Catalog/Pages 2 0 R>>", **objects}))
    assert seen.unscanned == ("pdf",)


def test_a_drawing_that_draws_itself_ends() -> None:
    form = stream(
        PAGE % b"again" + b"\n/X1 Do",
        b"/Type/XObject/Subtype/Form/Resources<</XObject<</X1 900 0 R>>/Font<</F1 3 0 R>>>>",
    )
    assert "again" in texts(looked(pages(b"/X1 Do", more={900: form})))


def test_pages_beyond_the_bound_are_told() -> None:
    data = pages(*(PAGE % b"p%d" % i for i in range(30)))
    seen = looked(data, Limits(pages=10))
    assert len(seen.parts) == 10
    assert seen.unscanned == ("pdf",)


def test_ten_thousand_pages_cost_no_more_than_the_bound() -> None:
    kids = b"4 0 R " * 10_000
    objects = {
        1: b"<</Type/Catalog/Pages 2 0 R>>",
        2: b"<</Type/Pages/Count 10000/Kids[%s]>>" % kids,
        3: FONT,
        4: b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Resources<</Font<</F1 3 0 R>>>>/Contents 5 0 R>>",
        5: stream(PAGE % b"again"),
    }
    seen = looked(made(objects), Limits(pages=50))
    assert (texts(seen), seen.unscanned) == ("again", ("pdf",))


def test_a_drawing_that_unpacks_to_far_more_is_told() -> None:
    packed = zlib.compress(b"0 0 m\n" * 10_000_000, 9)
    objects = {5: stream(packed, b"/Filter/FlateDecode")}
    seen = looked(pages(b"", more=objects))
    assert seen.unscanned == ("pdf",)


def test_more_operators_than_the_bound_are_told() -> None:
    seen = looked(pages(b"0 0 m\n" * 5000), Limits(operators=1000))
    assert seen.unscanned == ("pdf",)


def test_a_pdf_cut_anywhere_is_told_or_read() -> None:
    whole = pages(PAGE % b"words")
    for end in range(20, len(whole) - 60, 23):
        seen = looked(whole[:end])
        assert seen.unscanned == ("pdf",) or "words" in texts(seen), end


def test_values_of_the_wrong_type_are_told_or_read() -> None:
    for wrong in (b"null", b"7", b"(x)", b"[1 2]", b"/Name", b"<</Kids 3>>"):
        for key in (b"/Contents 5 0 R", b"/Resources<</Font<</F1 3 0 R>>>>", b"/Parent 2 0 R"):
            data = pages(PAGE % b"words").replace(key, key.split(b" ")[0].split(b"<")[0] + b" " + wrong)
            looked(data)


def test_objects_made_by_hand_survive() -> None:
    def change(writer: pypdf.PdfWriter) -> None:
        odd = DictionaryObject({NameObject("/AP"): NumberObject(3), NameObject("/JS"): ArrayObject([NumberObject(1)])})
        odd[NameObject("/T")] = TextStringObject("odd words")
        writer._add_object(odd)
        writer._add_object(StreamObject())

    assert "odd words" in texts(looked(written(change)))
