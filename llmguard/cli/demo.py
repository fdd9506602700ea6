"""``llmguard demo``: the whole story on this machine, without a key and without a network, in a temporary folder."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from llmguard import audit
from llmguard.audit import CHECKPOINTS
from llmguard.cli.client import ControlClient
from llmguard.config import DATABASE, Settings
from llmguard.errors import LLMGuardError, RequestRefused
from llmguard.policy import shipped
from llmguard.testing import EchoUpstream, Fakes, LocalGuard

ANN, BOB = "ann@example.org", "bob@example.org"
BULK = {
    "name": "many-cards",
    "when": 'size(findings.filter(f, f.type == "CREDIT_CARD")) >= 3',
    "verdict": "require_approval",
    "reason": "three or more card numbers in one call",
}


@click.command()
def demo() -> None:
    """See it work: redaction, streams, an approval and the log, on this machine, with no key and no network."""
    began = time.monotonic()
    screen = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    with tempfile.TemporaryDirectory(prefix="llmguard-demo-") as folder, EchoUpstream() as upstream:
        settings = Settings(
            data=Path(folder) / "data",
            cache=Path(folder) / "cache",  # nothing is left behind
            credentials=Path(folder) / "credentials.json",
            upstream=upstream.url,
            upstream_name="echo",
            upstream_key="key-of-the-provider",
            port=0,
            control_port=0,
            hold="ticket",
            rules=(BULK, *shipped()["rules"]),
        )
        with LocalGuard(settings) as local:
            story = _Story(screen, upstream, local)
            story.chat()
            story.stream()
            story.approval()
        _log(screen, settings, Path(folder))
    _next(screen, time.monotonic() - began)


class _Story:
    def __init__(self, screen: Console, upstream: EchoUpstream, local: LocalGuard) -> None:
        import openai

        self._screen = screen
        self._upstream = upstream
        self._local = local
        self._fakes = Fakes(time.time_ns())
        self._codes = {email: local.person(email) for email in (ANN, BOB)}
        self._key = local.key("demo-app", ANN)
        self._client = openai.OpenAI(base_url=local.url, api_key=self._key, max_retries=0)

    def _say(self, title: str, text: str) -> None:
        self._screen.print()
        self._screen.print(Text(title, style="bold"))
        self._screen.print(text)

    def _sides(self, wrote: str, saw: str, back: str, values: Sequence[str]) -> None:
        """The three views beside each other; what was hidden is marked in the first and last."""
        table = Table("the application sent", "the provider saw", "the application got back", expand=True)
        table.add_row(*(_marked(t, values) for t in (wrote, saw, back)))
        self._screen.print(table)

    def _seen(self) -> str:
        return str(self._upstream.received[-1].json()["messages"][-1]["content"])

    def chat(self) -> None:
        self._say("1  A chat", f"The real openai client, its base URL set to {self._local.url}")
        values = [self._fakes.card(), self._fakes.email(), self._fakes.cloud_key()]
        text = f"Charge card {values[0]} for {values[1]}; the bucket's key is {values[2]}."
        answer = self._client.chat.completions.create(model="demo", messages=[{"role": "user", "content": text}])
        back = answer.choices[0].message.content or ""
        self._sides(text, self._seen(), back, values)
        _expect(text in back and not any(v in self._seen() for v in values), "the chat was not redacted and restored")

    def stream(self) -> None:
        self._say("2  The same, streamed", "Pieces come as they are sent; a placeholder cut in two comes back whole.")
        values = [self._fakes.email(), self._fakes.token()]
        text = f"Send {values[1]} to {values[0]}, please."
        chunks = [
            c.choices[0].delta.content or ""
            for c in self._client.chat.completions.create(
                model="demo", messages=[{"role": "user", "content": text}], stream=True
            )
        ]
        self._sides(text, self._seen(), "│".join(c for c in chunks if c), values)
        _expect(text in "".join(chunks), "the stream was not restored")

    def approval(self) -> None:
        import openai

        cards = [self._fakes.card() for _ in range(3)]
        text = "Which of these cards is the oldest? " + ", ".join(cards)
        messages: Any = [{"role": "user", "content": text}]
        before = len(self._upstream.received)
        self._say("3  A call that people decide", "Three cards in one call: the policy holds it.")
        try:
            self._client.chat.completions.create(model="demo", messages=messages)
            _expect(False, "the call was not held")
        except openai.ConflictError as held:
            self._screen.print(f"[yellow]{type(held).__name__} {held.status_code}[/] {held.code}: {_message(held)}")
            id_ = str(held.response.headers["x-llmguard-approval"])
        _expect(len(self._upstream.received) == before, "a held call left")
        self._vote(ANN, id_, show=True)
        self._vote(BOB, id_)
        answer = self._client.chat.completions.create(model="demo", messages=messages)
        self._screen.print("The application sends the same call again:")
        self._sides(text, self._seen(), answer.choices[0].message.content or "", cards)
        again = self._client.chat.completions.create(model="demo", messages=messages)
        _expect(again == answer and len(self._upstream.received) == before + 1, "an approval was spent twice")
        self._screen.print("And once more: [green]the same answer[/], and nothing was sent. An approval sends once.")

    def _vote(self, email: str, id_: str, *, show: bool = False) -> None:
        with ControlClient(self._local.control_url) as door:
            token = door.post("/login", {"code": self._codes[email]})["token"]
        with ControlClient(self._local.control_url, token) as client:
            approval = client.get(f"/approvals/{id_}")
            if show:
                self._screen.print(Panel(_view(approval), title="what a reviewer sees", expand=False))
            try:
                after = client.post(f"/approvals/{id_}/votes", {"verdict": "approve", "digest": approval["digest"]})
                self._screen.print(f"[green]{email} approves:[/] {after['state']}")
            except RequestRefused as e:
                self._screen.print(f"[yellow]{email} tries to approve:[/] {e.message}")
                _expect(email == ANN, "a reviewer's vote was refused")
                return
        _expect(email != ANN, "the requester's own vote counted")


def _view(approval: dict[str, Any]) -> Text:
    egress, risk = approval["egress"], approval["risk"]
    lines = [
        ("asks", f"{approval['requester']['name']} for {approval['requester']['human']}"),
        ("sends to", f"{egress['destination']}  {egress['method']} {egress['url']}"),
        ("found", ", ".join(f"{n} × {t}" for t, n in approval["findings"].items())),
        ("risk", f"{risk['inherent']} as written, {risk['residual']} as it leaves"),
        ("rule", approval["rule"]),
        ("leaves", json.dumps(json.loads(egress["body"]["text"])["messages"][-1]["content"])),
        ("digest", egress["digest"]),
    ]
    text = Text()
    for label, value in lines:
        text.append(f"{label:>9}  ", style="bold").append(f"{value}\n")
    text.rstrip()
    return text


def _log(screen: Console, settings: Settings, folder: Path) -> None:
    """Verifies the log with what an auditor has, then a copy that somebody edited."""
    screen.print()
    screen.print(Text("4  The log", style="bold"))
    outside = settings.checkpoint_folder / CHECKPOINTS
    report = audit.verify(settings.data / DATABASE, outside)
    screen.print(
        f"[green]verified:[/] {report.entries} entries, {report.checkpoints} checkpoints outside, "
        f"{report.unwitnessed} entries not witnessed yet"
    )
    _expect(report.ok, "the log does not hold")
    copy = folder / "edited.db"
    shutil.copy(settings.data / DATABASE, copy)
    with sqlite3.connect(copy) as db:
        db.execute(
            "UPDATE audit_entries SET leaf = CAST(replace(CAST(leaf AS TEXT), 'require_approval', 'redact') AS BLOB)"
        )
    db.close()
    edited = audit.verify(copy, outside)
    _expect(not edited.ok, "an edited log was not noticed")
    screen.print(f"[yellow]an edited copy:[/] {edited.problems[0]}")


def _next(screen: Console, seconds: float) -> None:
    screen.print()
    screen.print(Text(f"That was all of it, in {seconds:.1f} s. Where to go next", style="bold"))
    screen.print("  guard a provider   LLMGUARD_UPSTREAM_KEY=… llmguard serve      then: llmguard keys add my-app")
    screen.print("  guard in code      client = llmguard.wrap(openai.OpenAI())")
    screen.print("  look at a file     llmguard scan FILE")


def _marked(text: str, values: Sequence[str]) -> Text:
    marked = Text(text)
    marked.highlight_words(list(values), style="bold red")
    marked.highlight_regex(r"\[[A-Z_]+_[a-z2-7]{10,}\]", style="bold green")
    return marked


def _message(error: Any) -> str:
    body = error.body
    return str(body.get("message", "")) if isinstance(body, dict) else ""


def _expect(holds: bool, otherwise: str) -> None:
    """The demo is also a check: it fails where what it tells is not so."""
    if not holds:
        raise LLMGuardError(f"the demo failed: {otherwise}")
