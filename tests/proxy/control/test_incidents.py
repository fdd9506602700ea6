"""After an incident, on a real guard: where a value went, and what today's detectors find in what was held then."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from llmguard import audit, identity
from llmguard.guard import Guard
from llmguard.testing import LocalGuard
from tests.desks import ANN, BO

VALUE, CARD = "jane.roe@example.org", "4111 1111 1111 1111"
RULES = (
    {"name": "cards", "when": "findings.exists(f, f.type == 'CREDIT_CARD')", "verdict": "require_approval"},
    {"name": "open", "when": "call.operation == 'embeddings.create'", "verdict": "allow"},
)
NEW_DETECTOR = """
[[detector]]
id = "internal.project.code"
type = "PROJECT_CODE"
category = "internal"
severity = "high"
confidence = 0.9
keywords = []
pattern = '''\\bPRJ-[0-9]{6}\\b'''
match = ["«PRJ-123456»"]
no_match = ["PRJ-1"]
source = "ours"
"""


class Office:
    """A guard, its callers and somebody of a group."""

    def __init__(self, local: LocalGuard) -> None:
        self.local = local
        self.guard: Guard = local.guard
        self.session = self._login(BO, "reviewers")

    def _login(self, email: str, *groups: str) -> str:
        guard, code = self.guard, self.local.person(email, *groups)
        return guard.store.transact(lambda tx: identity.login(tx, guard.vault, code)).token

    def stranger(self) -> str:
        guard, change = self.guard, identity.PersonChange("eve@example.com", (), True)
        cause = identity.Cause("test")
        guard.store.transact(lambda tx: identity.apply(tx, guard.vault, guard.settings.tenant, change, cause))
        code = guard.store.transact(
            lambda tx: identity.issue_code(tx, guard.vault, guard.settings.tenant, "eve@example.com", cause)
        )
        return guard.store.transact(lambda tx: identity.login(tx, guard.vault, code)).token

    def send(self, path: str, **body: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.key}", "x-llmguard-mode": "ticket"}
        with httpx.Client(trust_env=False) as client:
            return client.post(f"{self.local.url}{path}", json={"model": "m", **body}, headers=headers)

    @property
    def key(self) -> str:
        if not hasattr(self, "_key"):
            self.local.person(ANN)
            self._key = self.local.key("app", ANN)
        return self._key

    def chat(self, text: str) -> httpx.Response:
        return self.send("/chat/completions", messages=[{"role": "user", "content": text}])

    def ask(self, what: str, session: str = "", **body: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {session or self.session}"}
        with httpx.Client(trust_env=False) as client:
            return client.post(f"{self.local.control_url}/guard/v1/incidents/{what}", json=body, headers=headers)

    def log(self, kind: str) -> list[dict[str, Any]]:
        found = self.guard.store.read(lambda tx: audit.entries_of(tx, self.guard.settings.tenant, -1, 10_000)[0])
        return [json.loads(e.leaf) for e in found if e.kind == kind]


@pytest.fixture
def office(local_with: Callable[..., LocalGuard]) -> Office:
    return Office(local_with(rules=RULES, names=False))


def test_where_a_value_went_how_it_left_and_who_asked(office: Office) -> None:
    assert office.chat(f"write to {VALUE}").status_code == 200
    assert office.send("/embeddings", input=f"write to {VALUE}").status_code == 200
    assert office.chat(f"{VALUE} pays with card {CARD}").status_code == 409
    office.chat("nothing in it")
    answer = office.ask("where", value=VALUE).json()
    told = [(c["operation"], c["verdict"], c["left"], c["state"]) for c in answer["calls"]]
    assert told == [
        ("chat.completions.create", "require_approval", "waiting", "PENDING"),
        ("embeddings.create", "allow", "as_written", ""),
        ("chat.completions.create", "redact", "redacted", ""),
    ]
    assert {c["human"] for c in answer["calls"]} == {ANN}
    assert {t for c in answer["calls"] for t in c["types"]} == {"EMAIL"}
    assert answer["types"] == len(office.guard.scanner.types)
    [entry] = office.log("incident.where")
    assert hashlib.sha256(bytes.fromhex(answer["salt"]) + VALUE.encode()).hexdigest() == answer["commitment"]
    assert answer["commitment"] in json.dumps(entry)
    assert BO in json.dumps(entry)
    assert answer["salt"] not in json.dumps(entry)
    assert VALUE not in json.dumps(entry) + json.dumps(answer)


def test_it_is_found_in_the_spellings_that_are_tried_and_in_pages(office: Office) -> None:
    for _ in range(3):
        office.chat(f"her card {CARD}")
    for spelling in (CARD, "4111-1111-1111-1111", "4111111111111111", f" {CARD} "):
        assert len(office.ask("where", value=spelling, type="CREDIT_CARD").json()["calls"]) == 3
    office.chat(f"write to {VALUE}")
    assert len(office.ask("where", value=VALUE.upper()).json()["calls"]) == 1
    assert office.ask("where", value=VALUE, type="PHONE").json()["calls"] == []
    first = office.ask("where", value=CARD, limit=2).json()
    rest = office.ask("where", value=CARD, limit=2, cursor=first["next"]).json()
    assert (len(first["calls"]), len(rest["calls"]), rest["next"]) == (2, 1, None)
    assert first["calls"][-1]["call"] > rest["calls"][0]["call"]
    assert len(office.log("incident.where")) == 8  # also what found nothing


def test_incidents_are_for_people_of_a_group(office: Office) -> None:
    stranger = office.stranger()
    assert office.ask("where", session=stranger, value=VALUE).status_code == 403
    assert office.ask("rescan", session=stranger).status_code == 403
    assert office.log("incident.where") == office.log("incident.rescan") == []


def test_what_a_new_detector_finds_in_what_was_held_before_it(
    local_with: Callable[..., LocalGuard], tmp_path: Path
) -> None:
    before = Office(local_with(rules=RULES, names=False))
    assert before.chat(f"PRJ-123456 and card {CARD}").status_code == 409
    assert before.chat(f"only the card {CARD}").status_code == 409
    assert before.ask("rescan").json() == {"approvals": [], "looked": 2, "next": None}
    before.local.stop()
    added = tmp_path / "added.toml"
    added.write_text(NEW_DETECTOR)
    today = Office(local_with(rules=RULES, names=False, detectors=(added,)))
    [missed] = today.ask("rescan").json()["approvals"]
    assert (missed["missed"], missed["left"], missed["problem"]) == ({"PROJECT_CODE": 1}, {"PROJECT_CODE": 1}, "")
    assert (missed["state"], missed["operation"]) == ("PENDING", "chat.completions.create")
    pages, cursor = [], {}
    while True:
        page = today.ask("rescan", limit=1, **cursor).json()
        pages += page["approvals"]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert pages == [missed]
    later = {"since": missed["created"] + 60_000}
    assert today.ask("rescan", **later).json() == {"approvals": [], "looked": 0, "next": None}
    entries = today.log("incident.rescan")
    assert len(entries) == 5
    assert "PRJ" not in json.dumps(entries)


def test_what_was_erased_or_altered_is_not_looked_through(office: Office) -> None:
    for text in ("one", "two"):
        assert office.chat(f"{text} {CARD}").status_code == 409
    store = office.guard.store
    ids = store.read(lambda tx: [r["id"] for r in tx.all("SELECT id FROM approvals ORDER BY id")])
    store.transact(lambda tx: tx.run("UPDATE approval_payloads SET original = NULL WHERE id = ?", ids[0]))
    store.transact(lambda tx: tx.run("UPDATE approval_payloads SET original = x'0000' WHERE id = ?", ids[1]))
    answer = office.ask("rescan").json()
    assert answer["looked"] == 1
    assert [(a["approval"], a["problem"]) for a in answer["approvals"]] == [(ids[1], "guard_unavailable")]


def test_calls_are_forgotten_when_their_time_is_over_and_the_log_still_holds(office: Office) -> None:
    office.chat(f"write to {VALUE}")
    guard = office.guard
    assert len(office.ask("where", value=VALUE).json()["calls"]) == 1
    object.__setattr__(guard.settings, "calls_kept", -60.0)  # a minute from now is over
    guard.sweep()
    assert office.ask("where", value=VALUE).json()["calls"] == []
    left = guard.store.read(
        lambda tx: [tx.one(f"SELECT count(*) AS n FROM {t}")["n"] for t in ("calls", "occurrences")]
    )  # type: ignore[index]
    assert left == [0, 0]
    assert office.log("call.decided") != []
    audit.checkpoint(guard.store, guard.vault.keyring, guard.origin)
