"""Training data on its way: a guard on loopback, people, an uploader with the real client, and what arrived."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
import openai

from llmguard import identity
from llmguard.config import Settings
from llmguard.identity import Cause
from llmguard.testing import EchoUpstream, Fakes, LocalGuard
from llmguard.testing.files import File, form
from tests.desks import ANN, BO, CY, DEE

CARD = " ".join(["4012", "8888", "8888", "1881"])
COUNT = 24


def row(user: str, number: int) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": user}, {"role": "assistant", "content": f"Done, {number}."}]}


def rows(mails: list[str]) -> list[dict[str, Any]]:
    """Every third record has a mail and a card."""
    return [
        row(f"Write to {mails[i]} of card {CARD}, ticket {i}." if i % 3 == 0 else f"Where is page {i}?", i)
        for i in range(COUNT)
    ]


def jsonl(values: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


class Life:
    """``ann`` uploads; Bo and Cy review, Dee is of another group. ``desk`` and ``url``: what a Visitor needs."""

    def __init__(self, local: LocalGuard, upstream: EchoUpstream, fakes: Fakes) -> None:
        self.local, self.upstream = local, upstream
        self.guard, self.url = local.guard, local.control_url
        self.desk = self
        for email, group in ((ANN, "reviewers"), (BO, "reviewers"), (CY, "reviewers"), (DEE, "security")):
            local.person(email, group)
        self.client = openai.OpenAI(base_url=local.url, api_key=local.key("pipeline", ANN), max_retries=0)
        self.mails = [fakes.email() for _ in range(COUNT)]
        self.data = jsonl(rows(self.mails))

    def session(self, email: str) -> str:
        guard, tenant = self.guard, self.local.settings.tenant

        def work(tx: Any) -> str:
            code = identity.issue_code(tx, guard.vault, tenant, email, Cause("test"))
            return identity.login(tx, guard.vault, code).token

        return guard.store.transact(work)

    def call(self, method: str, path: str, who: str, **more: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.session(who)}"}
        with httpx.Client(base_url=f"{self.url}/guard/v1", trust_env=False, timeout=60) as client:
            return client.request(method, path, headers=headers, **more)

    def get(self, path: str, who: str = BO) -> Any:
        answer = self.call("GET", path, who)
        assert answer.status_code == 200, answer.text
        return answer.json()

    # ----------------------------------------------------------------- what they do

    def upload(self, data: bytes | None = None, name: str = "train.jsonl") -> Any:
        return self.client.files.create(file=(name, self.data if data is None else data), purpose="fine-tune")

    def held(self, data: bytes | None = None, name: str = "train.jsonl") -> dict[str, Any]:
        """The approval of an upload, as Bo sees it."""
        try:
            self.upload(data, name)
        except openai.ConflictError as e:
            found: dict[str, Any] = self.get(f"/approvals/{e.body['approval_id']}")  # type: ignore[index]
            return found
        raise AssertionError("it was not held")

    def decide(self, held: dict[str, Any], who: str = BO, **decisions: str) -> httpx.Response:
        """``decide(a, r3="drop")``: record 3 is dropped; ``r3_7``: 3 to 7."""
        named = {name[1:].replace("_", "-"): choice for name, choice in decisions.items()}
        body = {"digest": held["digest"], "version": held["version"], "decisions": named}
        return self.call("POST", f"/approvals/{held['id']}/records", who, json=body)

    def vote(self, held: dict[str, Any], who: str) -> httpx.Response:
        body = {"verdict": "approve", "digest": held["digest"]}
        return self.call("POST", f"/approvals/{held['id']}/votes", who, json=body)

    def received(self) -> list[File]:
        """The files that reached the provider."""
        forms = [form(dict(r.headers).get("content-type", ""), r.body) for r in self.upstream.received]
        return [value for fields in forms for value in fields.values() if isinstance(value, File)]

    def log(self) -> list[tuple[str, str]]:
        found = self.guard.store.read(lambda tx: tx.all("SELECT kind, leaf FROM audit_entries ORDER BY idx"))
        return [(r["kind"], bytes(r["leaf"]).decode()) for r in found]


@contextmanager
def living(settings: Settings, upstream: EchoUpstream, fakes: Fakes, **more: Any) -> Iterator[Life]:
    known = {"names": False, "hold": "ticket", **more}
    with LocalGuard(replace(settings, **known)) as local:
        life = Life(local, upstream, fakes)
        try:
            yield life
        finally:
            life.client.close()


def lines_of(file: File) -> list[Any]:
    return [json.loads(line) for line in file.data.splitlines()]


def numbers(lines: list[Any]) -> list[int]:
    """Which records they are, from 1."""
    return [int(re.search(r"Done, (\d+)\.", line["messages"][1]["content"])[1]) + 1 for line in lines]  # type: ignore[index]
