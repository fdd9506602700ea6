"""What a model writes is looked through: counted in the log, or the answer ends; never altered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest

from llmguard.config import Settings
from llmguard.guard import Guard
from llmguard.model import TextPart
from llmguard.streaming import Output
from llmguard.testing import EchoUpstream, Fakes
from llmguard.wrapper import wrap
from tests.answers.dialects import DIALECTS

SECRET = "ghp_" + "a1B2" * 9


@pytest.fixture
def upstream() -> Iterator[EchoUpstream]:
    with EchoUpstream() as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, upstream: EchoUpstream) -> Settings:
    return Settings(data=tmp_path / "data", upstream=upstream.url, names=False)


def ask(settings: Settings, text: str, stream: bool) -> str:
    """What an application gets to see of an answer, also of one that ends in an error, whose code stands behind it."""
    got: list[str] = []
    with Guard(settings) as guard, openai.OpenAI(base_url=settings.upstream + "/v1", api_key="k", max_retries=0) as own:
        client: Any = wrap(own, guard)
        messages: Any = [{"role": "user", "content": text}]
        try:
            if stream:
                for chunk in client.chat.completions.create(model="m", messages=messages, stream=True):
                    got.append(chunk.choices[0].delta.content or "")
            else:
                got.append(client.chat.completions.create(model="m", messages=messages).choices[0].message.content)
        except openai.APIError as e:
            got.append(f"!{e.code}")
    return "".join(got)


def outcome(settings: Settings) -> Any:
    with Guard(settings) as guard:
        rows = guard.store.read(lambda tx: tx.all("SELECT leaf FROM audit_entries WHERE kind = 'call.outcome'"))
    return json.loads(rows[-1]["leaf"])["details"]


ways = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])


@ways
@pytest.mark.parametrize("asked", ["hello", "I am {}"], ids=["nothing to restore", "restored"])
def test_findings_of_the_model_are_counted_and_nothing_is_altered(
    settings: Settings, upstream: EchoUpstream, fakes: Fakes, stream: bool, asked: str
) -> None:
    email, other = fakes.email(), fakes.email()
    echoed = asked.format(email)
    upstream.dialect.say = lambda body: f"{body['messages'][0]['content']}: {other}, {SECRET}"
    assert ask(settings, echoed, stream) == f"{echoed}: {other}, {SECRET}"
    assert outcome(settings)["output"] == {"EMAIL": 1, "GITHUB_TOKEN": 1}
    assert other not in json.dumps(outcome(settings))


@ways
def test_what_the_caller_said_himself_is_no_finding_of_the_model(
    settings: Settings, fakes: Fakes, stream: bool
) -> None:
    email = fakes.email()
    assert email in ask(settings, email, stream)
    assert "output" not in outcome(settings)


@ways
def test_a_finding_ends_the_answer_where_that_is_set(
    settings: Settings, upstream: EchoUpstream, fakes: Fakes, stream: bool
) -> None:
    settings = replace(settings, output_action="end")
    upstream.dialect.say = lambda _: f"Of course: {SECRET} and more"
    got = ask(settings, "hello", stream)
    assert got.endswith("!output_blocked")
    assert "and more" not in got
    assert SECRET not in got
    assert outcome(settings)["outcome"] == "output_blocked"
    assert outcome(settings)["output"]
    upstream.dialect.say = lambda _: "Of course not."
    assert ask(settings, "hello", stream) == "Of course not."


def test_characters_that_are_held_back_keep_the_whole_finding_from_leaving(
    settings: Settings, upstream: EchoUpstream
) -> None:
    upstream.dialect.say = lambda _: f"Of course: {SECRET} and more"
    settings = replace(settings, output_action="end", output_hold_chars=60)
    assert ask(settings, "hello", True) == "!output_blocked"
    upstream.dialect.say = lambda _: "Of course not. " * 10
    assert ask(settings, "hello", True) == "Of course not. " * 10


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.name)
def test_all_dialects_are_looked_through(dialect: Any) -> None:
    output = Output()
    for piece in ("key ", SECRET[:10], SECRET[10:], " end"):
        output.event(json.dumps(dialect.delta(0, piece)).encode())
    texts = {part.text for part in output.parts()}
    assert f"key {SECRET} end" in texts


def test_a_long_answer_is_looked_through_in_pieces_and_every_finding_counts_once(settings: Settings) -> None:
    output = Output()
    output.goes_on = True
    text = "".join(f"line {i}: write to someone{i}@example.org today. " for i in range(400))
    with Guard(settings) as guard:
        for at in range(0, len(text), 700):
            output.add(("choice", "0"), text[at : at + 700])
            output.note(guard.scanner.engine.scan(output.parts()))
        output.goes_on = False
        output.note(guard.scanner.engine.scan(output.parts()))
    assert dict(output.found) == {"EMAIL": 400}


def test_embeddings_pictures_and_ids_are_no_words_of_the_model() -> None:
    output = Output()
    output.whole({"data": [{"b64_json": "AAAA", "embedding": [1]}], "id": "resp_1", "object": "list"})
    assert output.parts() == ()
    output.whole({"id": "resp_1", "instructions": "mine", "output": [{"content": [{"text": "its"}]}]})
    assert [part.text for part in output.parts()] == ["its"]
    assert isinstance(output.parts(), tuple)
    assert not [p for p in output.parts() if not isinstance(p, TextPart)]
