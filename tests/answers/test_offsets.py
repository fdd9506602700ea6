"""Citations, tokens and offsets of an answer speak about the text that the application sees."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmguard.model import VaultEntry
from llmguard.redaction import Restorer
from llmguard.streaming import StreamRestorer
from tests.answers.dialects import event, events

EMAIL = VaultEntry("[EMAIL_abcdefghij]", "jane@example.com", "EMAIL", "pii", "user")
RESTORER = Restorer([EMAIL])
TEXT = "Ask [EMAIL_abcdefghij], says the page (source), é😀."
SAID = TEXT.replace(EMAIL.placeholder, EMAIL.value)
TOKENS = ["Ask", " [", "EMAIL", "_abc", "defghij", "],", " says", " the page", " (", "source", "), é😀."]


def cited(text: str, piece: str = "(source)") -> dict[str, int]:
    return {"start_index": text.index(piece), "end_index": text.index(piece) + len(piece)}


ANSWERS: list[tuple[Any, Any]] = [
    (
        {"text": text, "annotations": [{"type": "url_citation", "url": "https://x.example", **cited(text)}]},
        {"content": text, "annotations": [{"type": "url_citation", "url_citation": {"title": "t", **cited(text)}}]},
        {"value": text, "annotations": [{"type": "file_citation", "text": "(source)", **cited(text)}]},
    )
    for text in (TEXT, SAID)
]


@pytest.mark.parametrize("number", [0, 1, 2], ids=["responses", "chat", "assistants"])
def test_citations_of_a_whole_answer_move(number: int) -> None:
    raw = b'{"x": 1.50, "part": ' + json.dumps(ANSWERS[0][number]).encode() + b"}"
    out = RESTORER.json(raw)
    assert json.loads(out)["part"] == ANSWERS[1][number]
    assert out.startswith(b'{"x": 1.50, "part": ')


def test_a_citation_of_the_value_itself_covers_it() -> None:
    note = {"type": "url_citation", **cited(TEXT, EMAIL.placeholder)}
    out = json.loads(RESTORER.json(json.dumps({"text": TEXT, "annotations": [note]}).encode()))
    assert out["annotations"][0] == {"type": "url_citation", **cited(SAID, EMAIL.value)}


def rows(tokens: list[str]) -> list[Any]:
    return [{"token": t, "logprob": -0.5, "bytes": list(t.encode()), "top_logprobs": []} for t in tokens]


def test_tokens_join_to_the_restored_text() -> None:
    choice = {"message": {"content": TEXT}, "logprobs": {"content": rows(TOKENS), "refusal": None}}
    out = json.loads(RESTORER.json(json.dumps({"choices": [choice]}).encode()))["choices"][0]
    told = out["logprobs"]["content"]
    assert "".join(row["token"] for row in told) == out["message"]["content"] == SAID
    assert b"".join(bytes(row["bytes"]) for row in told) == SAID.encode()
    assert [row["logprob"] for row in told] == [-0.5] * len(TOKENS)


def test_offsets_of_legacy_tokens_point_into_the_restored_text() -> None:
    starts = [len("".join(TOKENS[:i])) for i in range(len(TOKENS))]
    logprobs = {"tokens": TOKENS, "token_logprobs": [-0.5] * len(TOKENS), "text_offset": starts, "top_logprobs": None}
    out = json.loads(RESTORER.json(json.dumps({"choices": [{"text": TEXT, "logprobs": logprobs}]}).encode()))
    choice = out["choices"][0]
    for token, start in zip(choice["logprobs"]["tokens"], choice["logprobs"]["text_offset"], strict=True):
        assert choice["text"][start : start + len(token)] == token


def streamed(values: list[Any]) -> list[Any]:
    stream = StreamRestorer(RESTORER)
    return events(b"".join(stream.feed(event(v)) for v in values) + stream.finish())


def test_streamed_tokens_join_to_the_streamed_text() -> None:
    def chunk(token: str) -> Any:
        return {"choices": [{"index": 0, "delta": {"content": token}, "logprobs": {"content": rows([token])}}]}

    out = [v["choices"][0] for v in streamed([chunk(t) for t in TOKENS])]
    assert "".join(c["delta"]["content"] for c in out) == SAID
    told = [row for c in out for row in c["logprobs"]["content"]]
    assert "".join(row["token"] for row in told) == SAID
    assert b"".join(bytes(row["bytes"]) for row in told) == SAID.encode()


def test_streamed_offsets_of_legacy_tokens_point_into_the_streamed_text() -> None:
    def chunk(i: int) -> Any:
        told = {"tokens": [TOKENS[i]], "token_logprobs": [-0.5], "text_offset": [len("".join(TOKENS[:i]))]}
        return {"choices": [{"index": 0, "text": TOKENS[i], "logprobs": told}]}

    out = [v["choices"][0] for v in streamed([chunk(i) for i in range(len(TOKENS))])]
    text = "".join(c["text"] for c in out)
    assert text == SAID
    for choice in out:
        token, start = choice["logprobs"]["tokens"][0], choice["logprobs"]["text_offset"][0]
        assert text[start : start + len(token)] == token


def test_citations_that_come_between_the_pieces_move() -> None:
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    deltas: list[Any] = [{"type": "response.output_text.delta", "delta": t, "logprobs": [], **place} for t in TOKENS]
    note = {"type": "url_citation", "url": "https://x.example", **cited(TEXT)}
    added = {"type": "response.output_text.annotation.added", "annotation": note, "annotation_index": 0, **place}
    done = {"type": "response.output_text.done", "text": TEXT, **place}
    part = {"type": "response.content_part.done", "part": {"text": TEXT, "annotations": [note]}, **place}
    out = streamed([*deltas, added, done, part])
    assert out[-3]["annotation"] == note | cited(SAID)
    assert out[-2]["text"] == SAID
    assert out[-1]["part"] == {"text": SAID, "annotations": [note | cited(SAID)]}


def test_citations_in_deltas_move() -> None:
    chat = [{"choices": [{"index": 0, "delta": {"content": t}}]} for t in TOKENS]
    note = {"type": "url_citation", "url_citation": cited(TEXT)}
    last = {"choices": [{"index": 0, "delta": {"annotations": [note]}}]}
    assert streamed([*chat, last])[-1]["choices"][0]["delta"]["annotations"][0]["url_citation"] == cited(SAID)

    def message(text: str, *notes: Any) -> Any:
        part = {"index": 0, "type": "text", "text": {"value": text, "annotations": list(notes)}}
        return {"id": "msg_1", "object": "thread.message.delta", "delta": {"content": [part]}}

    out = streamed([*map(message, TOKENS[:-1]), message(TOKENS[-1], {"type": "file_citation", **cited(TEXT)})])
    part = out[-1]["delta"]["content"][0]["text"]
    assert part["annotations"] == [{"type": "file_citation", **cited(SAID)}]
