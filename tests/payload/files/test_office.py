"""Office files: whatever stands in one is text, shown or not; what is no text is told."""

from __future__ import annotations

import io
import zipfile

import pytest

from llmguard.payload.files import HEAD, Limits, Looked, kind_of, look_into

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
DOCUMENT = f"""<?xml version="1.0"?><w:document {W}><w:body>
<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>Dear jane</w:t></w:r><w:r><w:rPr><w:b/><w:color
 w:val="FF0000"/></w:rPr><w:t>.doe@exam</w:t></w:r><w:proofErr w:type="x"/><w:r><w:t>ple.com</w:t></w:r></w:p>
<w:p><w:r><w:t>next</w:t></w:r><w:del w:author="Karl Rever"><w:r><w:delText>was 4711</w:delText></w:r></w:del>
<w:ins><w:r><w:t xml:space="preserve"> now</w:t></w:r></w:ins></w:p>
<w:tbl><w:tr><w:tc><w:p><w:r><w:t>left</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>right</w:t></w:r></w:p></w:tc></w:tr></w:tbl>
<w:drawing><wp:docPr xmlns:wp="urn:x" id="1" name="Picture 1" descr="a photo of Jane"/></w:drawing>
<!-- a remark --></w:body></w:document>"""
SHEET = """<worksheet><sheetData><row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c></row>
<row r="2"><c r="A2" t="inlineStr"><is><t>Jane</t></is></c><c r="B2"><v>4915112345678</v></c><c r="C2"><f>"x"&amp;A2</f>
<v>xJane</v></c></row></sheetData><headerFooter><oddHeader>top secret</oddHeader></headerFooter><dataValidations>
<dataValidation prompt="Say who"><formula1>"Ann,Bob"</formula1></dataValidation></dataValidations>
</worksheet>"""
SHARED = """<sst><si><t>name</t></si>
<si><r><rPr><b/></rPr><t>pho</t></r><r><t>ne</t></r></si><si><t>nobody shows me</t></si></sst>"""


def office(parts: dict[str, str | bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        for name, data in parts.items():
            archive.writestr(name, data)
    return out.getvalue()


def looked(data: bytes, limits: Limits | None = None) -> Looked:
    return look_into(io.BytesIO(data), kind_of(data[:HEAD]), limits=limits)


def by_address(seen: Looked) -> dict[str, str]:
    return {p.address: p.text for p in seen.parts}


def texts(seen: Looked) -> str:
    return "\n".join(p.text for p in seen.parts)


def test_a_word_in_several_runs_is_one_word() -> None:
    seen = looked(office({"word/document.xml": DOCUMENT}))
    assert seen.unscanned == ()
    body = by_address(seen)["file#word/document.xml"]
    assert [line.strip() for line in body.splitlines() if line.strip()] == [
        "Dear jane.doe@example.com",
        "next now",
        "left",
        "right",
    ]


def test_deletions_remarks_authors_and_alternative_texts_are_seen() -> None:
    seen = by_address(looked(office({"word/document.xml": DOCUMENT})))
    assert seen["file#word/document.xml#deleted"] == "was 4711"
    assert "a remark" in seen["file#word/document.xml#comments"]
    assert {"Karl Rever", "a photo of Jane", "Picture 1"} <= set(seen["file#word/document.xml#attributes"].split("\n"))


@pytest.mark.parametrize("name", ["word/comments.xml", "word/header1.xml", "word/footnotes.xml", "docProps/custom.xml"])
def test_every_part_is_read_whether_anything_points_at_it_or_not(name: str) -> None:
    seen = looked(office({"word/document.xml": "<a/>", name: "<x><p><t>said aside</t></p></x>"}))
    assert by_address(seen)[f"file#{name}"] == "said aside"


def test_links_are_seen() -> None:
    link = '<Relationship Id="rId1" Target="mailto:jane@example.com" TargetMode="External"/>'
    rels = f"<Relationships>{link}</Relationships>"
    assert "mailto:jane@example.com" in texts(looked(office({"word/_rels/document.xml.rels": rels})))


def test_rows_of_a_sheet_are_put_together() -> None:
    seen = looked(office({"xl/worksheets/sheet1.xml": SHEET, "xl/sharedStrings.xml": SHARED}))
    lines = by_address(seen)["file#worksheets/sheet1.xml"].splitlines()
    assert lines[:2] == ["name\tphone", 'Jane\t4915112345678\t"x"&A2\txJane']
    assert {"top secret", '"Ann,Bob"'} <= set(lines)
    assert "Say who" in texts(seen)
    assert by_address(seen)["file#xl/sharedStrings.xml"] == "nobody shows me"


def test_a_long_string_that_many_cells_show_stands_once() -> None:
    cells = "".join(f'<row><c t="s"><v>0</v></c><c><v>{i}</v></c></row>' for i in range(5000))
    shared = f"<sst><si><t>{'word ' * 2000}</t></si></sst>"
    sheet = f"<worksheet><sheetData>{cells}</sheetData></worksheet>"
    seen = looked(office({"xl/sharedStrings.xml": shared, "xl/worksheets/sheet1.xml": sheet}))
    assert seen.unscanned == ()
    assert sum(len(p.text) for p in seen.parts) < 50_000


def test_names_of_hidden_sheets_and_their_cells_are_seen() -> None:
    book = '<workbook><sheets><sheet name="Salaries of Jane" sheetId="2" state="hidden"/></sheets></workbook>'
    seen = texts(looked(office({"xl/workbook.xml": book, "xl/worksheets/sheet2.xml": SHEET})))
    assert "Salaries of Jane" in seen
    assert "xJane" in seen


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("word/media/image1.png", b"\x89PNG\r\n\x1a\n", "image"),
        ("ppt/media/media1.mp4", b"\0\0\0\x18ftypisom\0\0\0\0", "video"),
        ("word/vbaProject.bin", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", "file"),
        ("word/embeddings/oleObject1.bin", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", "file"),
        ("xl/worksheets/sheet1.bin", b"\x81\1\0\x93\2", "file"),
    ],
)
def test_what_is_no_text_is_told(name: str, data: bytes, kind: str) -> None:
    assert looked(office({"word/document.xml": DOCUMENT, name: data})).unscanned == (kind,)


def test_a_printers_settings_are_read_and_not_told() -> None:
    data = b"\1\0\2\0" + "Printer of Jane".encode("utf-16-le") + bytes(50)
    seen = looked(office({"xl/printerSettings/printerSettings1.bin": data}))
    assert seen.unscanned == ()
    assert "Printer of Jane" in texts(seen)


def test_an_embedded_workbook_is_looked_into() -> None:
    inner = office({"xl/worksheets/sheet1.xml": SHEET})
    seen = looked(office({"word/document.xml": DOCUMENT, "word/embeddings/Book1.xlsx": inner}))
    assert "xJane" in texts(seen)
    assert seen.unscanned == ()


def test_opendocument_is_read_with_what_was_deleted_and_its_notes() -> None:
    content = """<office:document-content xmlns:office="urn:o" xmlns:text="urn:t"><office:body><office:text>
<text:tracked-changes><text:changed-region>
<text:deletion><text:p>was here</text:p></text:deletion></text:changed-region>
</text:tracked-changes><text:p>Hello <text:span>jane</text:span>@example.com</text:p><office:annotation><text:p>a note
</text:p></office:annotation></office:text></office:body></office:document-content>"""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.text")
        archive.writestr("content.xml", content)
        archive.writestr("META-INF/manifest.xml", "<manifest/>")
    data = out.getvalue()
    assert kind_of(data) == "odt"
    lines = by_address(looked(data))["file#content.xml"].splitlines()
    assert {"Hello jane@example.com", "was here", "a note"} <= {line.strip() for line in lines}


def test_an_encrypted_opendocument_is_told() -> None:
    manifest = "<manifest><file-entry><encryption-data/></file-entry></manifest>"
    assert looked(office({"META-INF/manifest.xml": manifest})).unscanned == ("file",)


BOMB = '<!DOCTYPE a [<!ENTITY a "ha">' + "".join(
    f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(10)
)


@pytest.mark.parametrize(
    "document",
    [
        f"{BOMB}]><a>&k;</a>",
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/x.dtd"><a>&x;</a>',
        "<a>" * 100_000,
        "<a><b></a>",
        "<a",
        "",
        "\0",
    ],
    ids=["laughs", "file", "dtd", "deep", "crossed", "cut", "empty", "nul"],
)
def test_a_document_that_cannot_be_read_is_told(document: str) -> None:
    seen = looked(office({"word/document.xml": document}))
    assert seen.unscanned == ("file",)
    assert "root:" not in texts(seen)


def test_what_came_before_a_break_is_seen() -> None:
    seen = looked(office({"word/document.xml": "<a><p>seen before</p><p>"}))
    assert "seen before" in texts(seen)
    assert seen.unscanned == ("file",)


def test_a_huge_attribute_counts_as_text() -> None:
    seen = looked(office({"word/document.xml": f'<a x="{"A b " * 500_000}"/>'}), Limits(characters=1 << 20))
    assert seen.unscanned == ("file",)
    seen = looked(office({"word/document.xml": f'<a x="{"A b " * 500_000}"/>'}))
    assert seen.unscanned == ()
    assert len(texts(seen)) > 1_900_000


def test_structure_is_no_text() -> None:
    style = """<w:style w:styleId="Heading1"><w:name w:val="heading 1"/><w:rFonts w:ascii="Times New Roman"/>
<w:sz w:val="24"/><w:color w:val="4F81BD"/><w:ind w:left="720"/></w:style>"""
    assert looked(office({"word/styles.xml": style.replace("w:", "")})).parts == ()
