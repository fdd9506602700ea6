"""The order of the pipeline, as transcripts: no server, no store, no clock."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmguard.errors import ApprovalPending, CallBlocked, GuardUnavailable, UnscannableRequest, UpstreamError
from llmguard.model import (
    Approval,
    Body,
    Call,
    Destination,
    Egress,
    Finding,
    Principal,
    Requirement,
    Risk,
    TextPart,
)
from llmguard.payload import operations
from llmguard.pipeline import (
    AwaitApproval,
    Claim,
    ClientGone,
    Commit,
    Emit,
    Head,
    Kit,
    LoadGrants,
    NextChunk,
    Receipt,
    Scan,
    Send,
    guard_call,
)
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
                    result = self._perform(effect)
        except StopIteration:
            return

    def _perform(self, effect: Any) -> Any:
        match effect:
            case Scan(parts):
                return tuple(_find(p) for p in parts)
            case LoadGrants():
                return ()
            case Commit():
                self.commits.append(effect)
                taken = self.taken.pop(0) if self.taken else frozenset()
                return Receipt(taken, _approval(effect) if effect.hold and not taken else None)
            case AwaitApproval(_, approval):
                return approval
            case Claim():
                hold = next(c.hold for c in self.commits if c.hold)
                return hold.egress
            case Send(egress):
                self.sent.append(egress)
                return self._head
            case NextChunk():
                return self._answer.pop(0) if self._answer else None
            case Emit(item):
                self.emitted.append(item)
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
    assert side.transcript[:6] == ["Scan", "Commit", "AwaitApproval", "Claim", "LoadGrants", "Send"]
    assert side.commits[-1].settle == ("01APPROVAL", "EXECUTED")


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
    assert side.commits[-1].settle == ("01APPROVAL", state)
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
