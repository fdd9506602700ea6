"""The order of the pipeline, as transcripts: no server, no store, no clock."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from llmguard.effects import (
    AwaitApproval,
    Claim,
    ClientGone,
    Commit,
    Emit,
    Head,
    LoadGrants,
    NextChunk,
    Recall,
    Receipt,
    Scan,
    Send,
)
from llmguard.errors import (
    AlreadyExecuted,
    ApprovalDenied,
    ApprovalPending,
    CallBlocked,
    GuardUnavailable,
    JustificationRequired,
    LLMGuardError,
    UnscannableRequest,
    UpstreamError,
)
from llmguard.facts import Facts
from llmguard.model import (
    Answer,
    Approval,
    Body,
    Call,
    Destination,
    Egress,
    Finding,
    Principal,
    Requirement,
    Risk,
    Scanned,
    Settlement,
    TextPart,
)
from llmguard.payload import operations
from llmguard.pipeline import Kit, guard_call
from llmguard.policy import Policy
from llmguard.vault import Keyring, Vault

VALUE = "value-to-hide"
HOLD = [{"name": "hold", "when": "size(findings) > 0", "verdict": "require_approval"}]
BLOCK = [{"name": "no", "when": "size(findings) > 0", "verdict": "block"}]
JSON = Head(200, (("content-type", "application/json"),))
EVENTS = Head(200, (("content-type", "text/event-stream"),))


def call(content: str = VALUE, path: str = "/chat/completions", **fields: Any) -> Call:
    found = operations.find("POST", path)
    assert found
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": content}], **fields}).encode()
    return Call(
        id="01CALL",
        principal=Principal("key:1", "default", "service", "app", "ann@example.org"),
        operation=found[0],
        destination=Destination("echo", "http://upstream/v1"),
        method="POST",
        path=path,
        query="",
        headers=(("content-type", "application/json"),),
        body=Body("json", body, "application/json"),
        account="account",
        received=1_700_000_000_000,
    )


class Side:
    """Answers every effect plainly and keeps the transcript; ``fails`` throws instead at an effect's name."""

    def __init__(self, rules: Any = None, answer: list[bytes] | None = None, head: Head = JSON) -> None:
        self.kit = Kit(Vault(Keyring.generate()), Policy(rules))
        self.transcript: list[str] = []
        self.commits: list[Commit] = []
        self.sent: list[Egress] = []
        self.emitted: list[Head | bytes] = []
        self.fails: dict[str, Exception] = {}
        self.taken: list[frozenset[str]] = []
        self.newer: list[Policy] = []
        """Policies that are in force by the time of a decision's commit, in turn."""
        self.decisions: list[Any] = []
        """What AwaitApproval answers, in turn: an error, or a state; APPROVED once the list is empty."""
        self.claims: list[str] = []
        """States that a claim finds instead of APPROVED, in turn."""
        self.waits: list[int] = []
        self.recalled: Answer | None = None
        self.gone_at: bytes | None = None
        """The client hangs up when it is given this."""
        self.at_the_end: Exception | None = None
        self._answer = list(answer or [b'{"ok": true}'])
        self._head = head

    def run(self, of: Call) -> None:
        flow = guard_call(of, self.kit)
        result: Any = None
        error: Exception | None = None
        try:
            while True:
                effect = flow.throw(error) if error else flow.send(result)
                name = type(effect).__name__
                self.transcript.append(name)
                error, result = self.fails.pop(name, None), None
                if name == "NextChunk" and not self._answer and self.at_the_end:
                    error, self.at_the_end = self.at_the_end, None
                if error is None:
                    try:
                        result = self._perform(effect)
                    except LLMGuardError as e:
                        error = e
        except StopIteration:
            return

    def _perform(self, effect: Any) -> Any:  # noqa: C901  one branch an effect
        match effect:
            case Scan(_, parts):
                return Scanned(tuple(_find(p) for p in parts))
            case LoadGrants():
                return ()
            case Commit():
                self.commits.append(effect)
                if self.newer and effect.policy:
                    return Receipt(policy=self.newer.pop(0))
                taken = self.taken.pop(0) if self.taken else frozenset()
                return Receipt(taken, _approval(effect) if effect.hold and not taken else None)
            case AwaitApproval(_, approval, until):
                self.waits.append(until)
                decided = self.decisions.pop(0) if self.decisions else "APPROVED"
                if isinstance(decided, Exception):
                    raise decided
                return replace(approval, state=decided)
            case Claim(_, approval):
                if self.claims:
                    return replace(approval, state=self.claims.pop(0))
                hold = next(c.hold for c in self.commits if c.hold)
                return hold.egress
            case Recall():
                if self.recalled is None:
                    raise AlreadyExecuted("spent")
                return self.recalled
            case Send(egress):
                self.sent.append(egress)
                return self._head
            case NextChunk():
                return self._answer.pop(0) if self._answer else None
            case Emit(item):
                self.emitted.append(item)
                if item == self.gone_at:
                    raise ClientGone("gone")
        return None


def _find(part: TextPart) -> tuple[Finding, ...]:
    at = part.text.find(VALUE)
    return () if at < 0 else (Finding(at, at + len(VALUE), "EMAIL", "pii", 0.9, "test.value", "medium"),)


def _approval(commit: Commit) -> Approval:
    hold = commit.hold
    assert hold
    return Approval(
        id="01APPROVAL",
        tenant="default",
        state="APPROVED",
        version=1,
        subject="call",
        operation=hold.operation,
        destination="echo",
        principal=hold.principal.id,
        human=hold.principal.human,
        request_key=hold.request_key,
        egress_digest=hold.egress.digest(),
        policy_version="v",
        rule="hold",
        requirement=Requirement(),
        risk=Risk(0, 0),
        findings={},
        advisory=False,
        created=0,
        expires=1,
        updated=0,
    )


def test_decision_is_committed_before_the_first_byte_leaves() -> None:
    side = Side()
    side.run(call())
    assert side.transcript == ["Scan", "Commit", "Send", "NextChunk", "NextChunk", "Emit", "Emit", "Commit"]
    assert [e.kind for c in side.commits for e in c.audit] == ["call.decided", "call.outcome"]
    assert VALUE.encode() not in side.sent[0].body


def test_held_call_is_sent_only_from_its_claim() -> None:
    side = Side(HOLD)
    side.run(call())
    assert side.transcript[:6] == ["Scan", "Commit", "LoadGrants", "AwaitApproval", "Claim", "Send"]
    kept = Answer(200, JSON.headers, b'{"ok": true}')
    assert side.commits[-1].settle == Settlement("01APPROVAL", "EXECUTED", kept)


def test_pending_approval_sends_nothing() -> None:
    side = Side(HOLD)
    side.fails["AwaitApproval"] = ApprovalPending("wait")
    with pytest.raises(ApprovalPending):
        side.run(call())
    assert "Send" not in side.transcript
    assert "Claim" not in side.transcript


def test_blocked_call_is_recorded_and_sends_nothing() -> None:
    side = Side(BLOCK)
    with pytest.raises(CallBlocked):
        side.run(call())
    assert side.transcript == ["Scan", "Commit", "Commit"]
    assert side.commits[0].audit[0].details["verdict"] == "block"


@pytest.mark.parametrize("effect", ["Scan", "Commit", "Claim"])
def test_failing_part_of_the_guard_sends_nothing(effect: str) -> None:
    side = Side(HOLD)
    side.fails[effect] = GuardUnavailable("down")
    with pytest.raises(GuardUnavailable):
        side.run(call())
    assert not side.sent


def test_policy_that_errs_sends_nothing() -> None:
    side = Side([{"name": "broken", "when": "findings[99].type == 'X'", "verdict": "allow"}])
    with pytest.raises(GuardUnavailable, match="broken"):
        side.run(call())
    assert not side.sent


def test_body_that_is_not_understood_sends_nothing() -> None:
    side = Side()
    broken = call()
    object.__setattr__(broken, "body", Body("json", b'{"a": 1, "a": 2}', "application/json"))
    with pytest.raises(UnscannableRequest):
        side.run(broken)
    assert side.transcript == ["Commit"]
    assert side.commits[0].audit[0].details["code"] == "unscannable_request"


def test_clean_call_leaves_as_the_very_bytes_that_came() -> None:
    side = Side()
    clean = call("nothing here")
    side.run(clean)
    assert side.sent[0].body is clean.body.raw


def test_taken_placeholder_is_lengthened_and_decided_anew() -> None:
    side = Side()
    first = side.kit.vault.placeholder("default", "EMAIL", VALUE)
    side.taken = [frozenset({first})]
    side.run(call())
    assert side.transcript.count("Scan") == 1
    assert first.encode() not in side.sent[0].body
    assert first[:-1].encode() in side.sent[0].body


def test_a_policy_that_changed_meanwhile_decides_anew() -> None:
    side = Side([{"verdict": "allow"}])
    side.newer = [Policy(BLOCK)]
    with pytest.raises(CallBlocked, match="'no'"):
        side.run(call())
    assert side.transcript.count("Scan") == 1
    assert not side.sent
    side = Side(BLOCK)
    side.newer = [Policy([{"name": "later", "verdict": "redact"}])]
    side.run(call())
    assert VALUE.encode() not in side.sent[0].body


def test_what_is_kept_of_a_call_decides_the_same_and_holds_no_text() -> None:
    side = Side()
    side.run(call(f"{VALUE} and {VALUE}", user=VALUE))
    record = next(c.record for c in side.commits if c.record)
    kept = record.facts.encode()
    assert VALUE.encode() not in kept
    assert side.kit.vault.digest("default", "EMAIL", VALUE).hex().encode() not in kept
    again = Facts.decode(kept)
    assert side.kit.policy.risk(again) == record.risk
    assert side.kit.policy.decide(again, record.risk) == record.decision
    assert again.counts == record.facts.counts


def test_what_a_rule_lets_through_as_it_is_leaves_with_its_whole_risk() -> None:
    side = Side([{"verdict": "allow"}])
    side.run(call())
    record = next(c.record for c in side.commits if c.record)
    assert VALUE.encode() in side.sent[0].body
    assert record.risk.residual == record.risk.inherent > 0


WANTS = [{"name": "why", "when": "size(findings) > 0", "verdict": "require_approval", "justification": True}]


def test_a_rule_that_wants_a_reason_gets_one_or_refuses() -> None:
    side = Side(WANTS)
    with pytest.raises(JustificationRequired, match="x-llmguard-justification"):
        side.run(call())
    assert side.transcript == ["Scan", "Commit"]
    assert not any(c.hold for c in side.commits)
    side = Side(WANTS)
    side.run(replace(call(), justification=f"the audit of {VALUE}"))
    hold = next(c.hold for c in side.commits if c.hold)
    assert hold.justification.startswith("the audit of [EMAIL_")
    assert VALUE not in hold.justification


def test_nobody_is_asked_for_a_reason_of_what_needs_no_approval() -> None:
    side = Side(WANTS)
    side.run(call("nothing here"))
    assert side.sent


@pytest.mark.parametrize(
    ("rule", "settings", "caller", "ticket"),
    [
        ("", False, False, False),
        ("", True, False, True),
        ("wait", True, False, False),
        ("ticket", False, False, True),
        ("wait", False, True, True),
    ],
)
def test_whether_a_held_call_waits_is_said_by_its_caller_its_rule_then_the_settings(
    rule: str, settings: bool, caller: bool, ticket: bool
) -> None:
    side = Side([{**HOLD[0], **({"hold": rule} if rule else {})}])
    side.kit = replace(side.kit, tickets=settings)
    side.run(replace(call(), patience=45.0, ticket=caller))
    assert side.waits == [0 if ticket else 1_700_000_045_000]


def test_rules_in_shadow_mode_are_in_the_log() -> None:
    side = Side([{"name": "new", "when": "size(findings) > 0", "verdict": "block", "shadow": True}])
    side.run(call())
    assert side.commits[0].audit[0].details["shadow"] == [["new", "block"]]
    assert side.sent


def test_answer_returns_restored() -> None:
    side = Side()
    placeholder = side.kit.vault.placeholder("default", "EMAIL", VALUE)
    content = json.dumps({"choices": [{"message": {"content": f"hello {placeholder}"}}]}).encode()
    side = _with_vault(side, [content])
    side.run(call())
    assert json.loads(side.emitted[1])["choices"][0]["message"]["content"] == f"hello {VALUE}"  # type: ignore[arg-type]


def _with_vault(old: Side, answer: list[bytes], head: Head = JSON) -> Side:
    side = Side(None, answer, head)
    side.kit = old.kit
    return side


def test_provider_that_breaks_off_mid_stream_ends_it_with_a_typed_event() -> None:
    side = Side(None, [b'data: {"choices": []}\n\n', b'data: {"half'], EVENTS)
    side.at_the_end = UpstreamError("broke off")
    with pytest.raises(UpstreamError):
        side.run(call())
    stream = b"".join(x for x in side.emitted if isinstance(x, bytes))
    assert stream.startswith(b'data: {"choices": []}\n\n')
    assert b'"half' not in stream
    event = stream.rpartition(b"event: error\ndata: ")[2]
    assert json.loads(event)["error"]["code"] == "upstream_error"
    assert side.commits[-1].audit[0].details["outcome"] == "upstream_error"


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (UpstreamError("refused", sent=False), "FAILED"),
        (UpstreamError("broke off"), "INDETERMINATE"),
        (ClientGone("gone", sent=False), "FAILED"),
        (ClientGone("gone"), "INDETERMINATE"),
    ],
)
def test_what_is_uncertain_about_a_held_call_is_recorded_as_such(error: Exception, state: str) -> None:
    side = Side(HOLD)
    side.fails["Send"] = error
    with pytest.raises(type(error)):
        side.run(call())
    assert side.commits[-1].settle == Settlement("01APPROVAL", state)  # type: ignore[arg-type]
    assert len([c for c in side.commits if c.settle]) == 1


def test_client_that_leaves_mid_stream_leaves_an_outcome() -> None:
    side = Side(None, [b"data: {}\n\n"], EVENTS)
    side.fails["Emit"] = ClientGone("gone")
    with pytest.raises(ClientGone):
        side.run(call())
    assert side.commits[-1].audit[0].details == {"call": "01CALL", "outcome": "client_gone", "status": 200}


def test_redirect_is_not_followed_nor_forwarded() -> None:
    side = Side(head=Head(307, (("location", "http://elsewhere"),)))
    with pytest.raises(UpstreamError):
        side.run(call())
    assert not side.emitted


def test_nothing_committed_holds_text() -> None:
    side = Side(HOLD)
    side.run(call())
    for commit in side.commits:
        assert VALUE not in repr(commit)
        assert all(VALUE not in json.dumps(e.details) for e in commit.audit)


# --------------------------------------------------------------------------- held


def placeholder(side: Side) -> str:
    return side.kit.vault.placeholder("default", "EMAIL", VALUE)


def stream_of(side: Side) -> bytes:
    return b"".join(x for x in side.emitted if isinstance(x, bytes))


def test_held_call_may_be_silent_as_long_as_its_client_is_patient() -> None:
    side = Side(HOLD)
    side.run(replace(call(), patience=45.0))
    assert side.waits == [1_700_000_045_000]


def test_ticket_does_not_wait() -> None:
    for asked in (call(), call(stream=True)):
        side = Side(HOLD)
        side.decisions = [ApprovalPending("wait")]
        with pytest.raises(ApprovalPending):
            side.run(replace(asked, patience=45.0, ticket=True))
        assert side.waits == [0]
        assert not side.emitted


def test_approval_that_cannot_be_claimed_yet_is_waited_for_again() -> None:
    side = Side(HOLD)
    side.claims = ["EXECUTING", "PENDING"]
    side.run(call())
    assert [t for t in side.transcript if t in ("AwaitApproval", "Claim", "Send")] == [
        *("AwaitApproval", "Claim", "AwaitApproval", "Claim", "AwaitApproval", "Claim"),
        "Send",
    ]


def test_held_stream_is_opened_after_ten_seconds_kept_alive_and_starts_late() -> None:
    side = Side(HOLD, [b"data: {}\n\n"], EVENTS)
    side.decisions = [ApprovalPending("wait"), ApprovalPending("wait")]
    side.run(replace(call(stream=True), patience=45.0, pulse=3.0))
    assert side.waits == [1_700_000_010_000, 1_700_000_013_000, 1_700_000_016_000]
    heads = [x for x in side.emitted if isinstance(x, Head)]
    assert [h.status for h in heads] == [200]
    assert ("x-llmguard-approval", "01APPROVAL") in heads[0].headers
    assert stream_of(side) == b": held\n\n: held\n\ndata: {}\n\n"
    assert side.commits[-1].settle


def test_stream_that_is_decided_in_time_has_the_providers_head() -> None:
    side = Side(HOLD, [b"data: {}\n\n"], EVENTS)
    side.run(replace(call(stream=True), patience=45.0))
    assert stream_of(side) == b"data: {}\n\n"


def test_stream_that_is_denied_after_it_was_opened_ends_with_a_typed_event() -> None:
    side = Side(HOLD)
    side.decisions = [ApprovalPending("wait"), ApprovalDenied("no", approval_id="01APPROVAL")]
    with pytest.raises(ApprovalDenied):
        side.run(call(stream=True))
    event = json.loads(stream_of(side).removeprefix(b": held\n\nevent: error\ndata: "))
    assert (event["code"], event["message"]) == ("approval_denied", "no")
    assert event["error"]["approval_id"] == "01APPROVAL"
    assert "Send" not in side.transcript
    assert side.commits[-1].audit[0].details["code"] == "approval_denied"


def test_providers_error_reaches_a_stream_that_was_opened_as_an_event() -> None:
    side = Side(HOLD)
    error = json.dumps({"error": {"message": f"bad: {placeholder(side)}", "code": "bad"}}).encode()
    side = _with_vault(side, [error], Head(400, JSON.headers))
    side.decisions = [ApprovalPending("wait")]
    side.run(call(stream=True))
    event = json.loads(stream_of(side).rpartition(b"event: error\ndata: ")[2])
    assert event["error"]["message"] == f"bad: {VALUE}"
    assert event["code"] == "bad"


def test_provider_that_cannot_be_reached_ends_a_stream_that_was_opened() -> None:
    side = Side(HOLD)
    side.decisions = [ApprovalPending("wait")]
    side.fails["Send"] = UpstreamError("refused", sent=False)
    with pytest.raises(UpstreamError):
        side.run(call(stream=True))
    assert b'"code":"upstream_error"' in stream_of(side)
    assert side.commits[-1].settle == Settlement("01APPROVAL", "FAILED")


@pytest.mark.parametrize("cancel", [True, False])
def test_caller_who_is_gone_while_people_decide_has_nothing_sent(cancel: bool) -> None:
    for fails in ("AwaitApproval", "Emit"):
        side = Side(HOLD)
        side.kit = replace(side.kit, cancel_when_gone=cancel)
        side.decisions = [ApprovalPending("wait")]
        side.fails[fails] = ClientGone("gone")
        with pytest.raises(ClientGone):
            side.run(call(stream=True))
        assert "Send" not in side.transcript
        assert "Claim" not in side.transcript
        assert side.commits[-1].audit[0].details["code"] == "client_gone"
        assert bool(side.commits[-1].withdraw) is cancel


def test_answer_is_kept_as_the_provider_gave_it() -> None:
    side = Side(HOLD)
    said = json.dumps({"choices": [{"message": {"content": placeholder(side)}}]}).encode()
    side = _with_vault(side, [said[:9], said[9:]])
    side.kit = replace(side.kit, policy=Policy(HOLD))
    side.run(call())
    settle = side.commits[-1].settle
    assert settle
    assert settle.answer
    assert settle.answer.body == said
    assert VALUE in stream_of(side).decode()


@pytest.mark.parametrize("head", [JSON, EVENTS], ids=["whole", "stream"])
def test_retry_of_what_was_sent_is_played_from_the_record_and_restored(head: Head) -> None:
    side = Side(HOLD)
    body = json.dumps({"choices": [{"index": 0, "delta": {"content": placeholder(side)}}]}).encode()
    side.recalled = Answer(200, head.headers, body if head is JSON else b"data: " + body + b"\n\n")
    side.decisions = ["EXECUTED"]
    side.run(call())
    assert VALUE in stream_of(side).decode()
    assert not {"Claim", "Send", "NextChunk"} & set(side.transcript)
    assert side.commits[-1].settle is None
    assert side.commits[-1].audit[0].details["outcome"] == "replayed"


def test_stream_whose_client_hangs_up_at_its_end_is_kept() -> None:
    side = Side(HOLD, [b"data: {}\n\n", b"data: [DONE]\n\n"], EVENTS)
    side.gone_at = b"data: [DONE]\n\n"
    with pytest.raises(ClientGone):
        side.run(call(stream=True))
    settle = side.commits[-1].settle
    assert settle
    assert settle.answer == Answer(200, EVENTS.headers, b"data: {}\n\ndata: [DONE]\n\n")


def test_stream_whose_client_hangs_up_before_its_end_is_not_kept() -> None:
    side = Side(HOLD, [b"data: {}\n\n", b"data: [DONE]\n\n"], EVENTS)
    side.gone_at = b"data: {}\n\n"
    with pytest.raises(ClientGone):
        side.run(call(stream=True))
    assert side.commits[-1].settle == Settlement("01APPROVAL", "EXECUTED")


def test_retry_of_what_is_not_kept_is_refused() -> None:
    side = Side(HOLD)
    side.decisions = ["EXECUTED"]
    with pytest.raises(AlreadyExecuted):
        side.run(call())
    assert "Send" not in side.transcript


def test_provider_that_is_too_busy_leaves_the_approval_unspent() -> None:
    side = Side(HOLD, head=Head(429, (*JSON.headers, ("retry-after", "2"))))
    side.run(call())
    assert side.commits[-1].settle == Settlement("01APPROVAL", "APPROVED")
    assert ("retry-after", "2") in side.emitted[0].headers  # type: ignore[union-attr]


def test_busy_provider_that_breaks_off_may_have_acted() -> None:
    side = Side(HOLD, head=Head(429, JSON.headers))
    side.at_the_end = UpstreamError("broke off")
    with pytest.raises(UpstreamError):
        side.run(call())
    assert side.commits[-1].settle == Settlement("01APPROVAL", "EXECUTED")


def test_error_of_a_spent_approval_is_not_hidden_by_a_retry() -> None:
    side = Side(HOLD, head=Head(500, (*JSON.headers, ("x-should-retry", "true"))))
    side.run(call())
    assert [v for n, v in side.emitted[0].headers if n == "x-should-retry"] == ["false"]  # type: ignore[union-attr]


def test_request_to_another_provider_or_payer_does_not_join() -> None:
    keys = set()
    for changed in (
        call(),
        replace(call(), account="other"),
        replace(call(), destination=Destination("e", "http://o")),
    ):
        side = Side(HOLD)
        side.kit = replace(side.kit, vault=_VAULT)
        side.run(changed)
        keys |= {c.hold.request_key for c in side.commits if c.hold}
    assert len(keys) == 3


_VAULT = Vault(Keyring.generate())


def test_credential_for_a_tools_server_leaves_as_it_is_and_is_counted() -> None:
    side = Side()
    side.run(call(tools=[{"type": "mcp", "server_label": "crm", "authorization": "tok-1"}]))
    assert b'"tok-1"' in side.sent[0].body
    assert VALUE.encode() not in side.sent[0].body
    assert side.commits[0].audit[0].details["findings"] == {"EMAIL": 1, "MCP_CREDENTIAL": 1}
    assert side.commits[0].audit[0].details["rule"] == "credential"


def test_value_that_no_placeholder_fits_for_is_held() -> None:
    side = Side()
    side.run(call("x", tools=[{"type": "function", "function": {"name": f"get{VALUE}now"}}]))
    hold = side.commits[0].hold
    assert hold
    assert hold.decision.rule == "not-redactable"
    assert side.transcript[:5] == ["Scan", "Commit", "LoadGrants", "AwaitApproval", "Claim"]


def test_function_whose_name_is_a_value_leaves_under_a_name_that_fits() -> None:
    side = Side()
    side.run(call("x", tools=[{"type": "function", "function": {"name": VALUE}}]))
    name = json.loads(side.sent[0].body)["tools"][0]["function"]["name"]
    assert name == side.commits[0].vault[0].placeholder[1:-1]
