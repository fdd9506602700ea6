"""History: what was decided, how it ended and how long it took, with filters; evidence by a POST alone."""

from __future__ import annotations

import re

from llmguard.inbox.history import span
from tests.desks import ANN, BO, CY
from tests.inbox.cases import action, held
from tests.inbox.site import Site, Visitor

ROW = re.compile(r'<li id="a([0-9A-Z]{26})"')


def listed(visitor: Visitor, **query: str) -> list[str]:
    answer = visitor.get("/inbox/history", params=query)
    assert answer.status_code == 200, answer.text
    return ROW.findall(answer.text)


def test_what_is_over_is_listed_newest_first_and_what_waits_is_not(site: Site, bo: Visitor) -> None:
    desk = site.desk
    assert "Nothing was decided yet" in bo.get("/inbox/history").text
    denied, waiting, late = held(desk, key="1"), held(desk, key="2"), held(desk, key="3", expires_in=60)
    desk.now += 30_000
    desk.vote(denied, BO, "deny")
    desk.now += 31_000
    assert listed(bo) == [late.id, denied.id]
    page = bo.get("/inbox/history").text
    assert "decided in 30 s" in page
    assert "not decided in time" in page
    desk.vote(waiting, CY)
    assert listed(bo) == [late.id, waiting.id, denied.id]
    assert "decided in 1 min 1 s" in bo.get("/inbox/history").text


def test_it_is_filtered_by_outcome_operation_and_who_asked(site: Site, bo: Visitor) -> None:
    desk = site.desk
    denied, approved, done = held(desk, key="1"), held(desk, key="2", human=CY), action(desk)
    desk.vote(denied, BO, "deny")
    desk.vote(approved, BO)
    desk.vote(done, BO)
    assert listed(bo, state="DENIED") == [denied.id]
    assert listed(bo, operation="db.export") == [done.id]
    assert listed(bo, requester="cy@") == [approved.id]
    assert listed(bo, type="card") == [approved.id, denied.id]
    assert "Nothing here fits" in bo.get("/inbox/history?state=FAILED").text
    ann = site.browser(ANN)
    assert listed(ann, mine="1") == [done.id, denied.id]
    ann.close()


def test_evidence_is_taken_from_the_list_by_a_form(site: Site, bo: Visitor) -> None:
    approval = held(site.desk)
    site.desk.vote(approval, BO, "deny")
    page = bo.get("/inbox/history").text
    assert f'<form method="post" action="/inbox/approvals/{approval.id}/evidence"' in page
    answer = bo.post(f"/inbox/approvals/{approval.id}/evidence", "/inbox/history")
    assert answer.json()["approval"]["state"] == "DENIED"


def test_spans_are_told_in_at_most_two_units() -> None:
    told = {
        0: "less than a second",
        999: "less than a second",
        61_000: "1 min 1 s",
        3_600_000: "1 h",
        90_061_000: "1 d 1 h",
    }
    assert {ms: span(ms) for ms in told} == told
