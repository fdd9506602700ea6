"""One approval as a person decides it: what is shown and what is not, what a vote needs, and who else was faster."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import httpx
import pytest

from llmguard.model import Approval
from tests.desks import ANN, BO, CY, DEE, Desk
from tests.inbox.cases import CARD, FAKE, JANE, MAIL, PAN, SUMMARY, VALUES, action, held, written
from tests.inbox.site import Site, Visitor, served

TICK = re.compile(r'name="seen" form="decide" value="([^"]+)"')
FIELD = re.compile(r'<input type="hidden" name="(digest|version|once|seen)" value="([^"]*)">')
TAG = re.compile(r"<[^>]*>")


@pytest.fixture
def ann(site: Site) -> Iterator[Visitor]:
    made = site.browser(ANN)
    yield made
    made.close()


@pytest.fixture
def cy(site: Site) -> Iterator[Visitor]:
    made = site.browser(CY)
    yield made
    made.close()


def path(approval: Approval, act: str = "") -> str:
    return f"/inbox/approvals/{approval.id}" + (f"/{act}" if act else "")


def words(answer: httpx.Response) -> str:
    """What a page says, without its markup."""
    return re.sub(r"\s+", " ", unescape(TAG.sub(" ", answer.text)))


def vote(
    who: Visitor, approval: Approval, verdict: str = "approve", *, look: bool = True, **more: Any
) -> httpx.Response:
    """Fills in the form as it stands and sends it; ``look``: with every box ticked."""
    page = who.get(path(approval))
    known = dict(FIELD.findall(page.text))
    ticks = TICK.findall(page.text) if look else []
    sent = {"digest": known["digest"], "version": known["version"], "once": known["once"], "seen": ticks}
    return who.post(path(approval, "vote"), path(approval), **{**sent, "verdict": verdict, **more})


def state(desk: Desk, approval: Approval) -> str:
    return desk.get(approval).state


# --------------------------------------------------------------------------- what is shown


def test_the_page_says_who_asks_for_whom_what_where_to_why_and_what_is_missing(site: Site, bo: Visitor) -> None:
    approval = held(site.desk, quorum=2)
    site.desk.vote(approval, CY, reason="known customer")
    said = words(bo.get(path(approval)))
    digits = " ".join(approval.egress_digest[i : i + 4] for i in range(0, 16, 4))
    for text in (SUMMARY, "ann@example.com , who is accountable", "The customer waits; ticket 4711.", "rule risky"):
        assert text in said, text
    for text in (
        "openai , a public provider",
        "POST https://api.example/v1/chat/completions",
        digits,
        "1 of 2 of reviewers",
    ):
        assert text in said, text
    assert "cy@example.com approved" in said
    assert "known customer" in said


def test_the_risk_is_told_in_words_and_numbers_as_written_and_as_it_leaves(site: Site, bo: Visitor) -> None:
    said = words(bo.get(path(held(site.desk))))
    assert "as written 83 high as it leaves 6 low" in said
    assert "1 card number +52 +2" in said
    assert "it is answered, and not meant to be kept −4 <1" in said
    assert "Nothing else speaks for it: nothing is hidden behind more than is looked through." in said


def test_what_leaves_is_read_by_role_with_its_placeholders_marked_by_type(site: Site, bo: Visitor) -> None:
    page = bo.get(path(held(site.desk, more=f" {FAKE}"))).text
    assert re.findall(r'<h3>(Message \d) <span class="role \w+">(\w+)', page) == [
        ("Message 1", "system"),
        ("Message 2", "user"),
        ("Message 3", "assistant"),
    ]
    assert f'title="name">{JANE}</mark>' in page
    assert f'<span class="fake">{FAKE}<span class="kind">not of the guard</span></span>' in page
    assert "1 card number" in page


def test_no_value_is_on_the_page_before_it_was_asked_for_and_the_log_says_who_looked(site: Site, bo: Visitor) -> None:
    approval = held(site.desk)
    page = bo.get(path(approval))
    for value in VALUES.values():
        assert value not in unescape(page.text)
    assert "approval.raw_view" not in site.desk.log()
    raw = bo.post(path(approval), path(approval))
    assert raw.status_code == 200
    assert raw.headers["cache-control"] == "no-store"
    for value in VALUES.values():
        assert f"</span>{value}</mark>" in unescape(raw.text), value
    assert "These are the raw values" in raw.text
    assert site.desk.log()[-1] == "approval.raw_view"
    again = bo.get(path(approval))
    assert "looked at the raw values" in again.text
    for value in VALUES.values():
        assert value not in unescape(again.text)


def test_asking_for_raw_values_needs_the_token_of_a_form(site: Site, bo: Visitor) -> None:
    approval = held(site.desk)
    answer = bo.http.post(path(approval), data={"_here": path(approval)})
    assert answer.status_code == 403
    assert CARD not in answer.text
    assert "approval.raw_view" not in site.desk.log()


def test_what_was_typed_is_still_there_after_a_look_at_the_raw_values(site: Site, bo: Visitor) -> None:
    approval = held(site.desk)
    tick = TICK.findall(bo.get(path(approval)).text)[0]
    raw = bo.post(path(approval), path(approval), reason="half a thought", seen=tick)
    assert "half a thought</textarea>" in raw.text
    assert f'value="{tick}" checked' in raw.text


def test_an_action_and_a_change_are_read_as_what_they_are(site: Site, bo: Visitor) -> None:
    said = words(bo.get(path(action(site.desk))))
    assert "What would be done" in said
    assert "pg_dump -t 'prod db'" in said
    assert "country rows DE 1200 FR 310" in said
    proposed = site.call("POST", "/guard/v1/people", CY, json={"email": DEE, "groups": ["security", "reviewers"]})
    page = bo.get(f"/inbox/approvals/{proposed.json()['approval']['id']}")
    assert "What it changes of what is in force" in page.text
    assert re.search(r'<span class="add">\+ +&#34;reviewers&#34;', page.text)


def test_what_the_requester_sees_lets_them_withdraw_and_not_vote(site: Site, ann: Visitor) -> None:
    approval = held(site.desk)
    page = ann.get(path(approval)).text
    assert 'name="verdict"' not in page
    assert "You do not decide this one" in page
    assert ann.post(path(approval, "cancel"), path(approval)).headers["location"] == path(approval) + "?done=cancel"
    assert state(site.desk, approval) == "CANCELLED"
    assert "It is withdrawn." in ann.get(path(approval) + "?done=cancel").text


def test_who_may_not_see_it_hears_what_they_would_if_there_were_none(site: Site) -> None:
    approval = held(site.desk)
    dee = site.browser(DEE)
    answers = [dee.get(p) for p in (path(approval), "/inbox/approvals/01J00000000000000000000000")]
    posted = dee.post(path(approval), "/inbox/account")
    dee.close()
    assert [a.status_code for a in (*answers, posted)] == [404, 404, 404]
    assert words(answers[0]).replace(approval.id, "") == words(answers[1]).replace("01J00000000000000000000000", "")


# --------------------------------------------------------------------------- deciding


def test_nobody_approves_what_they_have_not_looked_at(site: Site, bo: Visitor) -> None:
    approval = held(site.desk)
    answer = vote(bo, approval, look=False, reason="looks fine")
    assert answer.status_code == 422
    assert "you have not looked at all of what would leave" in words(answer)
    assert "looks fine</textarea>" in answer.text
    assert state(site.desk, approval) == "PENDING"
    ticks = TICK.findall(answer.text)
    assert len(ticks) == 4
    assert vote(bo, approval, look=False, seen=ticks[:-1]).status_code == 422
    other = TICK.findall(bo.get(path(held(site.desk, key="2", more=" other"))).text)
    assert vote(bo, approval, look=False, seen=other).status_code == 422
    assert vote(bo, approval).headers["location"] == path(approval) + "?done=approve"
    assert state(site.desk, approval) == "APPROVED"


@pytest.mark.parametrize(("verdict", "after"), [("deny", "DENIED"), ("request_changes", "CHANGES_REQUESTED")])
def test_denying_and_asking_for_changes_need_no_ticks(site: Site, bo: Visitor, verdict: str, after: str) -> None:
    approval = held(site.desk)
    assert vote(bo, approval, verdict, look=False, reason="no ticket").status_code == 303
    assert state(site.desk, approval) == after
    assert site.desk.get(approval).votes[0].reason == "no ticket"


def test_asking_for_changes_says_what_and_may_propose_another_body(site: Site, bo: Visitor) -> None:
    approval = held(site.desk)
    assert "say what has to change" in words(vote(bo, approval, "request_changes"))
    page = bo.get(path(approval)).text
    found = re.search(
        r'<textarea name="proposal"[^>]*>\n(.*?)</textarea>.*?name="proposal_was" value="(\w+)"', page, re.S
    )
    assert found
    was, digest = unescape(found[1]), found[2]
    smaller = was.replace("charged twice", "charged once")
    sent = {"reason": "once", "proposal": smaller, "proposal_was": digest}
    assert vote(bo, approval, "request_changes", **sent).status_code == 303
    assert json.loads(site.call("GET", f"/guard/v1{path(approval)[6:]}", BO).json()["proposal"]) == json.loads(smaller)


def test_a_proposal_that_was_not_touched_is_none(site: Site, bo: Visitor) -> None:
    approval = held(site.desk)
    page = bo.get(path(approval)).text
    found = re.search(
        r'<textarea name="proposal"[^>]*>\n(.*?)</textarea>.*?name="proposal_was" value="(\w+)"', page, re.S
    )
    assert found
    same = unescape(found[1]).replace("\n", "\r\n")  # as browsers send it
    vote(bo, approval, "request_changes", reason="later", proposal=same, proposal_was=found[2])
    assert site.call("GET", f"/guard/v1{path(approval)[6:]}", BO).json()["proposal"] is None


def test_whoever_was_slower_is_told_what_happened_and_keeps_what_was_typed(site: Site, bo: Visitor) -> None:
    approval = held(site.desk)
    page = bo.get(path(approval)).text
    site.desk.vote(approval, CY, "deny", reason="no ticket")
    known = dict(FIELD.findall(page))
    sent = {"digest": known["digest"], "version": known["version"], "verdict": "approve", "seen": TICK.findall(page)}
    answer = bo.post(path(approval, "vote"), path(approval), reason="she called me", **sent)
    assert answer.status_code in (403, 409)
    said = words(answer)
    assert "DENIED" in said or "denied" in said
    assert "cy@example.com denied" in said
    assert "she called me" in said
    assert "Not done." in said


def test_an_approval_that_moved_on_is_looked_at_again_before_a_vote_counts(site: Site, bo: Visitor) -> None:
    approval = held(site.desk, escalate_after=60, escalate_to="security")
    page = bo.get(path(approval)).text
    known = dict(FIELD.findall(page))
    site.desk.now += 61_000
    site.desk.store.transact(site.desk.approvals.sweep)
    sent = {"digest": known["digest"], "version": known["version"], "verdict": "approve", "seen": TICK.findall(page)}
    answer = bo.post(path(approval, "vote"), path(approval), reason="fine", **sent)
    assert answer.status_code == 409
    assert "has changed since it was shown" in words(answer)
    assert "fine</textarea>" in answer.text
    assert all(f'value="{tick}" checked' in answer.text for tick in TICK.findall(page))
    assert "Escalated" in answer.text


def test_a_vote_that_is_sent_twice_counts_once(site: Site, bo: Visitor) -> None:
    approval = held(site.desk, quorum=2)
    page = bo.get(path(approval)).text
    known = dict(FIELD.findall(page))
    sent = {**known, "verdict": "approve", "seen": TICK.findall(page)}
    first, second = (bo.post(path(approval, "vote"), path(approval), **sent) for _ in range(2))
    assert first.headers["location"] == second.headers["location"]
    assert len(site.desk.get(approval).votes) == 1


def test_what_time_has_ended_says_so_and_takes_no_vote(site: Site, bo: Visitor) -> None:
    approval = held(site.desk, expires_in=60)
    page = bo.get(path(approval)).text
    site.desk.now += 61_000
    sent = {**dict(FIELD.findall(page)), "verdict": "approve", "seen": TICK.findall(page), "reason": "too late"}
    answer = bo.post(path(approval, "vote"), path(approval), **sent)
    assert answer.status_code == 409
    assert "Its time is over" in words(answer)
    assert "too late" in words(answer)
    assert 'name="verdict"' not in answer.text


def test_a_decision_that_needs_a_fresh_login_comes_back_with_what_was_typed(site: Site, bo: Visitor) -> None:
    approval = held(site.desk, fresh=60)
    page = bo.get(path(approval)).text
    site.desk.now += 61_000
    sent = {**dict(FIELD.findall(page)), "verdict": "approve", "seen": TICK.findall(page), "reason": "she called"}
    asked = bo.post(path(approval, "vote"), path(approval), **sent)
    assert "needs a login of a moment ago" in asked.text
    hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', asked.text)
    form: dict[str, Any] = {}
    for name, value in hidden:
        form.setdefault(name, []).append(unescape(value))
    form = {name: list(dict.fromkeys(values)) for name, values in form.items()}
    back = bo.http.post("/inbox/login", data={**form, "code": site.desk.code(BO)})
    assert "You are logged in" in back.text
    typed: dict[str, Any] = {}
    for name, value in re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', back.text):
        typed.setdefault(name, []).append(unescape(value))
    again = bo.http.post(path(approval), data=typed)
    assert again.status_code == 200
    assert "she called</textarea>" in again.text
    assert all(f'value="{tick}" checked' in again.text for tick in TICK.findall(page))
    assert vote(bo, approval, reason="she called").status_code == 303
    assert state(site.desk, approval) == "APPROVED"


def test_an_emergency_needs_its_reason_and_its_own_confirmation(site: Site, bo: Visitor) -> None:
    approval = held(site.desk, break_glass="reviewers", quorum=2)
    known = dict(FIELD.findall(bo.get(path(approval)).text))
    sent = {"digest": known["digest"], "version": known["version"], "emergency": "production is down, INC-1"}
    unsure = bo.post(path(approval, "break-glass"), path(approval), **sent)
    assert unsure.status_code == 422
    assert "production is down, INC-1</textarea>" in unsure.text
    short = bo.post(path(approval, "break-glass"), path(approval), **{**sent, "emergency": "now", "sure": "1"})
    assert short.status_code == 400
    assert state(site.desk, approval) == "PENDING"
    assert bo.post(path(approval, "break-glass"), path(approval), sure="1", **sent).status_code == 303
    assert state(site.desk, approval) == "APPROVED"
    assert "let it through alone" in words(bo.get(path(approval)))


def test_a_reviewer_takes_back_what_was_not_spent(site: Site, bo: Visitor) -> None:
    approval = held(site.desk)
    site.desk.vote(approval, CY)
    assert bo.post(path(approval, "revoke"), path(approval)).status_code == 303
    assert state(site.desk, approval) == "REVOKED"


def test_a_wrong_finding_is_asked_to_be_an_exception_by_its_placeholder(site: Site, bo: Visitor, cy: Visitor) -> None:
    approval = held(site.desk)
    sent = {"placeholder": JANE, "why": "the name of our product", "days_of": "7"}
    answer = bo.post(path(approval, "exception"), path(approval), **sent)
    assert answer.status_code == 303, words(answer)
    location = answer.headers["location"]
    assert "?done=exception&made=" in location
    assert JANE not in location
    made = location.rpartition("=")[2]
    assert made in bo.get(location).text
    said = words(cy.get(f"/inbox/approvals/{made}"))
    assert "A finding that is none" in said
    assert VALUES[JANE] not in said
    refused = bo.post(path(approval, "exception"), path(approval), **{**sent, "placeholder": FAKE})
    assert refused.status_code == 404


def test_calls_like_this_one_can_be_asked_to_be_approved_in_advance(site: Site, bo: Visitor) -> None:
    approval = held(site.desk)
    answer = bo.post(path(approval, "standing"), path(approval), hours="2")
    assert answer.headers["location"].startswith(path(approval) + "?done=standing&made=")
    made = answer.headers["location"].rpartition("=")[2]
    assert "Calls that are approved in advance" in bo.get(f"/inbox/approvals/{made}").text
    assert bo.post(path(approval, "standing"), path(approval), hours="9999").status_code == 400


def test_evidence_is_a_file_and_taking_it_is_in_the_log(site: Site, bo: Visitor) -> None:
    approval = held(site.desk)
    assert bo.get(path(approval, "evidence")).status_code == 405
    answer = bo.post(path(approval, "evidence"), path(approval))
    assert answer.headers["content-disposition"] == f'attachment; filename="evidence-{approval.id}.json"'
    assert answer.json()["approval"]["id"] == approval.id
    assert "payload" not in answer.json()
    assert "approval.evidence" in site.desk.log()


def test_a_reviewer_who_lost_access_meanwhile_does_nothing_more(site: Site, bo: Visitor) -> None:
    approval = held(site.desk)
    page = bo.get(path(approval)).text
    token = bo.token()
    site.desk.put(BO, "interns")
    sent = {**dict(FIELD.findall(page)), "_form": token, "verdict": "approve", "seen": TICK.findall(page)}
    answer = bo.http.post(path(approval, "vote"), data=sent)
    assert answer.status_code == 404
    live = bo.get(path(approval), headers={"x-llmguard-live": "0"})
    assert (live.status_code, live.text) == (404, "")
    assert state(site.desk, approval) == "PENDING"


def test_following_the_links_of_a_page_changes_nothing(site: Site, bo: Visitor) -> None:
    approval = held(site.desk, break_glass="reviewers")
    page = bo.get(path(approval)).text
    links = set(re.findall(r'(?:href|action|formaction)="(/inbox/approvals/[^"#]+)"', page))
    before = len(site.desk.log())
    for link in links:
        bo.get(unescape(link))
    assert len(links) >= 5
    assert len(site.desk.log()) == before
    assert state(site.desk, approval) == "PENDING"


# --------------------------------------------------------------------------- long, many, and meant to deceive


def test_a_long_body_comes_in_stretches_and_is_approved_at_its_end_only(site: Site, bo: Visitor) -> None:
    text = "é" * 300_000
    approval = held(site.desk, body=written({"input": text + " zebra"}), entries={})
    first = bo.get(path(approval))
    assert "Go on reading" in first.text
    assert 'value="approve" disabled' in first.text
    assert "zebra" not in words(first)
    ticks = TICK.findall(first.text)
    assert len(ticks) == 1
    assert vote(bo, approval).status_code == 422
    at = re.search(r'formaction="([^"]+at=\d+)"', first.text)
    page = first
    for _ in range(10):
        at = re.search(r'formaction="([^"]+at=\d+)"', page.text)
        if at is None:
            break
        known = dict(FIELD.findall(page.text))
        sent = [known["seen"]] if "seen" in known else []
        data = {"_resume": "1", "reason": "long", "seen": [*sent, *TICK.findall(page.text)]}
        page = bo.http.post(unescape(at[1]), data=data)
        assert page.status_code == 200
    assert "zebra" in words(page)
    assert "long</textarea>" in page.text
    known = dict(FIELD.findall(page.text))
    sent = {**known, "seen": [known["seen"], *TICK.findall(page.text)], "verdict": "approve"}
    assert bo.post(path(approval, "vote"), path(approval), **sent).status_code == 303
    assert state(site.desk, approval) == "APPROVED"


def test_hundreds_of_messages_are_hundreds_of_messages_and_a_few_ticks(site: Site, bo: Visitor) -> None:
    body = {"messages": [{"role": "user", "content": f"line {n}"} for n in range(500)]}
    approval = held(site.desk, body=written(body), entries={})
    page = bo.get(path(approval)).text
    assert page.count("<h3>Message ") == 500
    assert len(TICK.findall(page)) <= 40
    assert vote(bo, approval).status_code == 303


def test_a_thousand_findings_are_each_marked_and_can_each_be_chosen(site: Site, bo: Visitor) -> None:
    tags = [f"[PERSON_{''.join('abcdefghij'[int(d)] for d in f'{n:010d}')}]" for n in range(1000)]
    entries = {tag: f"Person {n}" for n, tag in enumerate(tags)}
    approval = held(site.desk, body=written({"input": " ".join(tags)}), entries=entries)
    page = bo.get(path(approval)).text
    assert page.count('<mark class="ph') >= 1000
    assert page.count("<option>[PERSON_") == 1000
    assert "1,000 names" in page


DECEPTIONS = {
    "closes a block": "</pre></figure></section><h1>Approved</h1><form action='/inbox/approvals/x/vote'><button>OK",
    "an attribute": '" onmouseover="alert(1)" x="',
    "a link": '<a href="data:text/html,x">Open</a> [click](javascript:alert(1)) https://evil.example/approve',
    "a script": "<script>fetch('/inbox')</script><img src=https://evil.example/x.png onerror=alert(1)>",
    "a template": "{{ 7 * 7 }}{% for x in visit %}{{ x }}{% endfor %}",
    "right to left": "\u202eevorppA\u202c \u05d0\u05d1\u05d2 \u2066x\u2069",
    "hidden": "ap\u200bprove\u00ad \U000e0041\U000e0042",
    "stacked": "Z" + "\u0301" * 500,
    "terminal": "\x1b[2J\x1b]0;owned\x07\x9b31m",
    "emoji": "\N{THUMBS UP SIGN}\N{EMOJI MODIFIER FITZPATRICK TYPE-3}" * 25_000,
}


@pytest.mark.parametrize("text", DECEPTIONS.values(), ids=DECEPTIONS.keys())
def test_text_that_tries_to_be_more_than_text_is_only_text(site: Site, bo: Visitor, text: str) -> None:
    plain = bo.get(path(held(site.desk, key="1"))).text
    body = written({"messages": [{"role": text[:300], "name": text[:300], "content": text}], text[:300]: text[:300]})
    approval = held(site.desk, key="2", body=body, entries={})
    bo.post(path(approval), path(approval))
    for page in (bo.get(path(approval)).text, bo.post(path(approval), path(approval)).text):
        outside = re.sub(r'<pre dir="auto".*?</pre>|<bdi.*?</bdi>|<textarea.*?</textarea>', "", page, flags=re.S)
        for tag in ("script", "img", "h1", "h2", "iframe", "a ", "form", "button", "svg", "input", "label"):
            assert page.count(f"<{tag}") <= plain.count(f"<{tag}"), tag
        assert "evil.example" not in outside
        assert not re.search(r'(?:href|src|action)="(?!/inbox)[^"#]', page)
        assert not re.search(r"<[^>]* on\w+=", page)
        assert "49" not in re.findall(r"<h3>.*?</h3>", page)
        shown = re.sub(r"<textarea.*?</textarea>|<title>.*?</title>", "", page, flags=re.S)
        assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\u00ad\x1b\x07\x9b\U000e0000-\U000e007f]", shown)


def test_words_of_people_cannot_speak_as_the_page_either(site: Site, bo: Visitor) -> None:
    bad = "</blockquote><h1>Approved</h1>\u202e"
    approval = held(site.desk, quorum=2)
    site.desk.vote(approval, CY, reason=bad)
    page = bo.get(path(approval)).text
    assert page.count("<h1>") == 1
    assert "\u202e" not in page
    kept = vote(bo, approval, look=False, reason=bad).text
    assert kept.count("<h1>") == 1
    assert "&lt;/blockquote&gt;&lt;h1&gt;Approved&lt;/h1&gt;" in kept


def test_an_advisory_approval_says_so(desk: Desk) -> None:
    from llmguard.approvals import Approvals

    desk.approvals = Approvals(desk.vault, advisory=True)
    approval = held(desk)
    with served(desk) as site:
        bo = site.browser(BO)
        page = bo.get(path(approval)).text
        bo.close()
    assert "this approval proves little" in page


def test_the_page_follows_what_happens_and_is_quiet_while_nothing_does(site: Site, bo: Visitor) -> None:
    approval = held(site.desk, quorum=2)
    etag = bo.get(path(approval)).headers["etag"]
    quiet = bo.get(path(approval), headers={"x-llmguard-live": "0", "if-none-match": etag})
    assert (quiet.status_code, quiet.text) == (304, "")
    site.desk.vote(approval, CY, reason="known")
    news = bo.get(path(approval), headers={"x-llmguard-live": "0", "if-none-match": etag})
    assert news.status_code == 200
    assert "<html" not in news.text
    assert "approved it" in news.text
    assert MAIL not in news.text
    assert PAN not in news.text
