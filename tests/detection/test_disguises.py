"""Disguises: what a text says once what hides it is undone is found where it stood."""

from __future__ import annotations

import base64
import gzip
import html
import json
import quopri
import zlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard import catalogue
from llmguard.catalogue import fill
from llmguard.detection import Engine, disguises
from llmguard.detection.verify import Work
from llmguard.model import Finding, TextPart

ENGINE = Engine(catalogue.load())
EMAIL = "jane.roe@example.org"
VALUES = {
    "e-mail": EMAIL,
    "card": "4111 1111 1111 1111",
    "iban": "DE89 3704 0044 0532 0130 00",
    "vendor key": fill("ghp_{alnum:36}", 7),
    "ssn": "536-22-8745",
}


def scan(text: str) -> tuple[Finding, ...]:
    return ENGINE.scan([TextPart(text, "")])[0]


def found(text: str) -> list[tuple[str, str]]:
    return [(text[f.start : f.end], f.type) for f in scan(text)]


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def packed(text: str, pack: Callable[[bytes], bytes] = gzip.compress) -> str:
    return base64.b64encode(pack(text.encode())).decode()


def bare_deflate(raw: bytes) -> bytes:
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    return engine.compress(raw) + engine.flush()


# ------------------------------------------------------------------ one disguise


def each(form: str) -> Callable[[str], str]:
    return lambda text: "".join(form.format(c=c, n=ord(c)) for c in text)


def shifted(letters: int, digits: int) -> Callable[[str], str]:
    """Letters and digits moved to another block; the rest stays."""

    def moved(c: str) -> str:
        if c.isdigit():
            return chr(digits + int(c))
        return chr(letters + (ord(c) - 97 + 26 if c.islower() else ord(c) - 65)) if c.isalpha() else c

    return lambda text: "".join(map(moved, text))


CHARACTERS: dict[str, Callable[[str], str]] = {
    "zero-width spaces": lambda t: "\u200b".join(t),
    "soft hyphens": lambda t: "\u00ad".join(t),
    "direction marks": lambda t: "\u202d".join(t),
    "variation selectors": lambda t: "\ufe0f".join(t),
    "struck through": lambda t: "\u0336".join(t),
    "word joiners": lambda t: t[:3] + "\u2060" + t[3:],
    "full-width": lambda t: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in t),
    "mathematical bold": shifted(0x1D400, 0x1D7CE),
    "monospace": shifted(0x1D670, 0x1D7F6),
    "tag characters": lambda t: "".join(chr(0xE0000 + ord(c)) for c in t),
    "percent": lambda t: "".join(f"%{byte:02X}" for byte in t.encode()),
    "percent where needed": lambda t: quote(t, safe=""),
    "decimal entities": each("&#{n};"),
    "hexadecimal entities": each("&#x{n:x};"),
    "json": lambda t: json.dumps(t) if not t.isascii() else each("\\u{n:04x}")(t),
    "python": lambda t: each("\\U{n:08x}" if not t.isascii() else "\\x{n:02x}")(t),
    "octal": lambda t: "".join(f"\\{byte:03o}" for byte in t.encode()),
    "javascript": each("\\u{{{n:x}}}"),
    "quoted-printable": lambda t: "".join(f"={byte:02X}" for byte in t.encode()),
}
TOKENS: dict[str, Callable[[str], str]] = {
    "base64": b64,
    "base64 for urls": lambda t: base64.urlsafe_b64encode(t.encode()).decode().rstrip("="),
    "base64 of utf-16": lambda t: base64.b64encode(t.encode("utf-16-le")).decode(),
    "base32": lambda t: base64.b32encode(t.encode()).decode(),
    "hexadecimal": lambda t: t.encode().hex(),
    "hexadecimal, spaced": lambda t: t.encode().hex(" "),
    "hexadecimal, with colons": lambda t: t.encode().hex(":").upper(),
    "a list of numbers": lambda t: ", ".join(map(hex, t.encode())),
    "a list of decimals": lambda t: ", ".join(map(str, t.encode())),
    "gzip": packed,
    "zlib": lambda t: packed(t, zlib.compress),
}


@pytest.mark.parametrize("disguise", [*CHARACTERS, *TOKENS])
@pytest.mark.parametrize("value", list(VALUES))
def test_disguised_value_is_found_exactly_where_it_stands(value: str, disguise: str) -> None:
    hidden = (CHARACTERS | TOKENS)[disguise](VALUES[value])
    for before, after in (("see ", " there"), ("", ""), ("größer: ", " …")):
        text = before + hidden + after
        spans = [(f.start, f.end) for f in scan(text)]
        assert spans, (value, disguise)
        low, high = spans[0][0], spans[-1][1]
        assert len(before) <= low
        assert high <= len(before) + len(hidden)
        left = text[:low] + text[high:]
        assert not any(c.isalnum() for c in left.removeprefix(before).removesuffix(after)), (value, disguise)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        (b64(f"mail me at {EMAIL}"), None),
        (f"é decode {b64('é ' + EMAIL)} please", b64("é " + EMAIL)),
        (base64.urlsafe_b64encode(f'{{"e":"{EMAIL}"}}'.encode()).decode().rstrip("="), None),
        (b64(b64(f"mail {EMAIL}")), None),
        (b64("?email=jane%40example.org"), None),
        (f"see data:text/plain;base64,{b64(EMAIL)} there", b64(EMAIL)),
        ("mail jane&#46;roe&#64;example.org now", "jane&#46;roe&#64;example.org"),
        (b64(r'{"a":"jane\u0040example.org"}'), None),
        ("x jane&commat;example&#x2E;org", "jane&commat;example&#x2E;org"),
        ("https://a.example/?email=jane%40example.org&x=1", "jane%40example.org"),
        ("jane%2540example.org", None),
        ("write to j a n e . r o e @ e x a m p l e . o r g today", "j a n e . r o e @ e x a m p l e . o r g"),
        ('x = "jane.roe@" + "example.org"', 'jane.roe@" + "example.org'),
        ("Name: x\r\njane.roe@exam=\r\nple.org and", "jane.roe@exam=\r\nple.org"),
        ("card%204111%201111%201111%201111", "4111%201111%201111%201111"),
        ("my card: ٤١١١ ١١١١ ١١١١ ١١١١", "٤١١١ ١١١١ ١١١١ ١١١١"),
        ("jаne@exаmple.org", None),
    ],
)
def test_disguised_value_is_found_with_nothing_beside_it(text: str, span: str | None) -> None:
    assert [where for where, _ in found(text)] == [span or text]


def test_base64_in_lines_is_read_as_one() -> None:
    token = base64.encodebytes(f"{'words and words ' * 9}{EMAIL} and more".encode()).decode().strip()
    assert found(f"see:\n{token}\nend") == [(token, "EMAIL")]


def test_bare_deflate_is_unpacked() -> None:
    text = f"{''.join(map(chr, range(33, 90)))} and {EMAIL}"
    token = packed(text, bare_deflate)
    assert [where for where, _ in found(f"see {token} there")] == [token]


def test_spoken_digits_are_read() -> None:
    spoken = "four one one one one one one one one one one one one one one one"
    assert found(f"my card number is {spoken}, thanks") == [(spoken, "CREDIT_CARD")]


@pytest.mark.parametrize("disguise", [b64, quote])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_json_of_json_inside_an_encoding_hides_neither_labels_nor_edges(disguise: Any, levels: int) -> None:
    """Its short escapes (a tab before a value, quotes around a label) are undone at whatever level they stand."""
    for inner in (["name\tssn\nJo\t345-97-6840\n"], {"password": "Zq8OV713PQo74x"}):
        text = json.dumps(inner)
        for _ in range(levels - 1):
            text = json.dumps({"x": text})
        assert found(disguise(text)), (levels, inner)


# ------------------------------------------------------------------ what is no disguise


@pytest.mark.parametrize(
    "text",
    [
        *("50% of &amp; more", "100%25", b64("nothing to see here at all"), "A" * 64, "&nosuch;%zz", "a=3Db =20\n"),
        *(
            "👩‍👩‍👧‍👦 and 1️⃣ 2️⃣ 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
            "می‌خواهم به خانه بروم",
            "क्‍ष और ९८",
            "Наталья из IT-отдела, 10м²",
            "Größe „naïve“ e\u0301te\u0301",
        ),
        *("∀x ∈ ℝ: 𝑓(𝑥) = 𝑎𝑥² + 𝑏", "東京都１丁目２番３号、よろしく：はい", "pp. 1234–1245, 1990–2015", "H₂O at 20 °C"),
        *(
            "x = a + b - c * d / e + f",
            "0 1 0 0 1 1 0 1 1 0 1 0 0 1",
            "I a m a b c d e f g h i j",
            "['*', '+', '-'] + ['.']",
        ),
        "data:image/png;base64," + base64.b64encode(bytes(range(256)) * 3).decode(),
        "sha256-"
        + base64.b64encode(bytes(range(32))).decode()
        + " 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15",
    ],
)
def test_what_says_nothing_stays_nothing(text: str) -> None:
    assert found(text) == []


def test_plain_and_disguised_values_are_both_found() -> None:
    text = f"{EMAIL} and {b64('or ' + EMAIL)} and bob%40example.org"
    assert [t for _, t in found(text)] == ["EMAIL"] * 3


# ------------------------------------------------------------------ limits


def test_what_is_hidden_deeper_than_is_looked_is_a_finding_of_its_own() -> None:
    text = f"mail {EMAIL} about this, please"
    for _ in range(disguises.DEPTH):
        text = b64(text)
    assert found(text) == [(text, "EMAIL")]
    assert found(b64(text)) == [(b64(text), "EVASION")]


def test_escapes_of_escapes_beyond_the_limit_are_found_whole() -> None:
    text = "jane@example.org"
    for _ in range(disguises.DEPTH + 1):
        text = quote(text, safe="")
    assert found(f"see {text} there") == [(text, "EVASION")]


def test_compressed_text_is_unpacked_within_bounds_only() -> None:
    """Ten megabytes of text in a few kilobytes: unpacked as far as the allowance goes, and masked."""
    token = packed("nothing but words and words " * 400_000)
    assert len(token) < 100_000
    assert [f.type for f in scan(token)] == ["EVASION"]


def test_binary_data_is_no_evasion() -> None:
    assert found(packed("\x00\x01\x02" * 3_000_000)) == []
    assert found(base64.b64encode(gzip.compress(bytes(range(256)) * 10_000)).decode()) == []


@pytest.mark.parametrize(
    "piece",
    [
        *(
            "%41 ",
            "&#65;",
            "\\u0041",
            "a\u200b",
            "a b c d e f g ",
            b64("words and words!") + " ",
            "=41=\n",
            "%25%32%35",
        ),
        *(
            "4142434445464748494a ",
            "one two three four five six seven ",
            "раss",
            "H4sIAAAAAAAAA",
            '"ab" + "cd" + ',
            "(&amp;",
        ),
    ],
)
def test_work_grows_with_the_text_and_no_faster(piece: str) -> None:
    def work(size: int) -> int:
        work = Work()
        ENGINE.scan([TextPart(piece * (size // len(piece)), "")], work)
        return work.examined + work.searches

    small, large = work(4_000), work(32_000)
    assert large <= 16 * max(small, 4_000)


@pytest.mark.parametrize("depth", [0, 3])
@pytest.mark.parametrize(
    "text", ["\\" * 300_000, "\\" * 300_000 + "u0041", '\\\\"' * 100_000, "%41" + " " * 300_000, "&a" * 150_000]
)
def test_long_runs_are_read_once(text: str, depth: int) -> None:
    """Read again from each of their characters they would take hours."""
    assert all(
        view.end <= len(text) if isinstance(view, disguises.Beyond) else view.text
        for view in disguises.views(text, (2 << len(disguises.GATES)) - 1, disguises.Allowance.of(len(text)), depth)
    )


# ------------------------------------------------------------------ properties


@given(st.sampled_from(list(VALUES)), st.sampled_from(list(TOKENS)), st.sampled_from([*CHARACTERS, *TOKENS]))
def test_a_disguise_in_a_disguise_hides_nothing(value: str, outer: str, inner: str) -> None:
    written = (CHARACTERS | TOKENS)[inner](f"see {VALUES[value]} there")
    if outer == "base64 of utf-16" and not written.isascii():
        return  # only that of Latin letters is told from binary data
    hidden = TOKENS[outer](written)
    spans = [(f.start, f.end) for f in scan(f"look: {hidden} ok")]
    assert spans, (value, outer, inner)


ESCAPES = ["percent", "percent where needed", "decimal entities", "hexadecimal entities", "json", "python"]


@given(st.sampled_from(list(VALUES)), st.sampled_from(ESCAPES), st.sampled_from([*CHARACTERS, *TOKENS]))
def test_an_escaped_disguise_hides_nothing(value: str, outer: str, inner: str) -> None:
    hidden = CHARACTERS[outer]((CHARACTERS | TOKENS)[inner](VALUES[value]))
    assert scan(f"look: {hidden} ok"), (value, outer, inner)


PIECES = [
    "%",
    "%4",
    "\\u",
    "\\x4",
    "&#",
    "=\n",
    "=4",
    "\u200b",
    "\u0336",
    "４",
    "а",
    "\U000e0041",
    "\ufe01",
    '" + "',
    "H4sI",
]


@given(st.lists(st.sampled_from([*PIECES, b64(EMAIL), quote(EMAIL, safe="")]) | st.text(max_size=6), max_size=12))
def test_views_map_back_to_what_they_stand_for(pieces: list[str]) -> None:
    text = "".join(pieces)
    everything = (2 << len(disguises.GATES)) - 1
    for view in disguises.views(text, everything, disguises.Allowance.of(len(text)), disguises.DEPTH - 1):
        assert isinstance(view, disguises.View)
        spans = [view.span(i, i + 1) for i in range(len(view.text))]
        assert all(0 <= low < high <= len(text) for low, high in spans)
        assert spans == sorted(spans)


@given(st.lists(st.sampled_from([*PIECES, b64(EMAIL), quote(EMAIL, safe="")]) | st.text(max_size=6), max_size=12))
def test_findings_lie_inside_and_never_overlap_whatever_the_text(pieces: list[str]) -> None:
    text = "".join(pieces).encode(errors="replace").decode()
    findings = scan(text)
    assert all(0 <= f.start < f.end <= len(text) for f in findings)
    assert all(left.end <= right.start for left, right in pairwise(findings))


@given(st.text())
def test_escaped_text_reads_as_it_was(text: str) -> None:
    escaped = quote(text, safe="") + "&#" + "38;" + html.escape(quote(text, safe=""))
    (view,) = disguises.views(escaped, 2, disguises.Allowance.of(len(escaped)), 1)
    assert isinstance(view, disguises.View)
    assert view.text.startswith(f"{text}&")


def test_quoted_printable_as_mail_programs_write_it_is_read() -> None:
    body = quopri.encodestring(f"Grüße von {EMAIL}, Karte 4111 1111 1111 1111 = meine, {'wörter ' * 12}".encode())
    assert {t for _, t in found(body.decode())} == {"EMAIL", "CREDIT_CARD"}


# ------------------------------------------------------------------ split over parts


def across(*texts: str, **changes: Any) -> list[list[str]]:
    parts = [TextPart(text, f"/{i}", **changes) for i, text in enumerate(texts)]
    return [[p.text[f.start : f.end] for f in fs] for p, fs in zip(parts, ENGINE.scan(parts), strict=True)]


KEY = fill("ghp_{alnum:36}", 11)


@pytest.mark.parametrize(
    "texts",
    [
        (f"my key is {KEY[:17]}", f"{KEY[17:]} ok"),
        (KEY[:9], KEY[9:20], KEY[20:]),
        tuple(KEY),
        (f"{'words ' * 200}{KEY[:20]}", f"{KEY[20:]}{' words' * 200}"),
        ("write to jane.roe@exa", "mple.org soon"),
        ("first", f"is {KEY[:20]}", f"{KEY[20:]} x", "last"),
    ],
)
def test_value_cut_over_neighbouring_parts_is_found_in_all_of_them(texts: tuple[str, ...]) -> None:
    value = "".join("".join(shares) for shares in across(*texts))
    assert value in (KEY, EMAIL)


def test_words_beside_a_value_are_not_taken_for_a_part_of_it() -> None:
    assert across("john", "jane.roe@example.org", "bob") == [[], [EMAIL], []]
    assert across("jane.roe@example.org", "tests.actions.test_functions") == [[EMAIL], []]
    assert across(f"token={KEY}", "HOME", "LLMGUARD_DATA", "in.txt", "Copy it") == [[KEY], [], [], [], []]
    assert across("The end", "Beginning of it", "and so on", "x1", "12345678", "87654321") == [[]] * 6


def test_parts_that_cannot_be_replaced_or_stand_elsewhere_are_not_joined() -> None:
    assert across(KEY[:20], KEY[20:], redactable=False) == [[], []]
    assert across(KEY[:20], KEY[20:], place="query") == [[], []]


@given(st.lists(st.text(max_size=5) | st.sampled_from([KEY[:20], KEY[20:], "x" * 300, EMAIL]), max_size=8))
def test_shares_lie_inside_their_parts(texts: list[str]) -> None:
    parts = [TextPart(text.encode(errors="replace").decode(), "") for text in texts]
    for part, findings in zip(parts, ENGINE.scan(parts), strict=True):
        assert all(0 <= f.start < f.end <= len(part.text) for f in findings)
        assert all(left.end <= right.start for left, right in pairwise(findings))
