"""What was stored comes back restored to whoever may read it: after a restart, and to nobody else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
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


@dataclass
class Site:
    """A guard that can be restarted, and the keys of four callers: two of Ann's, one of Bob's, and a stranger's own."""

    settings: Settings
    local: LocalGuard
    keys: dict[str, str]
    clients: list[Any] = field(default_factory=list)

    def client(self, who: str) -> Any:
        self.clients.append(openai.OpenAI(base_url=self.local.url, api_key=self.keys[who], max_retries=0))
        return self.clients[-1]

    def stop(self) -> None:
        for client in self.clients:
            client.close()
        self.local.stop()

    def restart(self) -> None:
        self.stop()
        self.local = LocalGuard(self.settings)
        self.local.__enter__()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, upstream: EchoUpstream) -> Iterator[Site]:
    tmp_path = tmp_path_factory.mktemp("site")
    settings = Settings(
        data=tmp_path / "data",
        credentials=tmp_path / "credentials.json",
        upstream=upstream.url,
        upstream_key="provider-key",
        pass_through=True,
        port=0,
        control_port=0,
        names=False,
    )
    local = LocalGuard(settings)
    local.__enter__()
    for person in (ANN, BOB):
        local.person(person)
    keys = {"same": local.key("one", ANN), "other key": local.key("two", ANN), "colleague": local.key("three", BOB)}
    made = Site(replace(settings), local, keys | {"other tenant": "sk-of-somebody-else"})
    yield made
    made.stop()


def respond(client: Any, text: str, stream: bool, **asked: Any) -> str:
    """The id of a response."""
    if not stream:
        return str(client.responses.create(model="m", input=text, **asked).id)
    with client.responses.stream(model="m", input=text, **asked) as events:
        return str(events.get_final_response().id)


def response_of(client: Any, text: str, stream: bool) -> Callable[[Any], str]:
    name = respond(client, text, stream)
    return lambda reader: str(reader.responses.retrieve(name).output_text)


def streamed_response_of(client: Any, text: str, stream: bool) -> Callable[[Any], str]:
    name = respond(client, text, stream)

    def read(reader: Any) -> str:
        events = list(reader.responses.retrieve(name, stream=True))
        joined = "".join(e.delta for e in events if e.type == "response.output_text.delta")
        assert joined == events[-1].response.output_text
        assert [e.sequence_number for e in events] == list(range(len(events)))
        return joined

    return read


def input_of(client: Any, text: str, stream: bool) -> Callable[[Any], str]:
    name = respond(client, text, stream)
    return lambda reader: str(reader.responses.input_items.list(name).data[0].content[0].text)


def continued(client: Any, text: str, stream: bool) -> Callable[[Any], str]:
    """The third of a chain: only the first was told the value."""
    first = respond(client, text, stream)
    second = respond(client, "and on", stream, previous_response_id=first)

    def read(reader: Any) -> str:
        with reader.responses.stream(model="m", input="again", previous_response_id=second) as events:
            return str(events.get_final_response().output_text)

    return read


def referred(client: Any, text: str, stream: bool) -> Callable[[Any], str]:
    name = respond(client, text, stream)
    item = client.responses.retrieve(name).output[0].id
    return lambda reader: str(
        reader.responses.create(model="m", input=[{"type": "item_reference", "id": item}]).output_text
    )


def conversation(client: Any, text: str, stream: bool) -> Callable[[Any], str]:
    name = client.conversations.create().id
    respond(client, text, stream, conversation=name)
    return lambda reader: str(reader.conversations.items.list(name).data[-1].content[0].text)


def completion(client: Any, text: str, stream: bool) -> Callable[[Any], str]:
    asked: Any = {"model": "m", "messages": [{"role": "user", "content": text}], "store": True}
    if stream:
        with client.chat.completions.stream(**asked) as events:
            name = events.get_final_completion().id
    else:
        name = client.chat.completions.create(**asked).id
    return lambda reader: str(reader.chat.completions.retrieve(name).choices[0].message.content)


def thread(client: Any, text: str, stream: bool) -> Callable[[Any], str]:
    beta = client.beta.threads
    name = beta.create().id
    beta.messages.create(name, role="user", content=text)
    if stream:
        with beta.runs.stream(thread_id=name, assistant_id="asst_0") as events:
            events.until_done()
    else:
        beta.runs.create(thread_id=name, assistant_id="asst_0")
    return lambda reader: str(reader.beta.threads.messages.list(name).data[-1].content[0].text.value)


STORED = [response_of, streamed_response_of, input_of, continued, referred, conversation, completion, thread]
CASES = [(store, stream) for store in STORED for stream in (False, True)]


@dataclass(frozen=True)
class Stored:
    """How it is read, and what its owner reads there, and everybody else."""

    read: Callable[[Any], str]
    wanted: str
    hidden: str


class Model:
    """Says the first placeholder that it was told since ``told`` was emptied."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def __call__(self, body: Any) -> str:
        asked = str(body)
        if "[EMAIL_" in asked and not self.told:
            self.told.append(asked[asked.index("[EMAIL_") :].partition("]")[0] + "]")
        return f"Write to {self.told[0]}."


@pytest.fixture(scope="module")
def stored(site: Site, upstream: EchoUpstream) -> dict[tuple[str, bool], Stored]:
    """Everything, stored by one process of the guard; a later one runs."""
    fakes, model = Fakes(5), Model()
    upstream.dialect.say = model
    found = {}
    for store, stream in CASES:
        email = fakes.email()
        model.told.clear()
        read = store(site.client("same"), f"I am {email}", stream)
        wanted = "I am {}" if store is input_of else "Write to {}."
        found[store.__name__, stream] = Stored(read, wanted.format(email), wanted.format(model.told[0]))
        assert not [r for r in upstream.received if email.encode() in r.body]
    site.restart()
    return found


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the SDK says it of assistants
@pytest.mark.parametrize(
    ("store", "stream"), CASES, ids=[f"{f.__name__}-{'streamed' if s else 'plain'}" for f, s in CASES]
)
def test_what_was_stored_is_restored_for_its_owner_alone_also_after_a_restart(
    site: Site, upstream: EchoUpstream, stored: dict[tuple[str, bool], Stored], store: Any, stream: bool
) -> None:
    case = stored[store.__name__, stream]
    upstream.dialect.say = lambda _: case.hidden
    assert {who: case.read(site.client(who)) for who in site.keys} == {
        "same": case.wanted,
        "other key": case.wanted,
        "colleague": case.hidden,
        "other tenant": case.hidden,
    }
