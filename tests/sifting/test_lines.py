"""Lines of JSON, cleaned one by one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard.model import TextPart
from llmguard.redaction import Restorer
from tests.sifting.kit import CARD, EMAIL, PHONE, SCANNER, VALUES, Problem, chat, sift, surrogate

CLEAN = chat("What is the capital of France?", "Paris, of course.")


def test_a_line_without_findings_is_the_very_bytes_that_came() -> None:
    odd = b' {"messages" : [ {"content":"na\\u00efve \\/ 1","role":"user"}],  "n":1e5 }\t\r\n'
    assert sift(odd + CLEAN).data == odd + CLEAN


def test_values_of_a_line_are_replaced_and_all_else_stays() -> None:
    done = sift(chat(f"Write to {EMAIL}", "Done"))
    line = json.loads(done.data)
    assert EMAIL.encode() not in done.data
    assert line["messages"][0]["content"].startswith("Write to [EMAIL_")
    assert line["messages"][1] == {"role": "assistant", "content": "Done"}
    assert done.tally.counts == {"EMAIL": 1}
    assert done.tally.changed == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a": 1, "a": 2}', "same key twice"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": "\x00"}', "not one JSON document"),
        (b'{"a": 1} {"b": 2}', "not one JSON document"),
        (b'{"a": 1},{"b": 2}', "not one JSON document"),
        (b'{"a": [1', "not whole JSON"),
        (b"2]}", "not one JSON document"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b"[" * 200 + b"]" * 200, "deeper"),
    ],
)
def test_a_bad_line_is_a_problem_and_left_out(line: bytes, reason: str) -> None:
    done = sift(CLEAN + line + b"\n" + CLEAN)
    assert done.data == CLEAN + CLEAN
    assert [p.record for p in done.problems] == [1]
    assert reason in done.problems[0].reason
    assert done.records == 3
    assert done.tally.bad == 1


def test_halves_of_a_document_on_two_lines_are_two_problems() -> None:
    done = sift(b'{"a":[{"b":1}\n{"c":2}]}\n{},{}\n' + CLEAN)
    assert done.data == CLEAN
    assert [p.record for p in done.problems] == [0, 1, 2]


def test_blank_lines_and_line_ends_are_kept_and_are_no_records() -> None:
    data = b"\n" + CLEAN[:-1] + b"\r\n  \n" + chat(EMAIL)[:-1] + b"\r\n" + CLEAN.rstrip()
    done = sift(data)
    assert done.records == 3
    assert done.data.startswith(b"\n" + CLEAN[:-1] + b"\r\n  \n")
    assert done.data.endswith(b"}\r\n" + CLEAN.rstrip())


def test_a_byte_order_mark_is_written_back_and_its_line_is_cleaned() -> None:
    done = sift(b"\xef\xbb\xbf" + chat(EMAIL))
    assert done.data.startswith(b'\xef\xbb\xbf{"messages"')
    assert EMAIL.encode() not in done.data
    assert not done.problems


def test_an_empty_file_stays_empty() -> None:
    assert sift(b"").data == b""


def test_a_line_that_is_larger_than_a_block_is_cleaned() -> None:
    done = sift(chat("so it goes on and on " * 300_000 + EMAIL), size=1 << 20)
    assert len(done.data) > 6_000_000
    assert EMAIL.encode() not in done.data


def test_lines_that_break_the_rules_of_their_kind_are_problems() -> None:
    user_last = b'{"messages": [{"role": "user", "content": "hi"}]}\n'
    done = sift(CLEAN + user_last, line="sft")
    assert done.data == CLEAN
    assert done.problems == (Problem(1, "messages: the last one is not from the assistant"),)
    assert sift(CLEAN + user_last).problems == ()


def test_a_batch_line_is_walked_as_the_call_that_it_makes() -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": f"mail {EMAIL}"}], "metadata": {"a": EMAIL}}
    line = {"custom_id": "request-1", "method": "POST", "url": "/v1/chat/completions", "body": body}
    done = sift(json.dumps(line).encode(), line="batch")
    after = json.loads(done.data)
    assert after["custom_id"] == "request-1"
    assert after["body"]["messages"][0]["content"] != f"mail {EMAIL}"
    assert len(after["body"]["metadata"]["a"]) <= 512
    assert EMAIL.encode() not in done.data


def test_what_stands_where_nothing_can_be_replaced_does_not_leave_unless_somebody_says_so() -> None:
    line = {"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"model": EMAIL, "input": "x"}}
    raw = json.dumps(line).encode() + b"\n"
    done = sift(CLEAN + raw, line=None)
    assert done.data == CLEAN
    assert [p.record for p in done.problems] == [1]
    left = sift(CLEAN + raw, leave_exposed=True)
    assert left.data == CLEAN + raw
    assert [f.redactable for f in left.tally.found()] == [False]


@pytest.mark.parametrize(("key", "number"), [("phone", "4155550123"), ("card", "4111111111111111")])
def test_numbers_of_a_plain_line_are_replaced_by_numbers(key: str, number: str) -> None:
    line = b'{"%s": %s, "n": [12, {"t": 1e5}], "text": "so"}\n' % (key.encode(), number.encode())
    done = sift(line, style=surrogate)
    after = json.loads(done.data)
    assert not done.problems
    assert number.encode() not in done.data
    assert type(after[key]) is int
    assert (after["n"], after["text"]) == ([12, {"t": 1e5}], "so")


def test_a_number_never_becomes_a_text() -> None:
    line = b'{"phone": 4155550123}\n'
    done = sift(CLEAN + line)
    assert done.data == CLEAN
    assert [p.record for p in done.problems] == [1]
    assert [f.redactable for f in sift(line, leave_exposed=True).tally.found()] == [False]


def test_findings_drop_a_record_where_that_is_asked_and_people_decide_otherwise() -> None:
    data = CLEAN + chat(EMAIL) + chat(PHONE) + chat(CARD) + CLEAN
    assert sift(data, drop=True).data == CLEAN + CLEAN
    done = sift(data, drop=True, decisions={1: "keep", 2: "redact", 4: "drop"})
    lines = done.data.splitlines(keepends=True)
    assert lines[0] == CLEAN
    assert lines[1] == chat(EMAIL)
    assert PHONE.encode() not in lines[2]
    assert len(lines) == 3
    assert done.tally.dropped == 2


def test_placeholders_of_a_file_come_back_as_the_file() -> None:
    data = chat(f"a {EMAIL} and {PHONE}", "ok") + chat(f"{EMAIL} again", CARD)
    done = sift(data)
    restorer = Restorer(done.entries)
    restored = [
        json.loads(
            line, object_hook=lambda d: {k: restorer.text(v, None) if isinstance(v, str) else v for k, v in d.items()}
        )
        for line in done.data.splitlines()
    ]
    assert restored == [json.loads(line) for line in data.splitlines()]


def test_the_watch_is_told_of_every_record() -> None:
    seen: list[Any] = []
    sift(CLEAN + b"\n" + chat(EMAIL), watch=lambda *told: seen.append(told))
    assert [(number, len(parts), sum(map(len, findings))) for number, parts, findings, _ in seen] == [
        (0, 2, 0),
        (2, 1, 1),
    ]
    assert seen[0][3] == CLEAN


TEXTS = st.lists(
    st.sampled_from(
        (*VALUES, "so ", "it was.", "Then ", "\n", "é", "日本", "x" * 300, '"', "\\", "password: hunter22Kx ")
    ),
    max_size=12,
).map("".join)
LINES = st.one_of(
    st.builds(lambda texts: chat(*texts), st.lists(TEXTS, max_size=4)),
    st.sampled_from([b"\n", b"  \r\n", b'{"a":1,"a":2}\n', b"\xff\n", b"[1\n", b"1,2\n", b'"jane"\n']),
    st.dictionaries(TEXTS, TEXTS, max_size=3).map(lambda d: json.dumps(d).encode() + b"\r\n"),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(LINES, max_size=12), st.integers(1, 3000), st.booleans())
def test_any_size_of_blocks_gives_the_same_bytes_and_counts(lines: list[bytes], size: int, drop: bool) -> None:
    data = b"".join(lines)
    whole, parts = sift(data, drop=drop), sift(data, size=size, drop=drop, chunk=1 + size % 97)
    assert whole.data == parts.data
    assert whole.problems == parts.problems
    assert whole.tally == parts.tally
    assert whole.entries == parts.entries


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_a_line_changes_if_and_only_if_something_is_found_in_it(texts: list[str]) -> None:
    done = sift(b"".join(chat(text) for text in texts), style=surrogate)
    after = done.data.splitlines(keepends=True)
    for text, line in zip(texts, after, strict=True):
        (found,) = SCANNER.scan((TextPart(text, "text"),))
        assert (line == chat(text)) is not bool(found)


@settings(max_examples=40, deadline=None)
@given(st.lists(TEXTS, max_size=8))
def test_many_records_are_scanned_as_each_alone(texts: list[str]) -> None:
    records = [
        (TextPart(a, "/a", label="note"), TextPart(b, "/b")) for a, b in zip(texts, reversed(texts), strict=True)
    ]
    engine = SCANNER.engine
    assert engine.records(records) == [engine.scan(parts) for parts in records]
