"""Files, batches and evals through the real client: the provider holds placeholders, their owner reads values."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

import llmguard
from llmguard.config import Settings
from llmguard.guard import Guard
from llmguard.identity import Person
from llmguard.testing import EchoUpstream, Fakes, LocalGuard

ANN, BOB = "ann@example.org", "bob@example.org"


@pytest.fixture(scope="module")
def upstream() -> Iterator[EchoUpstream]:
    with EchoUpstream() as running:
        yield running


def settings_of(folder: Path, upstream: EchoUpstream, **more: Any) -> Settings:
    return Settings(
        data=folder / "data",
        credentials=folder / "credentials.json",
        upstream=upstream.url,
        upstream_key="provider-key",
        port=0,
        control_port=0,
        names=False,
        **more,
    )


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, upstream: EchoUpstream) -> Iterator[LocalGuard]:
    with LocalGuard(settings_of(tmp_path_factory.mktemp("guard"), upstream)) as running:
        running.person(ANN)
        running.person(BOB)
        yield running


@pytest.fixture(scope="module")
def client_of(local: LocalGuard) -> Iterator[Callable[[str], Any]]:
    clients: dict[str, Any] = {}

    def client(who: str) -> Any:
        if who not in clients:
            key = local.key(f"key{len(clients)}", who)
            clients[who] = openai.OpenAI(base_url=local.url, api_key=key, max_retries=0)
        return clients[who]

    yield client
    for made in clients.values():
        made.close()


@pytest.fixture
def ann(client_of: Callable[[str], Any], upstream: EchoUpstream) -> Any:
    upstream.received.clear()
    return client_of(ANN)


def jsonl(*values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def ask(name: str, text: str, **more: Any) -> Any:
    """A line of a batch."""
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], **more}
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}


def nothing_of(values: list[str], upstream: EchoUpstream) -> None:
    assert upstream.received
    for received in upstream.received:
        assert not [value for value in values if value.encode() in received.body]


def test_a_batch_comes_back_with_the_values_that_were_sent(
    ann: Any, client_of: Callable[[str], Any], upstream: EchoUpstream, fakes: Fakes
) -> None:
    emails = [fakes.email() for _ in range(40)]
    tool = {"type": "function", "function": {"name": "write", "parameters": {"type": "object"}}}
    rows = [ask(f"row-{i}", f'I am "{email}"\nHello') for i, email in enumerate(emails)]
    rows += [ask("fails", emails[0]), ask("called", emails[1], tools=[tool])]
    file = ann.files.create(file=("batch.jsonl", jsonl(*rows)), purpose="batch")
    nothing_of(emails, upstream)

    begun = ann.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    batch = ann.batches.retrieve(begun.id)
    out = [json.loads(line) for line in ann.files.content(batch.output_file_id).text.splitlines()]
    said = {row["custom_id"]: row["response"]["body"]["choices"][0]["message"] for row in out}
    wanted = {f"row-{i}": f'You wrote: I am "{email}"\nHello' for i, email in enumerate(emails)}
    assert {name: message["content"] for name, message in said.items() if name in wanted} == wanted
    arguments = said["called"]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(arguments) == {"echo": f"You wrote: {emails[1]}"}
    errors = ann.files.content(batch.error_file_id).text
    assert emails[0] in json.loads(errors)["error"]["message"]
    assert ann.files.content(file.id).content == jsonl(*rows)

    bob = client_of(BOB)
    bob.batches.retrieve(batch.id)
    for name in (batch.output_file_id, batch.error_file_id, file.id):
        other = bob.files.content(name).content
        assert b"[EMAIL_" in other
        assert not [email for email in emails if email.encode() in other]
    nothing_of(emails, upstream)


def test_who_only_lists_batches_reads_their_output_too(ann: Any, fakes: Fakes) -> None:
    email = fakes.email()
    file = ann.files.create(file=("batch.jsonl", jsonl(ask("a", email))), purpose="batch")
    begun = ann.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"for": email}
    )
    listed = next(batch for batch in ann.batches.list().data if batch.id == begun.id)
    assert begun.metadata == listed.metadata == {"for": email}
    assert email in ann.files.content(listed.output_file_id).text


def test_a_colleague_with_another_key_of_the_same_person_reads_it_too(
    local: LocalGuard, ann: Any, fakes: Fakes
) -> None:
    email = fakes.email()
    file = ann.files.create(file=("notes.txt", f"Write to {email}.\n".encode()), purpose="user_data")
    with openai.OpenAI(base_url=local.url, api_key=local.key("later", ANN), max_retries=0) as other:
        assert other.files.content(file.id).text == f"Write to {email}.\n"


def test_an_upload_in_parts_comes_back_also_what_stood_over_their_ends(
    ann: Any, upstream: EchoUpstream, fakes: Fakes, tmp_path: Path
) -> None:
    emails = [fakes.email() for _ in range(60)]
    raw = jsonl(*(ask(f"row-{i}", email) for i, email in enumerate(emails)))
    path = tmp_path / "batch.jsonl"
    path.write_bytes(raw)
    upload = ann.uploads.upload_file_chunked(
        file=path, mime_type="application/jsonl", purpose="batch", part_size=raw.index(emails[7].encode()) + 4
    )
    assert upload.status == "completed"
    nothing_of([*emails, f'"content": "{emails[7][:4]}'], upstream)
    assert ann.files.content(upload.file.id).content == raw
    begun = ann.batches.create(input_file_id=upload.file.id, endpoint="/v1/chat/completions", completion_window="24h")
    out = ann.files.content(ann.batches.retrieve(begun.id).output_file_id).text
    assert not [email for email in emails if email not in out]


def test_items_of_an_eval_run_come_back_with_the_values_of_its_file_and_its_own(
    ann: Any, upstream: EchoUpstream, fakes: Fakes
) -> None:
    emails = [fakes.email() for _ in range(3)]
    file = ann.files.create(
        file=("items.jsonl", jsonl(*({"item": {"q": email}} for email in emails[:2]))), purpose="evals"
    )
    config = {"type": "custom", "item_schema": {"type": "object", "properties": {"q": {"type": "string"}}}}
    eval_ = ann.evals.create(data_source_config=config, testing_criteria=[], name=f"for {emails[2]}")
    assert ann.evals.retrieve(eval_.id).name == f"for {emails[2]}"
    sources: list[tuple[Any, list[str]]] = [
        ({"type": "file_id", "id": file.id}, emails[:2]),
        ({"type": "file_content", "content": [{"item": {"q": emails[2]}}]}, emails[2:]),
    ]
    for source, wanted in sources:
        run = ann.evals.runs.create(eval_.id, data_source={"type": "jsonl", "source": source})
        items = ann.evals.runs.output_items.list(run.id, eval_id=eval_.id).data
        assert [item.datasource_item["q"] for item in items] == wanted
        assert [item.sample.output[0].content for item in items] == [f'You wrote: {{"q": "{w}"}}' for w in wanted]
    nothing_of(emails, upstream)


def test_bytes_of_a_file_that_is_no_text_come_back_as_they_are(ann: Any, upstream: EchoUpstream) -> None:
    raw = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4000
    upstream.dialect.files.put("file-picture", raw, "vision", "a.png")
    assert ann.files.content("file-picture").content == raw


def test_a_part_of_a_file_passes_as_the_provider_has_it(ann: Any, upstream: EchoUpstream, fakes: Fakes) -> None:
    file = ann.files.create(file=("notes.txt", f"Write to {fakes.email()}.\n".encode()), purpose="user_data")
    kept = upstream.dialect.files.content(file.id).data
    answer = ann.files.with_raw_response.content(file.id, extra_headers={"range": "bytes=3-20"})
    assert (answer.status_code, answer.content) == (206, kept[3:21])


def test_what_people_approved_is_restored_for_the_caller(
    tmp_path: Path, upstream: EchoUpstream, fakes: Fakes, compiled_detectors: Path
) -> None:
    hold = {"name": "files", "when": "call.operation == 'files.create'", "verdict": "require_approval"}
    settings = settings_of(tmp_path, upstream, rules=(hold,), hold_wait=0.1)
    email = fakes.email()
    with LocalGuard(settings) as local:
        for person in (ANN, BOB):
            local.person(person)
        with openai.OpenAI(base_url=local.url, api_key=local.key("held", ANN), max_retries=0) as client:

            def upload() -> Any:
                return client.files.create(file=("notes.txt", f"Write to {email}.\n".encode()), purpose="user_data")

            with pytest.raises(openai.APIStatusError):
                upload()
            approve(local.guard)
            assert client.files.content(upload().id).text == f"Write to {email}.\n"
            assert client.files.content(upload().id).text == f"Write to {email}.\n"


def approve(guard: Guard) -> None:
    """All that waits, by Bob."""
    bob = Person("default", BOB, (), True, 0)
    for waiting in guard.store.read(lambda tx: guard.approvals.list(tx, "default"))[0]:
        guard.store.transact(
            lambda tx, a=waiting: guard.approvals.vote(tx, "default", a.id, bob, "approve", a.egress_digest)  # type: ignore[misc]
        )


def test_a_wrapped_client_reads_its_batch_too(tmp_path: Path, upstream: EchoUpstream, fakes: Fakes) -> None:
    email = fakes.email()
    own = openai.OpenAI(base_url=upstream.url + "/v1", api_key="own-key", max_retries=0)
    with Guard(settings_of(tmp_path, upstream)) as guard, llmguard.wrap(own, guard) as client:
        file = client.files.create(file=("batch.jsonl", jsonl(ask("a", email))), purpose="batch")
        begun = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
        assert email in client.files.content(client.batches.retrieve(begun.id).output_file_id).text
    nothing_of([email], upstream)


def test_a_large_output_comes_back_whole(ann: Any, upstream: EchoUpstream, fakes: Fakes) -> None:
    email = fakes.email()
    file = ann.files.create(file=("a.jsonl", jsonl(ask("a", email))), purpose="batch")
    begun = ann.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    output = ann.batches.retrieve(begun.id).output_file_id
    line = upstream.dialect.files.content(output).data
    upstream.dialect.files.put(output, line * 2_000, "batch_output")
    with ann.files.with_streaming_response.content(output) as answer:
        whole = b"".join(answer.iter_bytes())
    assert whole.count(email.encode()) == 2_000
    assert b"[EMAIL_" not in whole
