"""The way of a call, as one generator without I/O. Its order is a security property, not an implementation detail:

    extract ─▶ scan ─▶ redact + assess ─▶ decide ─▶ [commit vault + decision] ─▶ (approval ─▶ claim) ─▶ send
            ─▶ restore ─▶ [commit outcome]

* Nothing is sent before the decision is committed; a commit that fails sends nothing.
* What needs an approval is sent from the claimed, frozen egress: the bytes that people saw, once.
* A stream is owned here until its outcome is recorded, also when the client or the provider is gone.

``guard_call`` yields effects and receives their results; errors are thrown into it. The drivers in ``guard`` perform
the effects. Time is ``call.received``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any, Literal

from llmguard.errors import CallBlocked, CallRefused, GuardUnavailable, LLMGuardError, UpstreamError
from llmguard.model import (
    Approval,
    AuditEntry,
    Call,
    Decision,
    Egress,
    Finding,
    Grant,
    Hold,
    Risk,
    TextPart,
    VaultEntry,
)
from llmguard.payload import headers as header_rules
from llmguard.payload import json as strict_json
from llmguard.payload import operations
from llmguard.payload.extract import Extract, extract
from llmguard.policy import Policy
from llmguard.redaction import Redaction, Restorer, redact
from llmguard.risk import Exposure, assess
from llmguard.streaming import StreamRestorer
from llmguard.vault import Vault

Findings = tuple[tuple[Finding, ...], ...]
MAX_COLLISIONS = 4

# --------------------------------------------------------------------------- effects


@dataclass(frozen=True, slots=True)
class Scan:
    """Look through the parts. Result: findings, aligned with the parts."""

    parts: tuple[TextPart, ...]


@dataclass(frozen=True, slots=True)
class LoadGrants:
    """Open what the principal was granted under the scopes. Result: tuple of VaultEntry."""

    call: Call
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Commit:
    """One unit of work. Result: Receipt. Outcomes of unheld calls do not ``wait``."""

    call: Call
    vault: tuple[VaultEntry, ...] = ()
    grants: tuple[Grant, ...] = ()
    audit: tuple[AuditEntry, ...] = ()
    hold: Hold | None = None
    settle: tuple[str, Literal["EXECUTED", "FAILED", "INDETERMINATE"]] | None = None
    wait: bool = True


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a commit did. Placeholders that are ``taken`` belong to other values: then nothing was stored."""

    taken: frozenset[str] = frozenset()
    approval: Approval | None = None


@dataclass(frozen=True, slots=True)
class AwaitApproval:
    """Wait for people, as long as the form of the call allows. Result: the Approval, approved; else a typed error."""

    call: Call
    approval: Approval


@dataclass(frozen=True, slots=True)
class Claim:
    """Spend the approval: one compare-and-set, with the intent in the log. Result: the frozen Egress."""

    call: Call
    approval: Approval
    decision: Decision


@dataclass(frozen=True, slots=True)
class Send:
    """Send to the provider. Result: Head. The bytes of the answer follow by NextChunk."""

    egress: Egress


@dataclass(frozen=True, slots=True)
class NextChunk:
    """The next bytes of the answer, content-decoded. Result: bytes, or None at the end."""


@dataclass(frozen=True, slots=True)
class Head:
    """Status and headers of an answer."""

    status: int
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Emit:
    """Give to the caller: first one Head, then bytes."""

    item: Head | bytes


Effect = Scan | LoadGrants | Commit | AwaitApproval | Claim | Send | NextChunk | Emit
Flow = Generator[Effect, Any, None]


class ClientGone(LLMGuardError):
    """Thrown in by a driver: nobody receives the answer any more. ``sent`` is false if nothing had left by then."""

    code = "client_gone"

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


@dataclass(frozen=True, slots=True)
class Kit:
    """What the pipeline decides with. No I/O in any of it."""

    vault: Vault
    policy: Policy
    secret_tools: frozenset[str] = frozenset()
    max_answer_bytes: int = 64 * 1024 * 1024


# --------------------------------------------------------------------------- the way out


@dataclass(frozen=True, slots=True)
class Plan:
    """A decided call: what would leave, and how it comes back."""

    call: Call
    decision: Decision
    risk: Risk
    egress: Egress
    entries: tuple[VaultEntry, ...]
    found: tuple[tuple[TextPart, Finding], ...]
    unscanned: tuple[str, ...]

    def counts(self) -> dict[str, int]:
        return dict(sorted(Counter(f.type for _, f in self.found).items()))


def guard_call(call: Call, kit: Kit) -> Flow:
    """The whole way of one call. Raises CallRefused (nothing was sent) or UpstreamError."""
    try:
        content = extract(call)
        findings: Findings = yield Scan(content.parts)
        granted = yield from _granted(call, operations.references(call.operation, content.document, call.path_params))
        plan, approval = yield from _decided(call, kit, content, findings)
        if approval is not None:
            approval = yield AwaitApproval(call, approval)
            plan, granted = yield from _claimed(plan, approval)
    except CallRefused as refusal:
        yield Commit(call, audit=(_entry(call, "call.refused", code=refusal.code),))
        raise
    yield from _exchange(plan, kit, granted, approval)


def _granted(call: Call, scopes: tuple[str, ...]) -> Generator[Effect, Any, tuple[VaultEntry, ...]]:
    if not scopes:
        return ()
    entries: tuple[VaultEntry, ...] = yield LoadGrants(call, scopes)
    return entries


def _decided(
    call: Call, kit: Kit, content: Extract, findings: Findings
) -> Generator[Effect, Any, tuple[Plan, Approval | None]]:
    """Decide and commit. A placeholder that another value owns is lengthened, and all is decided once more."""
    taken: frozenset[str] = frozenset()
    for _ in range(MAX_COLLISIONS):
        plan = _plan(call, kit, content, findings, taken)
        held = plan.decision.verdict == "require_approval"
        hold = _hold(plan, kit) if held else None
        receipt: Receipt = yield Commit(call, vault=plan.entries, audit=(_decision_entry(plan),), hold=hold)
        if receipt.taken:
            taken |= receipt.taken
        elif plan.decision.verdict == "block":
            raise CallBlocked(f"blocked by the rule {plan.decision.rule!r}: {plan.decision.reason}")
        elif held and receipt.approval is None:
            raise GuardUnavailable("the approval was not stored")
        else:
            return plan, receipt.approval
    raise GuardUnavailable("placeholders could not be made unique; try again")


def _plan(call: Call, kit: Kit, content: Extract, findings: Findings, taken: frozenset[str]) -> Plan:
    if len(findings) != len(content.parts):
        raise GuardUnavailable("the scan did not answer for every part")
    found = tuple((part, f) for part, fs in zip(content.parts, findings, strict=True) for f in fs)
    redaction = redact(kit.vault, call.tenant, content.parts, findings, taken)
    risk = assess(call, _exposures(kit.vault, call.tenant, found), content.unscanned)
    decision = kit.policy.decide(call, found, risk, content.unscanned)
    if decision.verdict == "allow":
        redaction = Redaction(texts={}, entries=(), exposed=redaction.exposed)
    egress = Egress(
        destination=call.destination.name,
        url=f"{call.destination.base_url}{call.path}" + (f"?{call.query}" if call.query else ""),
        account=call.account,
        method=call.method,
        headers=call.headers,
        body=content.rebuild(redaction.texts),
    )
    return Plan(call, decision, risk, egress, redaction.entries, found, content.unscanned)


def _exposures(vault: Vault, tenant: str, found: tuple[tuple[TextPart, Finding], ...]) -> list[Exposure]:
    """Distinct values by keyed digest; what stands where it cannot be redacted counts as leaving."""
    return [
        Exposure(
            vault.digest(tenant, f.type, part.text[f.start : f.end]).hex(),
            f.type,
            f.category,
            f.severity,
            f.confidence,
            part.redactable,
        )
        for part, f in found
    ]


def _hold(plan: Plan, kit: Kit) -> Hold:
    call = plan.call
    pieces = [call.principal.id, call.method, call.path, call.query, call.body.media_type]
    pieces += [x for name, value in call.headers if name.startswith("openai-") for x in (name, value)]
    scope = ""  # the approval's own scope is filled in where its id is known
    return Hold(
        principal=call.principal,
        subject="call",
        operation=call.operation.name,
        request_key=kit.vault.request_key(call.tenant, [p.encode() for p in pieces] + [call.body.raw]),
        egress=plan.egress,
        original=call.body.raw,
        decision=plan.decision,
        risk=plan.risk,
        findings=plan.counts(),
        grants=tuple(Grant(scope, e.placeholder, e.origin) for e in plan.entries),
        call=call.id,
    )


def _claimed(plan: Plan, approval: Approval) -> Generator[Effect, Any, tuple[Plan, tuple[VaultEntry, ...]]]:
    """The egress that people approved replaces ours, with the placeholders that it holds."""
    egress: Egress = yield Claim(plan.call, approval, plan.decision)
    granted: tuple[VaultEntry, ...] = yield LoadGrants(plan.call, (f"approval:{approval.id}",))
    return replace(plan, egress=egress), granted


# --------------------------------------------------------------------------- and back


@dataclass(slots=True)
class _Exchange:
    """What is known of the outcome so far."""

    outcome: str = "not_sent"
    status: int = 0
    grants: tuple[Grant, ...] = ()


def _exchange(plan: Plan, kit: Kit, granted: tuple[VaultEntry, ...], approval: Approval | None) -> Flow:
    """Send, restore, record. Whatever happens, exactly one outcome is committed."""
    known = {e.placeholder: e for e in (*granted, *plan.entries)}
    restorer = Restorer(tuple(known.values()), kit.secret_tools)
    record = _Exchange()
    failure: LLMGuardError | None = None
    try:
        yield from _answer(plan, kit, restorer, record)
    except (UpstreamError, ClientGone) as e:
        record.outcome = e.code if e.sent or record.status else "not_sent"
        failure = e
    except LLMGuardError as e:
        record.outcome = e.code
        failure = e
    entry = _entry(plan.call, "call.outcome", outcome=record.outcome, status=record.status)
    settle = (approval.id, _settled(record)) if approval else None
    yield Commit(plan.call, grants=record.grants, audit=(entry,), settle=settle, wait=approval is not None)
    if failure:
        raise failure


def _settled(record: _Exchange) -> Literal["EXECUTED", "FAILED", "INDETERMINATE"]:
    """An answer's head proves that the provider acted; without one, only certainty that nothing left is a failure."""
    if record.status:
        return "EXECUTED"
    return "FAILED" if record.outcome == "not_sent" else "INDETERMINATE"


def _answer(plan: Plan, kit: Kit, restorer: Restorer, record: _Exchange) -> Flow:
    head: Head = yield Send(plan.egress)
    record.status = head.status
    if 300 <= head.status < 400:
        raise UpstreamError("the provider answered with a redirect; set upstream to the address it really has")
    media = header_rules.media_type(head.headers)
    if media == "text/event-stream":
        yield from _streamed(plan, head, restorer)
    elif restorer and (media == "application/json" or media.startswith("text/")):
        yield from _whole(plan, kit, head, restorer, record)
    else:
        yield from _passed(plan, head)
    record.outcome = "completed"


def _passed(plan: Plan, head: Head) -> Flow:
    """Nothing to restore: bytes go back as they come."""
    yield Emit(_head(plan, head))
    while (chunk := (yield NextChunk())) is not None:
        yield Emit(chunk)


def _streamed(plan: Plan, head: Head, restorer: Restorer) -> Flow:
    """Whole events as they come. A stream that breaks off is ended in words that the SDK understands."""
    stream = StreamRestorer(restorer, plan.call.operation.name)
    yield Emit(_head(plan, head))
    try:
        while (chunk := (yield NextChunk())) is not None:
            if ready := stream.feed(chunk):
                yield Emit(ready)
        if rest := stream.finish():
            yield Emit(rest)
    except UpstreamError as e:
        yield Emit(stream.abort() + _error_event(e))
        raise


def _whole(plan: Plan, kit: Kit, head: Head, restorer: Restorer, record: _Exchange) -> Flow:
    body = yield from _collected(kit.max_answer_bytes)
    if header_rules.media_type(head.headers) == "application/json":
        record.grants = _new_grants(plan, body)
        body = restorer.json(body)
    else:
        body = _restored_text(restorer, body)
    answer = _head(plan, head)
    yield Emit(replace(answer, headers=(*answer.headers, ("content-length", str(len(body))))))
    yield Emit(body)


def _collected(limit: int) -> Generator[Effect, Any, bytes]:
    pieces, size = [], 0
    while (chunk := (yield NextChunk())) is not None:
        size += len(chunk)
        if size > limit:
            raise UpstreamError("the provider's answer is larger than max_answer_bytes")
        pieces.append(chunk)
    return b"".join(pieces)


def _restored_text(restorer: Restorer, body: bytes) -> bytes:
    try:
        return restorer.text(body.decode()).encode()
    except UnicodeDecodeError:
        return body


def _new_grants(plan: Plan, body: bytes) -> tuple[Grant, ...]:
    """What was sent may come back under the id of what was stored (a response, a conversation, a file)."""
    if not plan.entries or not plan.call.operation.grant_writes:
        return ()
    try:
        answer = strict_json.parse(body).value
    except CallRefused:
        return ()
    scopes = operations.written(plan.call.operation, answer, plan.call.path_params)
    return tuple(Grant(scope, e.placeholder, e.origin) for scope in scopes for e in plan.entries)


def _head(plan: Plan, head: Head) -> Head:
    ours = (("x-llmguard-call", plan.call.id), ("x-llmguard-decision", plan.decision.verdict))
    return Head(head.status, header_rules.returning(head.headers) + ours)


def _error_event(error: LLMGuardError) -> bytes:
    """An SSE event that both SDK styles understand: ``error`` inside, and code and message on top."""
    body = error.body()
    return b"event: error\ndata: " + _compact({**body, "code": error.code, "message": error.message}) + b"\n\n"


def _compact(value: Any) -> bytes:
    import json

    return json.dumps(value, separators=(",", ":")).encode()


# --------------------------------------------------------------------------- what the log says


def _entry(call: Call, kind: str, **details: Any) -> AuditEntry:
    return AuditEntry(kind, call.tenant, {"call": call.id, **details})


def _decision_entry(plan: Plan) -> AuditEntry:
    """Decision and intent in one leaf: who, where to, what kinds of findings, which rule. Never text."""
    call, decision = plan.call, plan.decision
    return _entry(
        call,
        "call.decided",
        principal=call.principal.id,
        human=call.principal.human or "",
        operation=call.operation.name,
        destination=call.destination.name,
        account=call.account,
        verdict=decision.verdict,
        rule=decision.rule,
        policy=decision.policy_version,
        inherent=plan.risk.inherent,
        residual=plan.risk.residual,
        findings=plan.counts(),
        unscanned=list(plan.unscanned),
        bytes=len(plan.egress.body),
    )
