"""Forms through every way in: what the SDK's methods that take files send, what arrives, and what comes back."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import openai
import pytest

from llmguard.testing import EchoUpstream, Fakes
from llmguard.testing.files import File, form
from tests.clients.callers import nothing_of


def fields(upstream: EchoUpstream, number: int = -1) -> Any:
    """The form of a request that arrived."""
    received = upstream.received[number]
    return form(dict(received.headers)["content-type"], received.body)


@pytest.mark.parametrize("given", ["bytes", "file object", "tuple", "path"])
def test_a_file_arrives_redacted_and_is_read_back(
    caller: Any, upstream: EchoUpstream, fakes: Fakes, tmp_path: Path, given: str
) -> None:
    email = fakes.email()
    text = f"Write to {email}.\n"
    path = tmp_path / "notes.txt"
    path.write_text(text)
    files: dict[str, Any] = {
        "bytes": text.encode(),
        "file object": io.BytesIO(text.encode()),
        "tuple": ("notes.txt", text.encode(), "text/plain"),
        "path": path,
    }
    made = caller.do(lambda client: client.files.create(file=files[given], purpose="user_data"))
    nothing_of([email], upstream)
    arrived = fields(upstream)
    assert arrived["purpose"] == "user_data"
    assert arrived["file"].data.startswith(b"Write to [EMAIL_")
    assert made.purpose == "user_data"
    assert caller.do(lambda client: client.files.content(made.id)).text == text


def test_the_name_of_a_file_comes_back(caller: Any, upstream: EchoUpstream, fakes: Fakes) -> None:
    email = fakes.email()
    made = caller.do(lambda client: client.files.create(file=(f"{email}.txt", b"x"), purpose="user_data"))
    nothing_of([email], upstream)
    assert made.filename == f"{email}.txt"


def test_an_upload_in_parts_arrives_whole_and_redacted(
    caller: Any, upstream: EchoUpstream, fakes: Fakes, tmp_path: Path
) -> None:
    email = fakes.email()
    raw = json.dumps({"note": f"write to {email} please"}).encode() + b"\n"
    path = tmp_path / "data.jsonl"
    path.write_bytes(raw)
    size = raw.index(email.encode()) + 3
    upload = caller.do(
        lambda client: client.uploads.upload_file_chunked(
            file=path, mime_type="application/jsonl", purpose="user_data", part_size=size
        )
    )
    assert upload.status == "completed"
    nothing_of([email], upstream)
    assert caller.do(lambda client: client.files.content(upload.file.id)).content == raw


def test_a_transcription_is_asked_for_with_a_redacted_prompt(caller: Any, upstream: EchoUpstream, fakes: Fakes) -> None:
    email = fakes.email()
    caller.do(
        lambda client: client.audio.transcriptions.create(
            file=("a.txt", b"all is well"),
            model="whisper-1",
            prompt=f"The speaker is {email}",
            include=["logprobs"],
            chunking_strategy={"type": "server_vad", "threshold": 0.5},
            response_format="json",
        )
    )
    nothing_of([email], upstream)
    arrived = fields(upstream)
    assert arrived["prompt"].startswith("The speaker is [EMAIL_")
    assert arrived["include[]"] == "logprobs"
    assert (arrived["chunking_strategy[type]"], arrived["chunking_strategy[threshold]"]) == ("server_vad", "0.5")
    assert arrived["file"] == File("a.txt", b"all is well")


def test_a_file_of_a_container_and_the_files_of_a_skill_arrive_redacted(
    caller: Any, upstream: EchoUpstream, fakes: Fakes
) -> None:
    email = fakes.email()
    data = f"Write to {email}.".encode()
    caller.do(lambda client: client.containers.files.create("cntr_1", file=("a.md", data)))
    if hasattr(caller.client, "skills"):
        caller.do(lambda client: client.skills.create(files=[("a/SKILL.md", data), ("a/b.md", data)]))
        assert upstream.received[-1].body.count(b"[EMAIL_") == 2
    nothing_of([email], upstream)


def test_a_picture_to_edit_waits_for_people(caller: Any, upstream: EchoUpstream, fakes: Fakes) -> None:
    """Pictures are nothing that the guard reads: the shipped policy holds the call, and nothing has left."""
    with pytest.raises(openai.APIError) as refused:
        caller.do(
            lambda client: client.with_options(timeout=5.5).images.edit(
                image=("a.png", b"\x89PNG\r\n\x1a\n" + bytes(40)),
                prompt=f"without {fakes.email()}",
                model="gpt-image-1",
            )
        )
    assert refused.value.code in ("approval_pending", "approval_impossible")
    assert upstream.received == []


def test_what_cannot_be_looked_through_is_a_typed_refusal(caller: Any, upstream: EchoUpstream) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        caller.do(lambda client: client.files.create(file=("a.jsonl", b'{"messages": [\n'), purpose="fine-tune"))
    assert refused.value.code == "unscannable_request"
    assert "line 1" in str(refused.value)
    assert upstream.received == []
