"""Forms: read strictly or refused, and written so that every reader reads the same."""

from __future__ import annotations

import gzip
from email.message import Message
from email.parser import BytesParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.errors import LLMGuardError, RequestTooLarge, UnscannableRequest
from llmguard.model import Content, FormField
from llmguard.payload import coding, multipart
from llmguard.payload.multipart import Form, Reader, document, rewritten, value

TYPE = "multipart/form-data; boundary=b"
FILE = 'form-data; name="file"; filename="a.txt"'


def part(disposition: str, content: bytes = b"x", *lines: str) -> bytes:
    head = "\r\n".join((f"Content-Disposition: {disposition}", *lines))
    return b"--b\r\n" + head.encode("utf-8", "surrogateescape") + b"\r\n\r\n" + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--b--\r\n"


def reader(content_type: str = TYPE) -> Reader:
    return Reader(content_type, multipart._Memory)


def read(body: bytes, content_type: str = TYPE, piece: int = 1 << 20) -> tuple[FormField, ...]:
    reading = reader(content_type)
    for at in range(0, len(body), piece):
        reading.feed(body[at : at + piece])
    return reading.finish()


SMALL = form(
    part('form-data; name="purpose"', b"batch"),
    part(FILE, b"line\r\n--c\r\nend", "Content-Type: text/plain"),
    part('form-data; name="include[]"', b"a"),
    part('form-data; name="include[]"', b"b"),
)


# --------------------------------------------------------------------------- read


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 1000])
def test_a_form_is_the_same_however_it_arrives(piece: int) -> None:
    fields = read(SMALL, piece=piece)
    assert [(f.name, f.content, f.filename, f.media_type) for f in fields] == [
        ("purpose", b"batch", None, ""),
        ("file", b"line\r\n--c\r\nend", "a.txt", "text/plain"),
        ("include[]", b"a", None, ""),
        ("include[]", b"b", None, ""),
    ]


@pytest.mark.parametrize("at", range(len(SMALL) - 2))
def test_a_form_that_is_cut_anywhere_is_refused(at: int) -> None:
    with pytest.raises(UnscannableRequest):
        read(SMALL[:at] or b"-")


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        'multipart/form-data; boundary="a\r\nb"',
        f"multipart/form-data; boundary={'b' * 71}",
        "multipart/form-data; boundary=ü",
        "multipart/form-data; boundary*=utf-8''b",
    ],
)
def test_a_boundary_that_cannot_be_one_is_refused(content_type: str) -> None:
    with pytest.raises(UnscannableRequest, match="boundary"):
        reader(content_type)


HOSTILE: dict[str, bytes] = {
    "no delimiter": b"hello",
    "text before the form": b"hello" + form(part(FILE)),
    "bare line feeds": SMALL.replace(b"\r\n", b"\n"),
    "another boundary": SMALL.replace(b"--b", b"--c"),
    "a boundary that goes on": form(part(FILE)).replace(b"--b--", b"--bb--"),
    "no disposition": b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--\r\n",
    "no headers": b"--b\r\n\r\nx\r\n--b--\r\n",
    "an attachment": form(part('attachment; name="file"; filename="a"')),
    "no name": form(part("form-data")),
    "an empty name": form(part('form-data; name=""')),
    "two dispositions": form(part(FILE, b"x", 'Content-Disposition: form-data; name="other"')),
    "two content types": form(part(FILE, b"x", "Content-Type: text/plain", "Content-Type: text/html")),
    "a header that no form has": form(part(FILE, b"x", "X-Note: hello")),
    "a header that goes on in the next line": form(part(FILE, b"x", "Content-Type: text/plain;", " charset=utf-7")),
    "a header without a colon": form(part(FILE, b"x", "hello")),
    "a part in base64": form(part(FILE, b"aGVsbG8=", "Content-Transfer-Encoding: base64")),
    "a part in quoted-printable": form(part(FILE, b"=41", "Content-Transfer-Encoding: quoted-printable")),
    "a content type that is none": form(part(FILE, b"x", "Content-Type: hello there")),
    "a content type with more in it": form(part(FILE, b"x", "Content-Type: text/plain; a=b\x00c")),
    "a field in another charset": form(
        part('form-data; name="a"', b"+AGE-", "Content-Type: text/plain; charset=utf-7")
    ),
    "a field that says which charset": form(part('form-data; name="_charset_"', b"utf-7")),
    "NUL in a name": form(part('form-data; name="a\0b"')),
    "NUL in a file's name": form(part('form-data; name="a"; filename="a\0.txt"')),
    "a carriage return in a name": form(part('form-data; name="a\rb"')),
    "a line feed in a name": form(part('form-data; name="a\nb"')),
    "a quote in a name": form(part('form-data; name="a\\"b"')),
    "a backslash in a name": form(part('form-data; name="a\\\\b"')),
    "a name that is too long": form(part(f'form-data; name="{"a" * 257}"')),
    "a header that is too long": form(part(FILE, b"x", f"Content-Type: text/{'a' * 5000}")),
    "a name that is no UTF-8": form(part('form-data; name="a\udcffb"')),
    "257 fields": form(*[part(f'form-data; name="f{i}"') for i in range(257)]),
    "nine headers": form(part(FILE, b"x", *(f"X-{i}: y" for i in range(9)))),
}


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("piece", [1 << 20, 1])
def test_a_form_that_two_readers_could_read_differently_is_refused(hostile: str, piece: int) -> None:
    with pytest.raises(UnscannableRequest) as refusal:
        read(HOSTILE[hostile], piece=piece)
    assert "hello" not in str(refusal.value)


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
@pytest.mark.parametrize("around", [(b"hello\r\n", b""), (b"", b"hello"), (b"", form(part(FILE, b"hello")))])
def test_what_stands_around_a_form_never_leaves(around: tuple[bytes, bytes], piece: int) -> None:
    before, behind = around
    try:
        fields = read(before + form(part(FILE)) + behind, piece=piece)
    except UnscannableRequest:
        return
    assert b"hello" not in b"".join(Form("c", fields).pieces())
    assert len(fields) == 1


def test_256_fields_are_read() -> None:
    assert len(read(form(*[part(f'form-data; name="f{i}"') for i in range(256)]))) == 256


def test_a_field_that_is_no_file_is_short() -> None:
    assert len(read(form(part('form-data; name="a"', b"x" * multipart.MAX_FIELD)))[0].content) == multipart.MAX_FIELD
    with pytest.raises(UnscannableRequest, match="1 MB"):
        read(form(part('form-data; name="a"', b"x" * (multipart.MAX_FIELD + 1))))


def test_fields_that_are_no_files_are_bounded_together() -> None:
    with pytest.raises(RequestTooLarge):
        read(form(*[part(f'form-data; name="f{i}"', b"x" * multipart.MAX_FIELD) for i in range(33)]))


@pytest.mark.parametrize("content", [b"\xff\xfe", "jane".encode("utf-16-le"), b"a\0b"])
def test_a_field_that_another_reader_takes_for_another_charset_is_refused(content: bytes) -> None:
    with pytest.raises(UnscannableRequest):
        document(read(form(part('form-data; name="a"', content))))


@pytest.mark.parametrize(
    ("disposition", "filename"),
    [
        ('form-data; name="f"; filename="a b.txt"', "a b.txt"),
        ('form-data; name="f"; filename=""', ""),
        ('form-data; name="f"; filename="C:\\\\docs\\\\a.txt"', "a.txt"),
        ('form-data; name="f"; filename="a%22b.txt"', "a%22b.txt"),
        ('form-data; name="f"; filename="größe.txt"', "größe.txt"),
    ],
)
def test_names_of_files(disposition: str, filename: str) -> None:
    (one,) = read(form(part(disposition)))
    assert one.filename is not None
    assert one.filename.replace('"', "%22") == filename


@pytest.mark.parametrize("more", ["; filename*=UTF-8''jane.txt", "; name*=UTF-8''jane", '; note="jane"', "; jane"])
def test_what_a_disposition_says_besides_never_leaves_unread(more: str) -> None:
    try:
        fields = read(form(part(f'form-data; name="f"{more}')))
    except UnscannableRequest:
        return
    leaves = b"".join(Form("c", fields).pieces())
    assert b"jane" not in leaves or b"jane" in document(fields)


def test_one_field_of_which_a_provider_could_read_another_is_refused() -> None:
    for second in (part('form-data; name="purpose"', b"fine-tune"), part('form-data; name="purpose[]"', b"fine-tune")):
        with pytest.raises(UnscannableRequest, match="purpose"):
            value(read(form(part('form-data; name="purpose"', b"assistants"), second)), "purpose")
    with pytest.raises(UnscannableRequest, match="purpose"):
        value(read(form(part('form-data; name="purpose"; filename="a"', b"fine-tune"))), "purpose")
    assert value(read(SMALL), "purpose") == "batch"
    assert value(read(SMALL), "other") == ""


# --------------------------------------------------------------------------- compressed


def unpacked(body: bytes) -> tuple[FormField, ...]:
    decoder = coding.of_upload((("content-encoding", "gzip"),))
    reading = reader()
    for at in range(0, len(body), 1000):
        for plain in coding.unpacked(decoder, body[at : at + 1000]):
            reading.feed(plain)
    coding.ended(decoder)
    return reading.finish()


def test_a_compressed_form_is_read_as_it_was() -> None:
    assert unpacked(gzip.compress(SMALL)) == read(SMALL)


def test_a_compressed_form_that_is_cut_or_goes_on_is_refused() -> None:
    packed = gzip.compress(SMALL)
    for body in (packed[:-1], packed[:20], packed + b"x"):
        with pytest.raises(LLMGuardError):
            unpacked(body)


def test_a_field_that_unpacks_without_end_is_refused_before_it_is_whole() -> None:
    with pytest.raises(UnscannableRequest, match="1 MB"):
        unpacked(gzip.compress(form(part('form-data; name="a"', bytes(1 << 27)))))


# --------------------------------------------------------------------------- written


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\'), min_size=1, max_size=20)
FIELDS = st.lists(
    st.builds(
        FormField,
        NAMES.filter(lambda name: name.removesuffix("[]") != "" and name.strip() == name),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40).map(str.encode),
        st.one_of(st.none(), NAMES.filter(lambda name: name.strip() == name)),
        st.sampled_from(("", "text/plain", "application/json; charset=utf-8")),
    ),
    max_size=8,
)


@given(fields=FIELDS)
def test_a_form_that_is_written_is_read_as_it_was_by_us_and_by_others(fields: list[FormField]) -> None:
    body = b"".join(Form("b", tuple(fields)).pieces())
    assert body == _from(Form("b", tuple(fields)), 0)
    if not fields:
        return
    assert read(body) == tuple(fields)
    parts = _parts(body)
    names = [p.get_param("name", header="content-disposition") for p in parts]
    assert len(names) == len(fields)
    assert all(name == f.name for name, f in zip(names, fields, strict=True) if f.name.isascii())
    assert [p.get_payload(decode=True) for p in parts] == [f.content for f in fields]


def _parts(body: bytes) -> list[Message]:
    message = BytesParser().parsebytes(b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" + body)
    return list(message.walk())[1:]


def _from(content: Content, start: int) -> bytes:
    return b"".join(content.pieces(start))


def test_a_form_is_read_from_any_offset() -> None:
    written = Form("b", read(SMALL))
    body = _from(written, 0)
    assert len(written) == len(body)
    for start in range(len(body)):
        assert _from(written, start) == body[start:]


@given(fields=FIELDS)
def test_what_was_not_edited_is_what_it_was(fields: list[FormField]) -> None:
    assert rewritten(fields, document(fields)) == tuple(fields)


@pytest.mark.parametrize(
    "text", ["-4111111111111111", "4.1e15", "1.50", "1e5", "-0.0", "007", "0", "1", "12.", "1e9999"]
)
def test_a_number_in_a_field_stays_as_it_was_written(text: str) -> None:
    fields = read(form(part('form-data; name="temperature"', text.encode())))
    assert rewritten(fields, document(fields)) == fields


def test_what_was_edited_stands_in_its_field() -> None:
    made = read(form(part('form-data; name="a"', b"one"), part('form-data; name="a"', b"two"), part(FILE, b"three")))
    edited = document(made).replace(b"two", b"2").replace(b"a.txt", b"b.txt").replace(b'"a":', b'"z":')
    assert [(f.name, f.content, f.filename) for f in rewritten(made, edited)] == [
        ("z", b"one", None),
        ("z", b"2", None),
        ("file", b"three", "b.txt"),
    ]


def test_two_forms_with_other_names_have_other_digests() -> None:
    one = Form("b", read(SMALL))
    for other in (
        Form("c", one.fields),
        Form("b", one.fields[1:]),
        Form("b", (FormField("purposebatch", b""), *one.fields[1:])),
        Form("b", (*one.fields[:1], FormField("file", one.fields[1].content, None, "text/plain"), *one.fields[2:])),
    ):
        assert other.digest != one.digest
    assert Form("b", read(SMALL)).digest == one.digest
