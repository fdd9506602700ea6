"""Placeholders in random places and chunkings come back restored, in every event dialect; everything else untouched."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard.model import VaultEntry
from llmguard.payload import sse
from llmguard.redaction import Restorer
from llmguard.streaming import StreamRestorer
from tests.answers.dialects import DIALECTS, Dialect, event, events

EMAIL = VaultEntry("[EMAIL_abcdefghij]", "jane@example.com", "EMAIL", "pii", "user")
TRICKY = VaultEntry("[PRIVATE_KEY_klmnopqrst]", 'a"b\\c\nd\té 😀', "PRIVATE_KEY", "pii", "user")
RESTORER = Restorer([EMAIL, TRICKY])

PIECES = [
    *(EMAIL.placeholder, TRICKY.placeholder, "email_abcdefghij's", r"\[EMAIL\_abcdefghij\]", "EMAIL_abcdefghijs"),
    *("[ PRIVATE KEY_klmnopqrst ]", "[EMAIL_abcdefghi", "EMAIL_abcdefghijk", "[EMAIL_", "[EMAIL_zzzzzzzzzz]", "E", "P"),
    *("https://evil.example/?q=", "](", '<img src="', '"', "\\", "\n", " ", "{", "[", "]", "é😀", "word", "\ufeff"),
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=10).map("".join)
OBJECTS = st.dictionaries(st.sampled_from(["a", "b", 'k"\\', EMAIL.placeholder]), TEXTS, min_size=1, max_size=3)


@st.composite
def said(draw: st.DrawFn, dialect: Dialect) -> dict[int, str]:
    """Texts of up to three channels; of arguments: JSON, with JSON in a string of it."""
    count = 1 if dialect.name == "transcription" else draw(st.integers(1, 3))
    if not dialect.json:
        return {i: draw(TEXTS) for i in range(count)}
    ascii_ = draw(st.booleans())
    nested = [draw(OBJECTS) | {"deep": json.dumps(draw(OBJECTS), ensure_ascii=ascii_)} for _ in range(count)]
    return {i: json.dumps(v, ensure_ascii=ascii_) for i, v in enumerate(nested)}


@st.composite
def streams(draw: st.DrawFn, dialect: Dialect) -> tuple[bytes, dict[int, str], list[bytes]]:
    """Bytes of a stream with interleaved channels, what its channels say, and chunks of those bytes."""
    texts = draw(said(dialect))
    left = dict(texts)
    sent = []
    while any(left.values()):
        channel = draw(st.sampled_from([c for c, text in left.items() if text]))
        size = draw(st.integers(1, 12))
        sent.append(event(dialect.delta(channel, left[channel][:size])))
        left[channel] = left[channel][size:]
        if draw(st.integers(0, 5)) == 0:
            sent.append(draw(st.sampled_from([b": keep-alive\n\n", event({"other": 1.50}), b"retry: 5\n\n"])))
        if dialect.done and not left[channel]:
            sent.append(event(dialect.done(channel, texts[channel])))
    sent += draw(st.sampled_from([[], [b"data: [DONE]\n\n"]]))
    data = b"".join(sent)
    end = draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
    data = data.replace(b"\n", end) if draw(st.booleans()) else data
    chunks, at = [], 0
    while at < len(data):
        size = draw(st.integers(1, 60))
        chunks.append(data[at : at + size])
        at += size
    return data, texts, chunks


def restored(chunks: list[bytes], restorer: Restorer = RESTORER) -> bytes:
    stream = StreamRestorer(restorer)
    return b"".join([stream.feed(c) for c in chunks]) + stream.finish()


def whole(text: str) -> str:
    """What the restored answer without a stream says."""
    return str(json.loads(RESTORER.json(json.dumps({"arguments": text}).encode()))["arguments"])


def levels(text: str) -> Any:
    value = json.loads(text)
    return value | {"deep": json.loads(value["deep"])}


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.name)
@given(st.data())
@settings(max_examples=25, deadline=None)
def test_joined_pieces_are_the_restored_whole_and_the_rest_is_as_it_was(dialect: Dialect, data: st.DataObject) -> None:
    raw, texts, chunks = data.draw(streams(dialect))
    out = restored(chunks)
    before, after = events(raw), events(out)
    expected = {channel: whole(text) for channel, text in texts.items()}
    joined = dialect.joined(after)
    assert {c: joined.get(c, "") for c in texts} == expected
    if dialect.json:
        assert all(levels(text) for text in expected.values())
    assert len(after) == len(before)
    assert [e for e in after if (piece := dialect.piece(e)) and e != dialect.delta(*piece)] == []
    if dialect.done:
        assert [c for c, text in expected.items() if text and dialect.done(c, text) not in after] == []
    if not set("[EePp\\") & set("".join(texts.values())):  # nothing that a placeholder could begin with
        assert out == raw


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.name)
def test_text_before_a_placeholder_arrives_with_its_event(dialect: Dialect) -> None:
    stream = StreamRestorer(RESTORER)
    assert stream.feed(event(dialect.delta(0, "hello "))) == event(dialect.delta(0, "hello "))
    assert stream.feed(event(dialect.delta(0, "there [EMA"))) == b""
    assert dialect.joined(events(stream.feed(event(dialect.delta(0, "LL]"))))) == {0: "there [EMALL]"}


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.name)
def test_event_whose_channel_does_not_go_on_waits_for_few_others_only(dialect: Dialect) -> None:
    stream = StreamRestorer(RESTORER)
    first, other = event(dialect.delta(0, "x [EMA")), event({"other": 1})
    assert stream.feed(first) == b""
    out = b"".join(stream.feed(other) for _ in range(40))
    assert out == first + other * 40


SOUND = "UklGRiQAAABXQVZFZm10IBAAAAABAAEA"
BINARY = [
    {"type": "response.audio.delta", "delta": SOUND, "sequence_number": 1},
    {"type": "speech.audio.delta", "audio": SOUND},
    {"type": "image_generation.partial_image", "b64_json": SOUND, "partial_image_index": 0},
    {"type": "response.image_generation_call.partial_image", "partial_image_b64": SOUND, "item_id": "ig_1"},
    {"choices": [{"index": 0, "delta": {"audio": {"id": "audio_1", "data": SOUND}}}]},
]


@pytest.mark.parametrize("value", BINARY, ids=lambda v: str(v.get("type")))
def test_sound_and_pictures_pass_at_once_as_they_came(value: Any) -> None:
    raw = event(value)
    assert StreamRestorer(RESTORER).feed(raw) == raw


def test_output_of_a_shell_is_restored_by_stream() -> None:
    def delta(**pieces: str) -> bytes:
        place = {"item_id": "sh_1", "output_index": 0, "command_index": 0}
        return event({"type": "response.shell_call_output_content.delta", "delta": pieces, **place})

    out = restored([delta(stdout="to [EMAIL_"), delta(stderr="[PRIVATE_KEY_"), delta(stdout="abcdefghij]")])
    assert [v["delta"] for v in events(out)] == [
        {"stdout": "to "},
        {"stderr": "[PRIVATE_KEY_"},
        {"stdout": EMAIL.value},
    ]


def test_half_a_surrogate_pair_does_not_disturb_the_order() -> None:
    raw = event({"choices": [{"index": 0, "delta": {"content": "a [EMA"}}]})
    half = b'data: {"choices": [{"index": 0, "delta": {"content": "\\ud83d"}}]}\n\n'
    assert restored([raw + half]) == raw + half


def test_escapes_may_be_split_by_chunks() -> None:
    raw = (
        b'data: {"choices": [{"index": 0, "delta": {"content": "\\u005bEMAIL_abcdefghij\\u005d \\ud83d\\ude00"}}]}\n\n'
    )
    for at in range(len(raw)):
        assert events(restored([raw[:at], raw[at:]]))[0]["choices"][0]["delta"]["content"] == f"{EMAIL.value} 😀"


def test_data_in_several_lines_a_mark_at_the_start_and_no_end_are_understood() -> None:
    raw = b'\xef\xbb\xbfdata: {"choices": [{"index": 0,\ndata: "delta": {"content": "[EMAIL_abcdefghij]"}}]}\nid: 4'
    out = restored([raw])
    assert out.startswith(b"\xef\xbb\xbfdata: {")
    assert out.count(b"data: ") == 2
    assert b"id: 4" in out
    decoder = sse.Decoder()
    (only,) = [e for e in decoder.feed(out) + decoder.finish() if e.data]
    assert json.loads(only.data or b"")["choices"][0]["delta"]["content"] == EMAIL.value
