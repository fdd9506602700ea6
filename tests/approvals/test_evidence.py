"""Evidence is checked without the guard, and every field of it that is altered fails by name."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmguard import audit
from llmguard.approvals import evidence
from llmguard.audit import verify_evidence
from llmguard.audit.publication import notes_in
from llmguard.errors import ConfigError
from llmguard.identity import Person
from llmguard.model import Approval
from tests.desks import ANN, BO, CY, TENANT, Desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "guard").staff()
    yield made
    made.store.close()


def origin(desk: Desk) -> str:
    return evidence.origin(desk.vault)


def key(desk: Desk) -> str:
    return str(audit.Verifier.of(origin(desk), desk.vault.keyring.signer()))


def publish(desk: Desk) -> list[str]:
    """A checkpoint that leaves the host, and all that did."""
    folder = desk.folder.with_name("outside")
    audit.checkpoint(desk.store, desk.vault.keyring, origin(desk), folder)
    return list(notes_in(folder / audit.CHECKPOINTS))


def taken(desk: Desk, approval: Approval, *, payload: bool = False) -> dict[str, Any]:
    who = Person(TENANT, BO, ("reviewers",), True, 0)
    a = desk.get(approval)
    desk.store.transact(lambda tx: evidence.requested(tx, desk.vault, a, who, payload=payload))
    audit.checkpoint(desk.store, desk.vault.keyring, origin(desk))
    made = desk.store.read(lambda tx: evidence.pack(tx, desk.vault, a, payload=payload))
    return json.loads(json.dumps(made))


def executed(desk: Desk) -> Approval:
    approval = desk.hold(groups=(("reviewers", 2),))
    for who in (BO, CY):
        desk.now += 10
        desk.vote(approval, who, reason=f"fine, says {who}", authenticated=desk.now - 5)
    desk.claim(approval, groups=(("reviewers", 2),))
    return desk.store.transact(lambda tx: desk.approvals.settle(tx, TENANT, approval.id, "EXECUTED"))


def revised(desk: Desk) -> tuple[Approval, Approval]:
    from dataclasses import replace

    first = desk.hold()
    desk.vote(first, BO, "request_changes", reason="no", proposal=b"{}")
    again = replace(desk.request(key="again", body=b'{"input": "less"}'), revises=first.id)
    return first, desk.store.transact(lambda tx: desk.approvals.hold(tx, again))


@pytest.mark.parametrize("payload", [False, True])
def test_evidence_of_what_was_approved_and_sent_holds_offline(desk: Desk, payload: bool) -> None:
    document = taken(desk, executed(desk), payload=payload)
    report = verify_evidence(document, key(desk))
    assert report.problems == ()
    assert (report.entries, report.checkpoints, report.unwitnessed) == (7 + payload, 1, 7 + payload)
    assert [v["reason"] for v in document["votes"]] == [f"fine, says {who}" for who in (BO, CY)]
    assert "Jane Roe" not in json.dumps(document)
    assert ("payload" in document) is payload
    assert set(document["controls"]) >= {"NIST 800-53 AC-5", "SOC 2 CC8.1"}


def test_evidence_of_every_kind_of_end_holds(desk: Desk) -> None:
    pending, denied, cancelled, gone = (desk.hold(key=k) for k in "abcd")
    desk.vote(denied, BO, "deny")
    person = Person(TENANT, ANN, (), True, 0)
    desk.store.transact(lambda tx: desk.approvals.cancel(tx, TENANT, cancelled.id, person))
    desk.now = gone.expires
    desk.store.transact(desk.approvals.sweep)
    for approval in (pending, denied, cancelled, gone, *revised(desk)):
        assert verify_evidence(taken(desk, approval), key(desk)).problems == ()


def test_an_emergency_and_a_standing_grant_hold_with_fewer_votes(desk: Desk) -> None:
    approval = desk.hold(quorum=2, break_glass="reviewers")
    desk.vote(approval, BO, "break_glass", reason="the house is on fire")
    assert verify_evidence(taken(desk, approval), key(desk)).ok


def test_evidence_continues_a_checkpoint_that_left_the_host(desk: Desk) -> None:
    approval = desk.hold()
    outside = publish(desk)
    desk.vote(approval, BO)
    document = taken(desk, approval)
    report = verify_evidence(document, key(desk), outside)
    assert report.problems == ()
    assert 0 < report.unwitnessed < report.entries
    assert verify_evidence(document, key(desk), publish(desk)).unwitnessed == 0
    elsewhere = Desk(desk.folder.with_name("elsewhere")).staff()
    forged = taken(elsewhere, executed(elsewhere))
    assert not verify_evidence(forged, key(desk), outside).ok
    elsewhere.store.close()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every member and item, at any depth."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in members:
        yield (*path, name)
        yield from places(inner, (*path, name))


def other(value: Any) -> Any:
    """Something else of the same type, as an attacker would write it."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        return f"{value[:-1]}{'0' if value[-1:] != '0' else '1'}"
    if isinstance(value, list):
        return [*value, *value[:1]] if value else ["x"]
    if isinstance(value, dict):
        return {**value, "x": 1}
    return "x"


def put(document: Any, path: tuple[Any, ...], change: Any) -> Any:
    altered = copy.deepcopy(document)
    inner = altered
    for step in path[:-1]:
        inner = inner[step]
    change(inner, path[-1])
    return altered


def alter(inner: Any, name: Any) -> None:
    inner[name] = other(inner[name])


def remove(inner: Any, name: Any) -> None:
    del inner[name]


@pytest.mark.parametrize("change", [alter, remove])
def test_every_altered_or_missing_field_is_found_and_named(desk: Desk, change: Any) -> None:
    publish(desk)
    first, second = revised(desk)
    desk.vote(second, BO, reason="fine")
    for approval in (first, second, executed(desk)):
        document = taken(desk, approval, payload=True)
        assert verify_evidence(document, key(desk)).problems == ()
        for path in places(document):
            if change is remove and (path == ("payload",) or only_a_look(document, path)):
                continue  # evidence without it is whole
            report = verify_evidence(put(document, path, change), key(desk))
            assert not report.ok, path
            assert any(names(path, sentence) for sentence in report.problems), (path, report.problems)


def only_a_look(document: Any, path: tuple[Any, ...]) -> bool:
    """An entry that changed nothing. That it is not there cannot be seen from here."""
    if path[0] != "entries" or len(path) != 2:
        return False
    kind = json.loads(document["entries"][path[1]]["leaf"])["kind"]
    return kind in ("approval.evidence", "approval.raw_view", "approval.proposal")


def names(path: tuple[Any, ...], sentence: str) -> bool:
    """Whether a sentence names the field, and of an approval which one."""
    field = f"approval.{path[1]}" if path[0] == "approval" and len(path) > 1 else str(path[0])
    return field in sentence


def test_votes_that_are_added_dropped_or_moved_to_others_are_found(desk: Desk) -> None:
    document = taken(desk, executed(desk))
    for votes in ([], document["votes"][:1], document["votes"] * 2):
        report = verify_evidence({**document, "votes": votes}, key(desk))
        assert any(p.startswith("votes") for p in report.problems)
    self_approved = {**document, "approval": {**document["approval"], "human": BO}}
    problems = verify_evidence(self_approved, key(desk)).problems
    assert any("behind the request" in p for p in problems)
    assert any("approval.human" in p for p in problems)


def test_a_step_that_is_left_out_is_found(desk: Desk) -> None:
    document = taken(desk, executed(desk))
    for i, entry in enumerate(document["entries"]):
        if json.loads(entry["leaf"])["kind"] in ("approval.held", "approval.approved", "approval.claimed"):
            entries = document["entries"][:i] + document["entries"][i + 1 :]
            assert not verify_evidence({**document, "entries": entries}, key(desk)).ok


def test_another_key_and_no_evidence_at_all_are_refused(desk: Desk) -> None:
    document = taken(desk, executed(desk))
    desk_of_others = Desk(desk.folder.with_name("others"))
    assert verify_evidence(document, key(desk_of_others)).problems[0].startswith("key")
    desk_of_others.store.close()
    for nothing in (None, [], {}, "x", {**document, "version": 2}, {**document, "kind": "x"}):
        assert not verify_evidence(nothing, key(desk)).ok
    with pytest.raises(ConfigError):
        verify_evidence(document, "no key")


def test_two_addresses_of_one_mailbox_are_one_person(desk: Desk) -> None:
    document = taken(desk, executed(desk))
    document["votes"][1]["human"] = BO.replace("@", "+2@")
    assert any("one person voted twice" in p for p in verify_evidence(document, key(desk)).problems)
