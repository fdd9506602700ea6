"""Training data that is reviewed: uploaded by the real client, decided record by record, approved by somebody else,
sent exactly as it was approved; and where a job comes from."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import openai
import pytest

from llmguard import identity
from llmguard.audit import verify_evidence
from llmguard.config import Settings
from llmguard.identity import Cause, PersonChange
from llmguard.redaction import FileSurrogates
from llmguard.spool import folder_of
from llmguard.testing import EchoUpstream, Fakes
from tests.desks import ANN, BO, CY, DEE
from tests.training import CARD, COUNT, Life, jsonl, lines_of, living, numbers, row


@pytest.fixture
def life(settings: Settings, upstream: EchoUpstream, fakes: Fakes) -> Iterator[Life]:
    with living(settings, upstream, fakes) as made:
        yield made


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].rpartition(":")[2]


# --------------------------------------------------------------------------- the report


def test_the_report_says_what_is_in_a_held_upload_and_shows_nothing_raw(life: Life) -> None:
    held = life.held(name=f"{life.mails[1]}.jsonl")
    answer = life.call("GET", f"/approvals/{held['id']}/report", BO)
    told = answer.json()
    report = told["report"]
    assert (report["records"], report["layout"], told["decisions"], told["labels"]) == (COUNT, "jsonl", [], {})
    assert {t["type"]: t["findings"] for t in report["types"]} == {"EMAIL": COUNT // 3, "CREDIT_CARD": COUNT // 3}
    assert report["name"].startswith("[EMAIL_")
    assert report["risk"]["inherent"] == held["risk"]["inherent"]
    worst = [s for s in report["sample"] if s["stratum"] == "high"]
    assert sorted(s["record"] for s in worst) == list(range(0, COUNT, 3))
    assert worst[0]["found"] == [["CREDIT_CARD", "messages 1 content", 1], ["EMAIL", "messages 1 content", 1]]
    assert not [value for value in (*life.mails, CARD) if value in answer.text]


def test_the_report_is_a_page_that_loads_and_runs_nothing(life: Life) -> None:
    held = life.held()
    answer = life.call("GET", f"/approvals/{held['id']}/report.html", BO)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="report-{held["id"]}.html"'
    assert "sandbox" in answer.headers["content-security-policy"]
    assert "<script" not in answer.text
    assert not [value for value in (*life.mails, CARD) if value in answer.text]


def test_the_report_of_long_records_stays_small(life: Life, fakes: Fakes) -> None:
    long = [row(f"{fakes.email()} " + "ä long story, " * 4000, i) for i in range(60)]
    held = life.held(jsonl(long))
    answer = life.call("GET", f"/approvals/{held['id']}/report", BO)
    sample = answer.json()["report"]["sample"]
    assert len(answer.content) < 256 * 1024
    assert len(sample) == 30
    assert all(len(s["text"]) > 500 for s in sample)


def test_only_who_may_see_the_approval_sees_its_report(life: Life) -> None:
    held = life.held()
    for path in ("report", "report.html"):
        assert code(life.call("GET", f"/approvals/{held['id']}/{path}", DEE)) == (404, "not_found")
        assert life.call("GET", f"/approvals/{held['id']}/{path}", ANN).status_code == 200


def test_a_value_under_a_key_that_is_a_name_is_told_without_the_key(life: Life) -> None:
    odd = [
        {"messages": [{"role": "user", "content": "Hi"}], "reference": {life.mails[2]: f"card {CARD}"}}
        for _ in range(COUNT)
    ]
    held = life.held(jsonl(odd))
    answer = life.call("GET", f"/approvals/{held['id']}/report", BO)
    assert life.mails[2] not in answer.text
    assert CARD not in answer.text


# --------------------------------------------------------------------------- a life


def test_what_was_decided_and_approved_is_exactly_what_the_provider_gets(life: Life) -> None:
    held = life.held()
    assert (held["may"]["records"], held["excluded"]) == (True, [])
    answer = life.decide(held, BO, r1="drop", r4="keep", r10_15="drop")
    assert answer.status_code == 200, answer.text
    after = life.get(f"/approvals/{answer.json()['id']}", CY)
    assert (after["state"], after["revision"], after["revises"]) == ("PENDING", 2, held["id"])
    assert (after["excluded"], after["digest"] == held["digest"]) == ([BO], False)
    assert after["requester"] == held["requester"]
    assert life.get(f"/approvals/{held['id']}")["state"] == "SUPERSEDED"
    told = life.get(f"/approvals/{after['id']}/report", CY)
    assert told["decided"] == {"drop": 7, "keep": 1}
    assert told["decisions"][1] == {"records": "4", "choice": "keep", "by": BO}

    assert code(life.vote(after, BO)) == (403, "not_allowed")  # who keeps does not approve
    assert life.held()["id"] == after["id"]  # the same upload waits for the revision
    assert life.vote(after, CY).json()["state"] == "APPROVED"
    life.upstream.received.clear()
    made = life.upload()
    assert made.object == "file"
    (sent,) = life.received()
    lines = lines_of(sent)
    assert numbers(lines) == [n for n in range(1, COUNT + 1) if n not in (1, *range(10, 16))]
    assert lines[2] == json.loads(life.data.splitlines()[3])  # as it was written
    others = b"\n".join(line for line in sent.data.splitlines() if b"Done, 3." not in line).decode()
    assert not [value for value in (*life.mails, CARD) if value in others]
    whole = life.upstream.received[0].body
    assert len(whole) == after["egress"]["bytes"]
    assert whole.decode() == after["egress"]["body"]["text"]  # what Cy was shown, byte for byte


def test_a_kept_record_counts_as_what_is_not_redacted_and_its_text_is_shown_redacted(life: Life) -> None:
    held = life.held()
    kept = life.decide(held, r1="keep").json()
    assert kept["risk"]["residual"] > held["risk"]["residual"]
    answer = life.call("GET", f"/approvals/{kept['id']}/report", CY)
    assert life.mails[0] not in answer.text
    assert 0 in [s["record"] for s in answer.json()["report"]["sample"]]


def test_decisions_add_up_and_can_be_taken_back(life: Life) -> None:
    first = life.get(f"/approvals/{life.decide(life.held(), BO, r1_9='drop', r13='keep').json()['id']}", CY)
    second = life.get(f"/approvals/{life.decide(first, CY, r4='redact', r13='redact').json()['id']}", BO)
    told = life.get(f"/approvals/{second['id']}/report")
    assert [(d["records"], d["choice"], d["by"]) for d in told["decisions"]] == [
        ("1-3", "drop", BO),
        ("5-9", "drop", BO),
    ]
    assert (second["revision"], second["excluded"]) == (3, [])  # nothing is kept any more: Bo may vote
    assert life.vote(second, BO).json()["state"] == "APPROVED"
    life.upload()
    assert numbers(lines_of(life.received()[-1])) == [4, *range(10, COUNT + 1)]


def test_a_revision_in_which_nothing_is_left_to_find_still_leaves_as_it_was_decided(life: Life) -> None:
    values = [row(f"Where is page {i}?", i) for i in range(COUNT)]
    values[4] = row(f"Card {CARD} of {life.mails[0]}, {life.mails[1]}", 4)
    data = jsonl(values)
    after = life.get(f"/approvals/{life.decide(life.held(data), r5='drop').json()['id']}")
    assert after["state"] == "PENDING"
    assert life.vote(after, BO).json()["state"] == "APPROVED"  # who only drops may vote
    life.upload(data)
    assert numbers(lines_of(life.received()[-1])) == [n for n in range(1, COUNT + 1) if n != 5]


def test_an_upload_in_parts_is_decided_in_the_same_way(life: Life) -> None:
    def parts() -> Any:
        told = {"purpose": "fine-tune", "mime_type": "application/jsonl"}
        made = life.client.uploads.create(filename="t.jsonl", bytes=len(life.data), **told)  # type: ignore[arg-type]
        half = len(life.data) // 2
        ids = [
            life.client.uploads.parts.create(made.id, data=piece).id for piece in (life.data[:half], life.data[half:])
        ]
        return life.client.uploads.complete(made.id, part_ids=ids)

    with pytest.raises(openai.ConflictError) as refused:
        parts()
    held = life.get(f"/approvals/{refused.value.body['approval_id']}")  # type: ignore[index]
    answer = life.decide(held, r1_12="drop")
    assert answer.status_code == 200, answer.text
    after = life.get(f"/approvals/{answer.json()['id']}", CY)
    assert after["operation"] == "uploads.complete"
    assert life.vote(after, CY).json()["state"] == "APPROVED"
    life.upstream.received.clear()
    parts()
    assert numbers(lines_of(life.received()[-1])) == [*range(13, COUNT + 1)]


# --------------------------------------------------------------------------- who may, and what


def test_who_asked_and_who_may_not_vote_decide_about_no_record(life: Life) -> None:
    held = life.held()
    assert code(life.decide(held, ANN, r1="drop")) == (403, "not_allowed")
    assert code(life.decide(held, DEE, r1="drop")) == (404, "not_found")
    assert life.get(f"/approvals/{held['id']}", ANN)["may"]["records"] is False


def test_what_was_not_shown_is_not_decided(life: Life) -> None:
    held = life.held()
    assert code(life.decide({**held, "digest": "0" * 64}, r1="drop")) == (409, "conflict")
    assert code(life.decide({**held, "version": 7}, r1="drop")) == (409, "conflict")
    assert life.vote(held, BO).status_code == 200
    assert code(life.decide(held, CY, r1="drop")) == (409, "conflict")


@pytest.mark.parametrize(
    "decisions",
    [
        {"r99": "drop"},
        {"r20_99": "drop"},
        {"r0": "drop"},
        {"r5_3": "drop"},
        {"r1_5": "drop", "r4": "keep"},
        {},
        {"r1": "burn"},
        {"rx": "drop"},
    ],
    ids=["none such", "beyond the end", "zero", "backwards", "overlapping", "nothing", "no choice", "no number"],
)
def test_decisions_that_make_no_sense_are_refused_and_nothing_changes(life: Life, decisions: dict[str, str]) -> None:
    held = life.held()
    assert code(life.decide(held, **decisions)) == (400, "invalid_request")
    assert life.get(f"/approvals/{held['id']}")["state"] == "PENDING"


def test_other_approvals_have_no_records(life: Life) -> None:
    with pytest.raises(openai.ConflictError) as refused:
        life.client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file="file-of-somebody")
    held = life.get(f"/approvals/{refused.value.body['approval_id']}")  # type: ignore[index]
    assert held["may"]["records"] is False
    assert code(life.decide(held, r1="drop")) == (404, "not_found")
    assert code(life.call("GET", f"/approvals/{held['id']}/report", BO)) == (404, "not_found")


def test_an_upload_that_was_wiped_cannot_be_decided(life: Life) -> None:
    big = jsonl([row(f"{life.mails[0]} " + "x" * 60_000, i) for i in range(COUNT)])
    held = life.held(big)
    spools = [*(folder_of(life.guard.vault) / "held").iterdir()]
    assert spools
    for path in spools:
        path.unlink()
    assert code(life.decide(held, r1="drop")) == (409, "conflict")


def test_a_large_upload_lies_sealed_while_it_is_decided_and_is_sent_from_there(life: Life) -> None:
    big = jsonl([row(f"{life.mails[i]} " + "x" * 60_000, i) for i in range(COUNT)])
    after = life.get(f"/approvals/{life.decide(life.held(big), r1_3='drop', r9='keep').json()['id']}", CY)
    assert life.vote(after, CY).json()["state"] == "APPROVED"
    life.upload(big)
    lines = lines_of(life.received()[-1])
    assert numbers(lines) == [*range(4, COUNT + 1)]
    assert life.mails[8] in lines[5]["messages"][0]["content"]
    for _ in range(100):  # the answer is there before its call is tidied up
        if not [*(folder_of(life.guard.vault) / "passing").iterdir()]:
            return
        time.sleep(0.05)  # between two looks
    raise AssertionError("something stays in the spool")


# --------------------------------------------------------------------------- labels


def test_labels_bound_what_was_missed_and_go_with_a_revision(life: Life) -> None:
    held = life.held()
    shown = life.get(f"/approvals/{held['id']}/report")["report"]["sample"]
    labels = {str(s["record"] + 1): "fine" for s in shown}
    body = {"digest": held["digest"], "labels": {**labels, "2": "missed"}}
    told = life.call("POST", f"/approvals/{held['id']}/labels", BO, json=body).json()
    assert told["labels"]["2"] == {"label": "missed", "by": BO}
    assert (told["report"]["residual"][-1]["looked"], told["report"]["residual"][-1]["most"]) == (COUNT, 1)
    took = {"digest": held["digest"], "labels": {"2": "none", "3": "missed"}}
    told = life.call("POST", f"/approvals/{held['id']}/labels", CY, json=took).json()
    assert "2" not in told["labels"]
    after = life.decide(held, r1="drop").json()
    carried = life.get(f"/approvals/{after['id']}/report")
    assert carried["labels"]["3"] == {"label": "missed", "by": CY}
    assert "1" not in carried["labels"]


@pytest.mark.parametrize("labels", [{"99": "fine"}, {"1": "bad"}, {"x": "fine"}])
def test_labels_are_of_records_in_the_sample(life: Life, labels: dict[str, str]) -> None:
    held = life.held()
    body = {"digest": held["digest"], "labels": labels}
    assert code(life.call("POST", f"/approvals/{held['id']}/labels", BO, json=body)) == (400, "invalid_request")
    body = {"digest": held["digest"], "labels": {"1": "fine"}}
    assert code(life.call("POST", f"/approvals/{held['id']}/labels", ANN, json=body)) == (403, "not_allowed")


def test_the_log_has_decisions_and_labels_in_counts(life: Life) -> None:
    held = life.held()
    life.call("POST", f"/approvals/{held['id']}/labels", BO, json={"digest": held["digest"], "labels": {"1": "fine"}})
    life.decide(held, r1="drop", r4="keep")
    kinds = [kind for kind, _ in life.log()]
    assert kinds.count("approval.records") == 2
    assert kinds.count("approval.labels") == 1
    leaf = next(json.loads(leaf)["details"] for kind, leaf in life.log() if kind == "approval.records")
    assert (leaf["by"], leaf["keep"], leaf["drop"]) == (BO, 1, 1)
    assert not [value for value in (*life.mails, CARD) for _, leaf in life.log() if value in leaf]
    for id_ in (held["id"], life.get(f"/approvals/{held['id']}")["revised_by"]):
        evidence = life.call("POST", f"/approvals/{id_}/evidence", BO, json={}).json()
        assert verify_evidence(evidence, evidence["key"]).problems == ()


# --------------------------------------------------------------------------- lineage


def sent(life: Life) -> tuple[Any, dict[str, Any]]:
    after = life.get(f"/approvals/{life.decide(life.held(), r1='drop').json()['id']}", CY)
    life.vote(after, CY)
    return life.upload(), after


def test_a_job_leads_to_its_file_its_report_and_its_approvers(life: Life) -> None:
    file, after = sent(life)
    life.client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=file.id)
    steps = life.get(f"/lineage/{file.id}", CY)["steps"]
    assert [(s["id"], s["kind"], s["digest"]) for s in steps] == [(file.id, "file", after["digest"])]
    approval = steps[0]["approval"]
    assert (approval["id"], approval["records"], approval["decided"]) == (after["id"], COUNT, {"drop": 1})
    assert [v["human"] for v in approval["approvers"]] == [CY]
    assert steps[0]["report"]["findings"] == {"CREDIT_CARD": COUNT // 3, "EMAIL": COUNT // 3}
    logged = life.log()
    assert "call.outcome" in [logged[index][0] for index in steps[0]["log"]]
    assert "approval.records" in [logged[index][0] for index in steps[0]["log"]]
    by_approval = life.get(f"/lineage/{after['id'].lower()}", BO)["steps"]
    assert by_approval == steps


def test_an_approval_that_let_nothing_through_is_its_own_lineage(life: Life) -> None:
    held = life.held()
    (step,) = life.get(f"/lineage/{held['id']}")["steps"]
    assert (step["kind"], step["approval"]["state"], step["sources"]) == ("approval", "PENDING", [])


def test_what_did_not_pass_here_has_no_lineage(life: Life) -> None:
    for name in ("file-unknown", "01K00000000000000000000000", "x" * 300):
        assert code(life.call("GET", f"/lineage/{name}", BO)) == (404, "not_found")


def test_whoever_is_in_no_group_sees_the_lineage_of_his_own_alone(life: Life) -> None:
    file, _ = sent(life)
    change = PersonChange("eve@example.com", (), True)
    guard = life.guard
    guard.store.transact(lambda tx: identity.apply(tx, guard.vault, "default", change, Cause("test", bootstrap=True)))
    assert code(life.call("GET", f"/lineage/{file.id}", "eve@example.com")) == (404, "not_found")
    assert life.call("GET", f"/lineage/{file.id}", ANN).status_code == 200


def test_no_surrogate_is_a_value_of_another_record(life: Life) -> None:
    mail = life.mails[0]
    surrogates = FileSurrogates(partial(life.guard.vault.digest, life.local.settings.tenant))
    drawn = surrogates.of("EMAIL", "pii", mail, mail)
    data = jsonl([row(f"Write to {mail}.", 0), *(row(f"Write to {drawn}.", i) for i in range(1, COUNT))])
    held = life.held(data)
    assert life.vote(held, BO).status_code == 200
    life.upload(data)
    (file,) = life.received()
    assert len(lines_of(file)) == COUNT
    assert mail.encode() not in file.data
    assert str(drawn).encode() not in file.data
