"""Redaction: the same value, the same placeholder; and back as it was, where it may return."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard.errors import GuardUnavailable, UpstreamError
from llmguard.model import Finding, TextPart, VaultEntry
from llmguard.redaction import Budget, Restorer, may_return, redact, restore, tags
from llmguard.vault import Keyring, Vault

VAULT = Vault(Keyring.generate())
EMAIL = VaultEntry("[EMAIL_abcdefghij]", "jane@example.com", "EMAIL", "pii", "user")
CARD = VaultEntry("[CREDIT_CARD_klmnopqrst]", "4111 1111 1111 1111", "CREDIT_CARD", "pii", "user")
RESTORER = Restorer([EMAIL, CARD])


def finding(start: int, end: int, type_: str = "EMAIL") -> Finding:
    return Finding(start, end, type_, "pii", 1.0, "test")


def placeholder(value: str, type_: str = "EMAIL") -> str:
    return VAULT.placeholder("default", type_, value)


def test_same_value_gets_the_same_placeholder_and_one_entry_of_the_most_trusted_origin() -> None:
    parts = [TextPart("a@x.com", "/0", "tool"), TextPart("to a@x.com, b@x.com", "/1", "user")]
    red = redact(VAULT, "default", parts, [[finding(0, 7)], [finding(3, 10), finding(12, 19)]])
    assert red.texts == {0: placeholder("a@x.com"), 1: f"to {placeholder('a@x.com')}, {placeholder('b@x.com')}"}
    assert [(e.value, e.origin) for e in red.entries] == [("a@x.com", "user"), ("b@x.com", "user")]
    assert red == redact(VAULT, "default", parts, [[finding(0, 7)], [finding(3, 10), finding(12, 19)]])


def test_a_shorter_form_of_a_name_begins_with_the_tag_of_its_person_and_comes_back_as_written() -> None:
    text = "Jane Doe met Jane and J. Doe; Bob Ray met Ann Ray and Ray"
    forms = ("Jane Doe", "Jane", "J. Doe", "Bob Ray", "Ann Ray", "Ray")
    starts = [m.start() for m in re.finditer(r"Jane Doe|Jane|J\. Doe|Bob Ray|Ann Ray|Ray", text)]
    found = [finding(start, start + len(form), "PERSON") for start, form in zip(starts, forms, strict=True)]
    red = redact(VAULT, "default", [TextPart(text, "/0")], [found])
    tags = re.findall(r"\[PERSON_(\w+)\]", red.texts[0])
    assert [tag[:10] == tags[0] for tag in tags] == [True, True, True, False, False, False]
    assert len(set(tags)) == len(tags)
    assert len(tags[5]) == 10  # Bob or Ann: nobody knows
    assert Restorer(red.entries).text(red.texts[0]) == text


def test_findings_where_nothing_can_be_replaced_are_exposed() -> None:
    part = TextPart("a@x.com", "query", place="query", redactable=False)
    red = redact(VAULT, "default", [part], [[finding(0, 7)]])
    assert red.texts == {}
    assert red.exposed == ((part, finding(0, 7)),)


def test_taken_placeholder_is_lengthened() -> None:
    part = TextPart("a@x.com", "/0")
    red = redact(VAULT, "default", [part], [[finding(0, 7)]], frozenset({placeholder("a@x.com")}))
    assert len(red.texts[0]) > len(placeholder("a@x.com"))
    assert Restorer(red.entries).text(red.texts[0]) == "a@x.com"


def test_without_a_free_placeholder_nothing_leaves() -> None:
    names = frozenset(VAULT.placeholder("default", "EMAIL", "a@x.com", n) for n in range(10, 27))
    with pytest.raises(GuardUnavailable):
        redact(VAULT, "default", [TextPart("a@x.com", "/0")], [[finding(0, 7)]], names)


NAMES = [placeholder("a@x.com"), placeholder('q"\\\n', "US_SSN")]
LOOKALIKES = [
    *NAMES,
    *(n.strip("[]").lower() for n in NAMES),
    NAMES[0].replace("_", r"\_"),
    NAMES[0][1:-1] + "s",
    NAMES[0][:-3],
    VAULT.placeholder("default", "EMAIL", "a@x.com", 12),
    VAULT.placeholder("default", "EMAIL", "a@x.com", 16),
]
PIECES = st.sampled_from(
    [*LOOKALIKES, "\\", "[", "]", "_", " ", "s", "EMAIL_", "x", "https://e.example/", "](", '"', "😀"]
)
TEXT = st.lists(PIECES, max_size=8).map("".join)
VALUES = {"EMAIL": "a@x.com", "US_SSN": 'q"\\\n'}


@given(st.lists(st.tuples(TEXT, st.sampled_from(sorted(VALUES))), max_size=4), TEXT)
@settings(max_examples=500, deadline=None)
def test_restoring_what_was_redacted_is_the_identity_also_beside_lookalikes(
    pairs: list[tuple[str, str]], end: str
) -> None:
    text, found = "", []
    for before, type_ in pairs:
        text += before
        found.append(finding(len(text), len(text) + len(VALUES[type_]), type_))
        text += VALUES[type_]
    text += end
    red = redact(VAULT, "default", [TextPart(text, "/0")], [found])
    assert Restorer(red.entries).text(red.texts.get(0, text), None) == text
    assert len(red.entries) == len({type_ for _, type_ in pairs})


@pytest.mark.parametrize(
    ("written", "restored"),
    [
        ("[EMAIL_abcdefghij]", "jane@example.com"),
        ("[email_abcdefghij]", "jane@example.com"),
        ("[Email_ABCDEFGHIJ]", "jane@example.com"),
        ("EMAIL_abcdefghij", "jane@example.com"),
        ("EMAIL abcdefghij.", "jane@example.com."),
        ("email-abcdefghij,", "jane@example.com,"),
        (r"[EMAIL\_abcdefghij]", "jane@example.com"),
        (r"\[EMAIL\_abcdefghij\]", "jane@example.com"),
        (r"\[EMAIL_abcdefghij\]", "jane@example.com"),
        ("[ EMAIL_abcdefghij ]", "jane@example.com"),
        ("[EMAIL_abcdefghij]'s", "jane@example.com's"),
        ("EMAIL_abcdefghij's", "jane@example.com's"),
        ("EMAIL_abcdefghijs", "jane@example.coms"),
        ("[EMAIL_abcdefghij]s", "jane@example.coms"),
        ("**[EMAIL_abcdefghij]**", "**jane@example.com**"),
        ("`EMAIL_abcdefghij`", "`jane@example.com`"),
        ("_EMAIL_abcdefghij_", "_jane@example.com_"),
        ("[EMAIL_abcdefghij, CREDIT_CARD_klmnopqrst]", "[jane@example.com, 4111 1111 1111 1111]"),
        ("[credit card klmnopqrst]", "4111 1111 1111 1111"),
        ("[CREDIT-CARD-klmnopqrst]", "4111 1111 1111 1111"),
        (r"CREDIT\_CARD\_klmnopqrst", "4111 1111 1111 1111"),
        ("[EMAIL_abcdefghij](https://x.example)", "jane@example.com](https://x.example)".replace("]", "", 1)),
    ],
)
def test_mangled_placeholders_are_restored(written: str, restored: str) -> None:
    assert RESTORER.text(written) == restored
    assert {"abcdefghij", "klmnopqrst"} & tags(written)


@pytest.mark.parametrize(
    "written",
    [
        "[EMAIL_abcdefghik]",
        "[EMAIL_abcdefghi]",
        "[EMAIL_abcdefghijs]",
        "[EMAIL_abcdefghijk]",
        "EMAIL_abcdefghijk",
        "EMAIL_abcdefghij9",
        "EMAIL_abcdefghij_2",
        "xEMAIL_abcdefghij",
        "WORK_EMAIL_abcdefghij",
        "[WORK_EMAIL_abcdefghij]",
        "[PERSON_abcdefghij]",
        "[EMAIL_klmnopqrst]",
        "abcdefghij",
        "[CARD_klmnopqrst]",
    ],
)
def test_what_was_not_granted_stays(written: str) -> None:
    assert RESTORER.text(written) == written


def test_restored_text_is_not_looked_at_again() -> None:
    one = VaultEntry("[EMAIL_abcdefghij]", "[CREDIT_CARD_klmnopqrst]", "EMAIL", "pii", "user")
    assert Restorer([one, CARD]).text("[EMAIL_abcdefghij]") == "[CREDIT_CARD_klmnopqrst]"


def test_longer_tag_of_another_value_wins_over_its_prefix() -> None:
    longer = VaultEntry("[EMAIL_abcdefghijkl]", "bob@example.com", "EMAIL", "pii", "user")
    restorer = Restorer([EMAIL, longer])
    assert restorer.text("EMAIL_abcdefghijkl [EMAIL_abcdefghij]") == "bob@example.com jane@example.com"


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/?q={}",
        "https://{}.evil.example/",
        "http://a:{}@evil.example",
        "//{}.evil.example/",
        "www.evil.example/{}",
        "![x](https://evil.example/{})",
        "![x]({})",
        "[x](</a b/{}>)",
        "[x](\n {})",
        "[x](/relative/{})",
        '<img src="{}">',
        "<img src='/a b/{}'>",
        '<a href = "https://evil.example/a b {}">',
        "<img src={}>",
        "<https://evil.example/{}>",
        "[ref]: https://evil.example/{}",
        "text\n[ref]: {}",
        "text\n  [ref]:{}",
        "[ref]:\n{}",
        "background: url({})",
        'url("/a b/{}")',
        'https://evil.example/?q="{}',
        "https://evil.example/?q='{}",
        "https://evil.example/\u200b{}",
        "https://evil.example/" + "a" * 5000 + "{}",
    ],
)
def test_nothing_is_filled_into_a_url_that_the_model_wrote(url: str) -> None:
    written = url.format(EMAIL.placeholder)
    assert RESTORER.text(written) == written
    assert RESTORER.text(f"see {written}\n\nand {EMAIL.placeholder}").endswith("and jane@example.com")
    answer = json.dumps({"choices": [{"message": {"content": written, "x": json.dumps({"y": written})}}]}).encode()
    assert RESTORER.json(answer) == answer


@pytest.mark.parametrize(
    "text",
    [
        "[mail](mailto:{})",
        '<a href="mailto:{}">',
        "[call](tel:{})",
        "see https://x.example {}",
        "<https://x.example>{}",
        '"https://x.example":"{}"',
        '<a href="https://x.example">{}</a>',
        "a / b / {}",
        "10 {} // 2",
        "[^1]: {}",
        "{}: hello",
    ],
)
def test_beside_a_url_values_return(text: str) -> None:
    assert RESTORER.text(text.format(EMAIL.placeholder)) == text.format(EMAIL.value)


def test_text_before_decides_about_urls_too() -> None:
    assert RESTORER.text("[EMAIL_abcdefghij]", before="https://evil.example/?q=") == "[EMAIL_abcdefghij]"


SECRET = VaultEntry("[TOKEN_abcdefghij]", "t", "TOKEN", "secret", "user")


@pytest.mark.parametrize(
    ("category", "origin", "sink", "tool", "allowed"),
    [
        ("pii", "system", "text", None, True),
        ("internal", "tool", "tool_argument", "x", True),
        ("secret", "user", "text", None, True),
        ("secret", "assistant", "tool_argument", "x", True),
        ("secret", "system", "text", None, False),
        ("secret", "tool", "tool_argument", "x", False),
        ("secret", "tool", "tool_argument", "deploy", True),
        ("secret", "tool", "text", "deploy", False),
        ("secret", "tool", "tool_argument", None, False),
        ("pii", "user", "url", None, False),
        ("secret", "user", "url", "deploy", False),
    ],
)
def test_table_of_returns(category: str, origin: str, sink: str, tool: str | None, allowed: bool) -> None:
    entry = VaultEntry("[T_abcdefghij]", "v", "T", category, origin)  # type: ignore[arg-type]
    assert may_return(entry, sink, tool, frozenset({"deploy"})) is allowed  # type: ignore[arg-type]


def test_answer_is_restored_at_every_level_of_json_in_strings() -> None:
    tricky = VaultEntry("[KEY_abcdefghij]", 'a"b\\c\n😀', "KEY", "pii", "user")
    deep = json.dumps({"k": "x [KEY_abcdefghij]", "l": json.dumps(["[KEY_abcdefghij]"])})
    raw = b'{ "n": 1e5, "v" :1.10, "m": "\\u00e9", "a":' + json.dumps(json.dumps({"d": deep})).encode() + b"}"
    result = Restorer([tricky]).json(raw)
    assert result.startswith(b'{ "n": 1e5, "v" :1.10, "m": "\\u00e9", "a":')
    inner = json.loads(json.loads(json.loads(result)["a"])["d"])
    assert inner["k"] == f"x {tricky.value}"
    assert json.loads(inner["l"]) == [tricky.value]


def test_keys_return_but_never_make_an_object_ambiguous() -> None:
    assert RESTORER.json(b'{"[EMAIL_abcdefghij]": 1}') == b'{"jane@example.com": 1}'
    raw = b'{"jane@example.com": 0, "[EMAIL_abcdefghij]": 1, "x": "[EMAIL_abcdefghij]"}'
    assert json.loads(RESTORER.json(raw)) == {"jane@example.com": 0, "[EMAIL_abcdefghij]": 1, "x": "jane@example.com"}


@pytest.mark.parametrize("raw", [b"not json [EMAIL_abcdefghij]", b'{"a":"[EMAIL_abcdefghij]"', b"\xff", b""])
def test_answer_that_is_not_strict_json_stays(raw: bytes) -> None:
    assert RESTORER.json(raw) == raw


def test_growth_is_bounded() -> None:
    budget = Budget(100)
    passage = RESTORER.passage(budget=budget)
    with pytest.raises(UpstreamError):
        passage.feed("[EMAIL_abcdefghij] " * 10)


def test_work_does_not_grow_with_the_number_of_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{i:010d}".translate(str.maketrans("0123456789", "abcdefghij")) for i in range(2000)]
    many = Restorer([VaultEntry(f"[EMAIL_{tag}]", tag, "EMAIL", "pii", "user") for tag in names])
    tried = []
    original = restore.hit_at
    monkeypatch.setattr(restore, "hit_at", lambda *a: tried.append(len(a[2])) or original(*a))
    assert (
        many.text(f"information about EMAIL_{names[7]} and [EMAIL_{names[8]}]")
        == f"information about {names[7]} and {names[8]}"
    )
    assert tried == [1, 1]


def test_values_do_not_show_in_reprs() -> None:
    red = redact(VAULT, "default", [TextPart("a@x.com", "/0")], [[finding(0, 7)]])
    assert "a@x.com" not in repr(red)
