"""Bodies as people read them: nothing is left out, whatever shape it has, and the marks take nothing away."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard.inbox import content, multipart, seen
from llmguard.inbox.content import Section, read
from llmguard.inbox.marks import Marks, aligned
from llmguard.inbox.spelling import spaced
from llmguard.inbox.text import body as text_of
from tests.inbox.cases import FAKE, JANE, MAIL, PAN, VALUES, chat, written

JSON = "application/json"
WORDS = st.text(st.characters(codec="utf-8"), max_size=20)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
KEYS = ["messages", "input", "prompt", "instructions", "tools", "role", "content", "name", "type", "text", "arguments"]
KEYS += ["tool_calls", "function", "output", "refusal", "action", "evidence", "command", "change", "source", "id"]
KINDS = ["text", "refusal", "message", "function_call", "function_call_output", "image_url", "user", "tool", "policy"]
SHAPED = st.recursive(
    st.sampled_from(KINDS) | st.integers() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=20,
)


def shown(sections: tuple[Section, ...]) -> str:
    """Everything that a section says, in its own words and in ours."""
    said: list[str] = []
    for section in sections:
        said += [section.title, section.role, section.name]
        for block in section.blocks:
            said += [block.label, block.text, *(part for row in block.rows for part in (row.name, row.value))]
            said += [cell for row in block.table for cell in row]
    return "\n".join(said)


def leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner)
    else:
        yield value if isinstance(value, str) else json.dumps(value)


def told(text: str, page: str) -> bool:
    """Whether a text stands there: as it is, as JSON has it, read as JSON itself, or as a command is typed."""
    quoted = json.dumps(text, ensure_ascii=False)[1:-1]
    if text in page or quoted in page or json.dumps(quoted, ensure_ascii=False)[1:-1] in page:
        return True
    return "'" in text and text.replace("'", "'\"'\"'") in page


OURS = {"messages", "input", "prompt", "instructions", "tools", "role", "content", "name", "type", "text", "arguments"}
OURS |= {"tool_calls", "function", "output", "refusal", "message", "function_call", "function_call_output"}
OURS |= {"action", "evidence", "command", "change", "source", "description"}
"""Names and kinds that a title of ours says, or that only give a text its place."""


@settings(max_examples=300)
@given(st.sampled_from(["call", "action", "change", "review"]), SHAPED | VALUE)
def test_no_name_and_no_value_of_a_body_is_left_out(subject: str, value: Any) -> None:
    page = shown(read(subject, JSON, written(value)))
    for leaf in leaves(value):
        if leaf.strip() and leaf not in OURS and leaf[:1] not in ("{", "["):
            assert told(leaf, page), leaf


def test_a_chat_is_read_by_role_with_its_tools_and_their_arguments() -> None:
    sections = read("call", JSON, written(chat(VALUES.__getitem__)))
    assert [(s.title, s.role) for s in sections] == [
        ("Message 1", "system"),
        ("Message 2", "user"),
        ("Message 3", "assistant"),
        ("Settings", ""),
    ]
    called, arguments = sections[2].blocks
    assert [(r.name, r.value) for r in called.rows] == [("id", "call_1"), ("type", "function"), ("name", "refund")]
    assert arguments.text == f'{{\n  "card": "{VALUES[PAN]}",\n  "amount": 129\n}}'


def test_items_of_a_response_say_who_calls_what_and_what_was_answered() -> None:
    value = {
        "instructions": "Be brief.",
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
            {"type": "function_call", "name": "look", "arguments": '{"id": 1e2}', "call_id": "c"},
            {"type": "function_call_output", "call_id": "c", "output": "found"},
        ],
    }
    titles = [(s.title, s.role, s.name) for s in read("call", JSON, written(value))]
    assert titles == [
        ("Instructions", "system", ""),
        ("Input 1", "user", ""),
        ("Input 2: calls a tool", "assistant", "look"),
        ("Input 3: what a tool answered", "tool", ""),
    ]
    assert "1e2" in shown(read("call", JSON, written(value)))


def test_a_role_that_is_none_is_no_word_of_ours() -> None:
    (section,) = read("call", JSON, b'{"messages": [{"role": "Approved by llmguard", "content": "x"}]}')
    assert section.role == ""
    assert section.title == "Message 1"


def test_numbers_stay_as_they_were_written() -> None:
    page = shown(read("call", JSON, b'{"temperature": 1e5, "top_p": 0.10, "seed": 123456789012345678901234567890}'))
    assert all(number in page for number in ("1e5", "0.10", "123456789012345678901234567890"))


def test_what_can_be_read_in_two_ways_stands_as_it_came() -> None:
    body = b'{"model": "a", "model": "b"}'
    (section,) = read("call", JSON, body)
    assert section.blocks[0].text.encode() == body


def test_an_image_is_named_and_never_loaded_or_linked() -> None:
    url = "data:image/png;base64," + "A" * 4000
    piece = {"type": "image_url", "image_url": {"url": url}}
    page = shown(read("call", JSON, written({"messages": [{"role": "user", "content": [piece]}]})))
    assert url not in page
    assert "image/png, about 3,000 bytes" in page


def test_an_action_is_read_with_its_command_as_one_types_it_and_its_evidence_as_a_table() -> None:
    parts = {"action": "db.export", "arguments": {"command": ["rm", "a b"]}, "evidence": [{"n": 1}, {"n": 2}], "x": 1}
    sections = read("action", "", written(parts))
    assert [s.title for s in sections] == [
        "What is to be done",
        "With these arguments",
        "Evidence that came with it",
        "Also",
    ]
    assert sections[1].blocks[0].rows[0].value == "rm 'a b'"
    assert sections[2].blocks[0].table == (("n",), ("1",), ("2",))


def test_files_of_a_form_are_read_by_field_and_bytes_are_only_named() -> None:
    boundary = "b0und"
    pieces = [
        b'--b0und\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n',
        b'--b0und\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n{"a": 1}\n{"a": 2}\r\n',
        b'--b0und\r\nContent-Disposition: form-data; name="image"; filename="b.png"\r\nContent-Type: image/png\r\n\r\n'
        b"\x89PNG\x00\xff\r\n",
        b"--b0und--\r\n",
    ]
    sections = read("call", f"multipart/form-data; boundary={boundary}", b"".join(pieces))
    assert [(s.title, s.name) for s in sections] == [("Field", "purpose"), ("File", "a.jsonl"), ("File", "b.png")]
    assert sections[1].blocks[-1].text == '{"a": 1}\n{"a": 2}'
    assert sections[2].blocks[-1].kind == "blob"
    assert "image/png, about 6 bytes" in sections[2].blocks[-1].text


@given(st.binary(max_size=200), st.sampled_from(["multipart/form-data; boundary=x", "multipart/form-data", JSON, ""]))
def test_whatever_comes_is_shown_somehow(body: bytes, media: str) -> None:
    assert read("call", media, body)
    multipart.read(media, body)


def test_deep_nesting_is_shown_as_it_is() -> None:
    body = b'{"a":' * 2000 + b"1" + b"}" * 2000
    (section,) = read("call", JSON, body)
    assert section.blocks[0].text.encode() == body


@given(VALUE)
def test_spacing_a_body_changes_nothing_but_spaces(value: Any) -> None:
    text = json.dumps(value)
    assert json.loads(spaced(text)) == value
    assert re.sub(r"\s", "", spaced(text)) == re.sub(r"\s", "", text)


# --------------------------------------------------------------------------- marks

ISSUED = {JANE: "PERSON", MAIL: "EMAIL", PAN: "CREDIT_CARD"}
MARKUP = re.compile(r"<[^>]*>")


def plain(markup: str) -> str:
    """What a page says without its marks and our words in them."""
    return MARKUP.sub("", re.sub(r'<span class="kind">[^<]*</span>', "", markup))


@given(st.lists(st.sampled_from([JANE, MAIL, FAKE, "<b>", "&", " ", "\u202e", "x\n"]), max_size=12))
def test_marks_take_nothing_away(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert plain(Marks(ISSUED).shown(text)) == plain(text_of(text))


def test_only_what_the_guard_put_in_is_marked_as_a_placeholder() -> None:
    made = Marks(ISSUED).shown(f"{JANE} {FAKE}")
    assert re.findall(r'<mark class="ph k\d" title="name">([^<]*)</mark>', made) == [JANE]
    assert f'<span class="fake">{FAKE}<span class="kind">not of the guard</span></span>' in made
    assert "fake" not in Marks({}, certain=False).shown(FAKE)


def test_values_are_marked_where_they_stood() -> None:
    leaving, raw = (next(s for s in chat(of)["messages"] if s["role"] == "user")["content"] for of in (str, VALUES.get))
    made = Marks(ISSUED).written(leaving, raw)
    marked = re.findall(r'<mark class="raw k\d"><span class="kind">([^<]*)</span>([^<]*)</mark>', made)
    expected = [("name", VALUES[JANE]), ("e-mail address", VALUES[MAIL]), ("card number", VALUES[PAN])]
    assert marked == expected
    assert plain(made) == plain(text_of(raw))


@given(
    st.lists(st.tuples(st.text("ab <", max_size=4), st.sampled_from(["PERSON", ""])), min_size=1, max_size=6),
    st.text("abc <", max_size=30),
)
def test_whatever_differs_the_marks_on_the_raw_side_are_in_order_and_in_the_text(
    pieces: list[tuple[str, str]], text: str
) -> None:
    at = 0
    for start, end, _ in aligned(pieces, text):
        assert at <= start < end <= len(text)
        at = end


def test_a_value_that_left_in_another_form_is_marked_as_changed() -> None:
    made = Marks(ISSUED).written("card **** 1881 thanks", "card 4012 1881 thanks")
    assert '<span class="kind">changed</span>4012</mark>' in made


# --------------------------------------------------------------------------- ticks


def test_approving_needs_every_part_and_of_these_very_bytes() -> None:
    own, other = "a" * 64, "b" * 64
    ticks = [seen.tick(own, n, n + 1, 3) for n in range(3)]
    assert seen.complete(own, ticks)
    assert not seen.complete(own, ticks[:2])
    assert not seen.complete(own, ticks[1:])
    assert not seen.complete(other, ticks)
    assert not seen.complete(own, [])
    assert not seen.complete(own, ["0-1/1.0000000000000000", "0-9/", "x", ticks[0] + "0"])


def test_stretches_of_a_long_body_count_only_without_a_gap() -> None:
    own = "a" * 64
    first, middle, last = (seen.tick(own, *stretch, 30) for stretch in ((0, 10), (10, 20), (20, 30)))
    assert seen.complete(own, [last, first, middle])
    assert not seen.complete(own, [first, last])
    assert seen.reached(own, [first, middle], 30) == 20


def test_no_part_of_a_text_is_in_the_name_of_a_section() -> None:
    assert "Jane" not in repr(content.read("call", JSON, written(chat(VALUES.__getitem__))))
