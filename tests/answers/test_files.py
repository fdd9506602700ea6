"""Files, batches and evals through the real client: the provider holds placeholders, their owner reads values."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from llmguard.config import Settings
from llmguard.testing import EchoUpstream, Fakes, LocalGuard

ANN, BOB = "ann@example.org", "bob@example.org"


@pytest.fixture(scope="module")
def upstream() -> Iterator[EchoUpstream]:
    with EchoUpstream() as running:
        yield running


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, upstream: EchoUpstream) -> Iterator[LocalGuard]:
    folder = tmp_path_factory.mktemp("guard")
    settings = Settings(
        data=folder / "data",
        credentials=folder / "credentials.json",
        upstream=upstream.url,
        upstream_key="provider-key",
        port=0,
        control_port=0,
        names=False,
    )
    with LocalGuard(settings) as running:
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


def test_a_large_output_comes_back_whole(ann: Any, upstream: EchoUpstream, fakes: Fakes) -> None:
    email = fakes.email()
    file = ann.files.create(file=("a.jsonl", jsonl(ask("a", email))), purpose="batch")
    begun = ann.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    output = ann.batches.retrieve(begun.id).output_file_id
    line = upstream.dialect.files.content(output).data
    upstream.dialect.files.put(output, line * 20_000, "batch_output")
    with ann.files.with_streaming_response.content(output) as answer:
        whole = b"".join(answer.iter_bytes())
    assert whole.count(email.encode()) == 20_000
    assert b"[EMAIL_" not in whole
