"""Server-sent events: framing that keeps every byte."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard.payload.sse import Decoder

PIECES = st.sampled_from(
    [
        b"data: a",
        b"data:b",
        b"data",
        b"event: x",
        b": c",
        b"\n",
        b"\r\n",
        b"\r",
        b"\n\n",
        "data: é😀".encode(),
        b"id: 1",
    ]
)


@given(st.lists(PIECES, max_size=30).map(b"".join), st.lists(st.integers(1, 6), max_size=30))
@settings(max_examples=400, deadline=None)
def test_any_chunking_keeps_every_byte_and_gives_the_same_events(data: bytes, sizes: list[int]) -> None:
    whole = Decoder()
    expected = whole.feed(data) + whole.finish()
    decoder, events, at = Decoder(), [], 0
    for size in sizes:
        events += decoder.feed(data[at : at + size])
        at += size
    events += decoder.feed(data[at:]) + decoder.finish()
    assert b"".join(e.raw for e in events) == data
    assert [e.data for e in events if e.data is not None] == [e.data for e in expected if e.data is not None]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_lines_end_in_three_ways(end: bytes) -> None:
    decoder = Decoder()
    events = decoder.feed(end.join([b"event: x", b"data: a", b"data:b", b"", b""]))
    assert [e.data for e in events if e.data is not None] == [b"a\nb"]


def test_comments_come_out_at_once() -> None:
    assert [e.raw for e in Decoder().feed(b": held\n")] == [b": held\n"]


def test_event_without_its_blank_line_comes_at_the_end() -> None:
    decoder = Decoder()
    assert decoder.feed(b"data: a") == []
    assert [e.data for e in decoder.finish()] == [b"a"]


def test_other_data_leaves_the_other_lines_alone() -> None:
    (event,) = Decoder().feed(b"id: 1\r\nevent: x\r\ndata:{}\r\ndata: more\r\n: c\r\n\r\n")
    assert event.with_data(b"new") == b"id: 1\r\nevent: x\r\ndata:new\r\n: c\r\n\r\n"
