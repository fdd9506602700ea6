"""The way of a call, as one generator without I/O. Its order is a security property, not an implementation detail:

    extract ─▶ scan ─▶ redact + assess ─▶ decide ─▶ [commit vault + decision] ─▶ (approval ─▶ claim) ─▶ send
            ─▶ restore ─▶ [commit outcome]

* Nothing is sent before the decision is committed; a commit that fails sends nothing.
* What needs an approval is sent from the claimed, frozen egress: the bytes that people saw, once. A retry of what was
  sent gets the answer that was kept, through the same restorer.
* Whoever hangs up while people decide has nothing sent afterwards.
* A stream is owned here until its outcome is recorded, also when the client or the provider is gone.

``guard_call`` yields effects and receives their results; errors are thrown into it. The drivers in ``guard`` perform
the effects. Time is ``call.received``, and what an effect is told to wait for.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, Literal

from llmguard import facts as known
from llmguard.effects import (
    Assembled,
    AwaitApproval,
    Claim,
    ClientGone,
    Commit,
    Effect,
    Emit,
    Flow,
    Head,
    LoadGrants,
    NextChunk,
    Passed,
    Recall,
    Receipt,
    Record,
    Scan,
    Send,
    Sift,
    SiftedFile,
    Upload,
)
from llmguard.errors import (
    ApprovalExecuting,
    ApprovalPending,
    CallBlocked,
    CallRefused,
    GuardUnavailable,
    JustificationRequired,
    LLMGuardError,
    OutOfScope,
    OutputBlocked,
    UpstreamError,
)
from llmguard.excepted import Exceptions
from llmguard.facts import Facts
from llmguard.model import (
    Answer,
    Approval,
    AuditEntry,
    Body,
    Call,
    Decision,
    Egress,
    Finding,
    FormField,
    Grant,
    Hold,
    Payload,
    Produced,
    Requirement,
    Risk,
    Scanned,
    Settlement,
    TextPart,
    VaultEntry,
    digest_of,
)
from llmguard.payload import headers as header_rules
from llmguard.payload import items, multipart, scopes
from llmguard.payload import json as strict_json
from llmguard.payload.extract import Extract, extract
from llmguard.payload.operations import COMPLETE, UPLOADS, purposed
from llmguard.payload.parts import sent_in_parts
from llmguard.policy import Policy
from llmguard.redaction import Redaction, Restorer, redact, tags
from llmguard.streaming import ContentRestorer, Output, StreamRestorer
from llmguard.streaming.output import WINDOW
from llmguard.vault import Vault

Findings = tuple[tuple[Finding, ...], ...]
MAX_COLLISIONS = 4
UNKNOWN_FILE = "unknown_file"
"""What is unscanned where a model learns from a file that did not pass here."""
MAX_KEPT = 8 * 1024 * 1024
"""Bytes of the largest answer to a held call that is kept for its retries."""
MAX_HEARD = 8 * 1024 * 1024
"""Bytes of the largest answer without placeholders that is looked through."""
MEMORY = 1024 * 1024
"""Bytes up to which a form is in memory."""
PARTIAL = 206
"""Status of a part of a file (RFC 9110 §15.3.7)."""
_NAMED = 200
"""Characters of the longest id of a file, job or batch that the log names."""
FIRST_SIGN = 10.0
"""Seconds that a held stream waits for a real status before it is opened."""


@dataclass(frozen=True, slots=True)
class Kit:
    """What the pipeline decides with. No I/O in any of it."""

    vault: Vault
    policy: Policy
    secret_tools: frozenset[str] = frozenset()
    max_answer_bytes: int = 64 * 1024 * 1024
    cancel_when_gone: bool = False
    ends_output: bool = False
    output_hold: int = 0
    exceptions: Exceptions = Exceptions()  # noqa: RUF009  frozen
    tickets: bool = False
    """Whether a held call gets a ticket where neither its rule nor its caller says how it waits."""


_MUTE = frozenset(("embeddings.create", "moderations.create", "responses.input_tokens", "batches.create"))
"""Operations of inference in whose answers no model says anything."""

# --------------------------------------------------------------------------- the way out


@dataclass(frozen=True, slots=True)
class Plan:
    """A decided call: what would leave, and how it comes back."""

    call: Call
    decision: Decision
    risk: Risk
    egress: Egress
    entries: tuple[VaultEntry, ...]
    facts: Facts
    excepted: Mapping[str, int] = field(default_factory=dict)
    """Findings that are none, by the id of the exception that says so."""
    review: Mapping[str, Any] = field(default_factory=dict)
    """What reviewers of training data see of its file; {} of all else."""

    @property
    def report(self) -> Mapping[str, Any]:
        """What was known of a file that left, in kinds and counts."""
        return {"findings": self.facts.counts, "unscanned": list(self.facts.unscanned), "bytes": self.facts.size}


def guard_call(call: Call, kit: Kit) -> Flow:
    """The whole way of one call. Raises CallRefused (nothing was sent) or UpstreamError."""
    line = _Line(call)
    approval: Approval | None = None
    try:
        whole = yield from _assembled(call)
        if whole is None:
            return
        call = line.call = whole
        plan, granted, approval = yield from _planned(call, kit, line)
        source = _Source(plan.egress, parts=call.operation.name == COMPLETE)
        if approval is not None:
            source, approved = yield from _approved(plan, approval, line)
            granted = (*granted, *approved)
    except ClientGone as gone:  # while people decide: there is no other wait before something is sent
        withdraw = approval if kit.cancel_when_gone else None
        yield Commit(call, audit=(_refused(call, gone),), withdraw=withdraw)
        yield from _moved(call, "back")
        raise
    except LLMGuardError as refusal:
        yield Commit(call, audit=(_refused(call, refusal),))
        yield from _moved(call, "back")
        yield from line.close(refusal)
        raise
    try:
        status = yield from _exchange(plan, kit, granted, approval, source, line)
    except LLMGuardError:
        yield from _moved(call, "back")
        raise
    yield from _moved(call, "sent" if status // 100 == 2 else "back")


def _moved(call: Call, stage: Literal["sent", "back"]) -> Flow:
    """Says of an upload in parts what became of its file."""
    if call.operation.name == COMPLETE and call.body.fields:
        yield Upload(call, None, stage)


def _assembled(call: Call) -> Generator[Effect, Any, Call | None]:
    """The call; of one that completes an upload in parts, with its whole file. None where it is answered by now."""
    if call.operation.name not in UPLOADS:
        return call
    _within_scopes(call)
    document = strict_json.parse(call.body.raw).value if call.body.kind == "json" else None
    answer: Mapping[str, Any] | Assembled = yield Upload(call, document)
    if isinstance(answer, Assembled):
        yield Upload(call, None, "sending")
        operation = purposed(call.operation, multipart.value(answer.fields, "purpose"))
        body = Body("form", b"", call.body.media_type, answer.fields)
        return replace(call, operation=operation, body=body, ticket=True)
    yield Emit(Head(200, (("content-type", "application/json"), ("x-llmguard-call", call.id))))
    yield Emit(_compact(answer))
    return None


def _within_scopes(call: Call) -> None:
    """Raises OutOfScope."""
    if not call.principal.may(call.operation):
        raise OutOfScope(
            f"this key is not for {call.operation.name}; its scopes are {', '.join(call.principal.scopes)}"
        )


def _planned(
    call: Call, kit: Kit, line: _Line
) -> Generator[Effect, Any, tuple[Plan, tuple[VaultEntry, ...], Approval | None]]:
    _within_scopes(call)
    seen = yield from _seen(call, kit)
    document = seen.content.document
    body = document.value if document else None
    line.streams = isinstance(body, dict) and body.get("stream") in (True, "true")
    granted: tuple[VaultEntry, ...] = ()
    if not scopes.filed(call.operation):
        referred = scopes.references(call.operation, document, call.path_params)
        granted = yield from _granted(call, (*referred, *(items.referred(body) if call.operation.grant_reads else ())))
    plan, approval = yield from _decided(call, kit, seen)
    line.call = plan.call
    return plan, granted, approval


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was looked at: the content with its findings, and the files of a form by the number of their field."""

    content: Extract
    findings: Findings
    files: Mapping[int, SiftedFile] = field(default_factory=dict)
    decided: bool = False
    """Whether people decided of records of its file: then it does not leave as it was written."""

    @property
    def unscanned(self) -> tuple[str, ...]:
        return tuple(sorted({*self.content.unscanned, *(u for f in self.files.values() for u in f.unscanned)}))


def _seen(call: Call, kit: Kit, decisions: Any = None) -> Generator[Effect, Any, _Seen]:
    """Looks through all of a call. Raises CallRefused for what cannot be looked through exactly."""
    content = extract(call)
    scanned: Scanned = yield Scan(call, content.parts)
    unknown = yield from _never_seen(call, content)
    content = replace(content, unscanned=tuple(sorted({*content.unscanned, *scanned.unscanned, *unknown})))
    files: dict[int, SiftedFile] = {}
    for i, f in enumerate(call.body.fields):
        if f.is_file:
            files[i] = yield Sift(call, f, kit.policy.style, decisions)
    return _Seen(content, scanned.findings, files, decisions is not None)


def _never_seen(call: Call, content: Extract) -> Generator[Effect, Any, tuple[str, ...]]:
    """That a model is to learn from a file which did not pass here."""
    named = scopes.learnt_from(call.operation, content.document.value if content.document else None)
    if not named:
        return ()
    passed: frozenset[str] = yield Passed(call, named)
    return () if passed.issuperset(named) else (UNKNOWN_FILE,)


@dataclass(frozen=True, slots=True)
class Revision:
    """Why a held request is held anew: what it takes the place of; and, where people decided of the records of its file
    (``decisions``: ``sifting.Choices``), what they said in full (``told``), the one who did so last (``by``), and who
    does not vote on it (``excluded``).
    """

    former: Approval
    decisions: Any = None
    told: Mapping[str, Any] = field(default_factory=dict)
    by: str = ""
    excluded: tuple[str, ...] = ()
    granted: tuple[VaultEntry, ...] = ()
    """What the caller of the former request may have back."""


def revise_call(call: Call, kit: Kit, why: Revision) -> Generator[Effect, Any, Approval]:
    """What takes the place of a held request: looked through, redacted and held like one, and never sent from here.

    It is voted on whatever the policy says of it, unless that blocks it; the former request joins it from now on.
    Placeholders of the former request that are still in it come back in the answer as they would have.
    """
    seen = yield from _seen(call, kit, why.decisions)
    kept = yield from _granted(call, (f"approval:{why.former.id}",))
    _, approval = yield from _decided(call, kit, seen, replace(why, granted=kept))
    if approval is None:
        raise GuardUnavailable("the approval was not stored")
    return approval


def _granted(call: Call, scopes: tuple[str, ...]) -> Generator[Effect, Any, tuple[VaultEntry, ...]]:
    if not scopes:
        return ()
    entries: tuple[VaultEntry, ...] = yield LoadGrants(call, scopes)
    return entries


def _decided(
    call: Call, kit: Kit, seen: _Seen, anew: Revision | None = None
) -> Generator[Effect, Any, tuple[Plan, Approval | None]]:
    """Decide and commit. All is decided once more if a placeholder is another value's, which lengthens it, or if
    another policy or other exceptions are in force by now.
    """
    taken: frozenset[str] = frozenset()
    why: str | None = None
    for _ in range(MAX_COLLISIONS):
        plan = _plan(call, kit, seen, taken)
        if anew is not None:
            plan = replace(plan, decision=_voted_anew(plan.decision, anew.former))
        held = plan.decision.verdict == "require_approval"
        if held and why is None:
            why = yield from _justified(plan, kit)
        hold = _hold(plan, kit, why or "") if held else None
        if hold is not None and anew is not None:
            hold = _held_anew(hold, anew)
        receipt: Receipt = yield Commit(
            call,
            vault=plan.entries,
            audit=(_decision_entry(plan),),
            hold=hold,
            policy=plan.decision.policy_version,
            exceptions=kit.exceptions.version,
            record=Record(plan.facts, plan.decision, plan.risk),
        )
        if receipt.exceptions is not None:
            kit = replace(kit, exceptions=receipt.exceptions)
        elif receipt.policy is not None:
            kit = replace(kit, policy=_still_fits(seen, kit.policy, receipt.policy))
        elif receipt.taken:
            taken |= receipt.taken
        elif plan.decision.verdict == "block":
            raise CallBlocked(f"blocked by the rule {plan.decision.rule!r}: {plan.decision.reason}")
        elif held and receipt.approval is None:
            raise GuardUnavailable("the approval was not stored")
        else:
            return plan, receipt.approval
    raise GuardUnavailable("placeholders could not be made unique; try again")


def _held_anew(hold: Hold, anew: Revision) -> Hold:
    """A revision joins the retries of the former request, and has what was said of it."""
    stays = tuple(e for e in anew.granted if _stands_in(hold.egress.body, e.placeholder))
    grants = (*hold.grants, *_for_the_answer(stays))
    report = {**hold.report, **anew.told} if hold.report else {}
    told: dict[str, Any] = {"report": report, "decided_by": anew.by, "excluded": anew.excluded}
    return replace(hold, request_key=anew.former.request_key, grants=grants, **told)


def _still_fits(seen: _Seen, former: Policy, policy: Policy) -> Policy:
    """The policy in force, unless files would have to be redacted otherwise. Raises GuardUnavailable."""
    if seen.files and policy.styles != former.styles:
        raise GuardUnavailable("the policy redacts otherwise by now: send the upload again")
    return policy


def _path(call: Call) -> str:
    """Where it goes below the API's root. A file that came in parts begins an upload of its own."""
    return "/uploads" if call.operation.name == COMPLETE else call.path


def _stands_in(body: Payload, placeholder: str) -> bool:
    return isinstance(body, bytes) and placeholder.encode() in body


def _plan(call: Call, kit: Kit, seen: _Seen, taken: frozenset[str]) -> Plan:
    content, findings = seen.content, seen.findings
    if len(findings) != len(content.parts):
        raise GuardUnavailable("the scan did not answer for every part")
    findings, excepted = kit.exceptions.applied(
        partial(kit.vault.exception, call.tenant), call, content.parts, content.declared(findings)
    )
    redaction = redact(kit.vault, call.tenant, content.parts, findings, taken, content.misfits, style=kit.policy.style)
    parts = (
        tuple(replace(part, redactable=False) if i in redaction.unfit else part for i, part in enumerate(content.parts))
        if redaction.unfit
        else content.parts
    )
    identity = partial(_identity, kit.vault, call.tenant)
    facts = known.of(call, parts, findings, seen.unscanned, identity, redaction.links)
    if seen.files:
        facts = facts.joined((f.found, f.characters) for f in seen.files.values())
    risk = kit.policy.risk(facts)
    decision = kit.policy.decide(facts, risk)
    as_written = decision.verdict == "allow" and not seen.decided
    if as_written:
        redaction = Redaction(texts={}, entries=(), exposed=redaction.exposed)
        risk = kit.policy.risk(facts, as_written=True) if facts.found else risk
    call = replace(call, ticket=call.ticket or _ticket(decision.requirement, kit))
    headers, body = _leaving(call, kit, seen, redaction.texts, as_written=as_written)
    egress = Egress(
        destination=call.destination.name,
        url=f"{call.destination.base_url}{_path(call)}" + (f"?{call.query}" if call.query else ""),
        account=call.account,
        method=call.method,
        headers=headers,
        body=body,
    )
    review = _review(call, seen, redaction.texts, risk)
    return Plan(call, decision, risk, egress, redaction.entries, facts, excepted, review)


def _review(call: Call, seen: _Seen, texts: Mapping[int, str], risk: Risk) -> Mapping[str, Any]:
    """What reviewers of training data see of its file, under the name that leaves; {} of all else."""
    for i, f in seen.files.items():
        if f.report:
            fields = multipart.rewritten(call.body.fields, seen.content.rebuild(texts))
            decided = f.report.get("decided", {})
            report = {name: value for name, value in f.report.items() if name != "decided"}
            return {"report": {**report, "name": fields[i].filename or "", "risk": asdict(risk)}, "met": decided}
    return {}


def _leaving(
    call: Call, kit: Kit, seen: _Seen, texts: Mapping[int, str], *, as_written: bool
) -> tuple[tuple[tuple[str, str], ...], Payload]:
    """Headers and body that leave: the received bytes with what was replaced; a form is always written anew."""
    edited = seen.content.rebuild(texts)
    if call.body.kind != "form":
        return call.headers, edited
    fields = multipart.rewritten(call.body.fields, edited)
    if not as_written:
        cleaned = seen.files
        fields = tuple(replace(f, content=cleaned[i].content) if i in cleaned else f for i, f in enumerate(fields))
    form = _form(call, kit, fields)
    return header_rules.typed(call.headers, form.media_type), multipart.written(form, MEMORY)


def _form(call: Call, kit: Kit, fields: tuple[FormField, ...]) -> multipart.Form:
    """Under a boundary that nobody can guess, and that is the same whenever this call is decided anew."""
    return multipart.Form(f"llmguard-{kit.vault.digest(call.tenant, 'boundary', call.id).hex()[:40]}", fields)


def _identity(vault: Vault, tenant: str, type_: str, value: str) -> str:
    return vault.digest(tenant, type_, value).hex()


def _ticket(requirement: Requirement | None, kit: Kit) -> bool:
    """Whether a held call is answered at once, to be sent again: as its rule says, else as the settings do."""
    return requirement is not None and (requirement.hold == "ticket" or (not requirement.hold and kit.tickets))


def _justified(plan: Plan, kit: Kit) -> Generator[Effect, Any, str]:
    """Why the caller asks, redacted for good, as reviewers read it. Raises JustificationRequired."""
    call, needed = plan.call, plan.decision.requirement
    if not call.justification:
        if needed is not None and needed.justified:
            raise JustificationRequired(
                f"the rule {plan.decision.rule!r} wants a reason: send it in the header x-llmguard-justification"
            )
        return ""
    part = TextPart(call.justification, "justification")
    scanned: Scanned = yield Scan(call, (part,), answer=True)
    return redact(kit.vault, call.tenant, (part,), scanned.findings).texts.get(0, part.text)


def _voted_anew(decision: Decision, former: Approval) -> Decision:
    if decision.verdict in ("block", "require_approval"):
        return decision
    reason = "its reviewers asked for changes"
    return Decision("require_approval", former.rule, decision.policy_version, reason, former.requirement)


def _for_the_answer(entries: tuple[VaultEntry, ...]) -> tuple[Grant, ...]:
    """Grants of a held call. The scope is its approval, which is filled in where the id is known."""
    return tuple(Grant("", e.placeholder, e.origin) for e in entries)


def _hold(plan: Plan, kit: Kit, why: str) -> Hold:
    call = plan.call
    media = "" if call.operation.name == COMPLETE else call.body.media_type
    pieces = [call.principal.id, call.method, _path(call), call.query, media]
    pieces += [call.destination.base_url, call.account]  # another provider or payer is another request
    pieces += [x for name, value in call.headers if name.startswith("openai-") for x in (name, value)]
    original: Payload = call.body.raw
    if call.body.kind == "form":  # the boundary of every retry is another one
        original = multipart.written(_form(call, kit, call.body.fields), MEMORY)
        pieces += [x for f in call.body.fields for x in (f.name, f.filename or "", f.media_type, digest_of(f.content))]
    return Hold(
        principal=call.principal,
        subject="action" if call.operation.kind == "action" else "call",
        operation=call.operation.name,
        request_key=kit.vault.request_key(call.tenant, [p.encode() for p in pieces] + [call.body.raw]),
        egress=plan.egress,
        original=original,
        decision=plan.decision,
        risk=plan.risk,
        findings=plan.facts.counts,
        grants=_for_the_answer(plan.entries),
        call=call.id,
        kind=call.operation.kind,
        unscanned=plan.facts.unscanned,
        revises=call.revises,
        exceptions=tuple(plan.excepted),
        justification=why,
        report=plan.review,
    )


# --------------------------------------------------------------------------- held


@dataclass(slots=True)
class _Line:
    """What the caller hears: nothing, or an event stream that was opened before there was an answer."""

    call: Call
    streams: bool = False
    opened: bool = False

    def first(self) -> int:
        """Until when (UTC ms) the line may stay silent."""
        seconds = min(self.call.patience, FIRST_SIGN) if self.streams else self.call.patience
        return 0 if self.call.ticket else self.call.received + int(seconds * 1000)

    def sign(self, approval: Approval) -> Flow:
        """A sign of life, which opens the stream if it is not open yet."""
        if not self.opened:
            self.opened = True
            ours = (("x-llmguard-call", self.call.id), ("x-llmguard-approval", approval.id))
            held = (("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache"))
            yield Emit(Head(200, (*held, *ours, ("x-llmguard-decision", "require_approval"))))
        yield Emit(b": held\n\n")

    def close(self, error: LLMGuardError) -> Flow:
        """Ends an open stream in words that both SDK styles understand."""
        if self.opened and not isinstance(error, ClientGone):
            yield Emit(_error_event(error.body()["error"]))


def _approved(
    plan: Plan, approval: Approval, line: _Line
) -> Generator[Effect, Any, tuple[_Source, tuple[VaultEntry, ...]]]:
    """Waits for people, then spends the approval; or plays what was answered when somebody else had spent it.

    The egress that people approved replaces ours, with the placeholders that it holds.
    """
    call, until = plan.call, line.first()
    source: _Source | None = None
    # Before the claim: between it and the sending nothing may fail.
    granted: tuple[VaultEntry, ...] = yield LoadGrants(call, (f"approval:{approval.id}",))
    while source is None:
        approval, until = yield from _decision(call, approval, line, until)
        if approval.state == "EXECUTED":
            answer: Answer = yield Recall(call, approval)
            source = _Source(None, recorded=answer)
            continue
        claimed: Egress | Approval = yield Claim(call, approval, plan.decision)
        if isinstance(claimed, Egress):
            source = _Source(claimed, keep=MAX_KEPT, parts=call.operation.name == COMPLETE)
        else:
            approval = claimed
    return source, granted


def _decision(call: Call, approval: Approval, line: _Line, until: int) -> Generator[Effect, Any, tuple[Approval, int]]:
    """People's decision, and until when the line is patient. A stream is kept alive as long as it takes."""
    while True:
        try:
            decided: Approval = yield AwaitApproval(call, approval, until)
            return decided, until
        except (ApprovalPending, ApprovalExecuting):
            if call.ticket or not line.streams:
                raise
        yield from line.sign(approval)
        until += int(call.pulse * 1000)


# --------------------------------------------------------------------------- and back


class _Source:
    """Where the bytes of an answer come from: the provider, recorded up to ``keep`` bytes; or such a record."""

    def __init__(
        self, egress: Egress | None, *, recorded: Answer | None = None, keep: int = 0, parts: bool = False
    ) -> None:
        """``parts``: the file of the egress is sent as an upload in parts."""
        self._egress = egress
        self._parts = parts
        self._recorded = recorded
        self._keep = keep
        self._pieces: list[bytes] = []
        self._size = 0
        self._head: Head | None = None
        self._ended = False
        self.complete = False

    @property
    def replays(self) -> bool:
        return self._recorded is not None

    @property
    def digest(self) -> str:
        """Of the egress, "" for an answer that was kept."""
        return self._egress.digest() if self._egress is not None else ""

    def head(self) -> Generator[Effect, Any, Head]:
        if self._recorded is not None:
            self._pieces = [self._recorded.body]
            return Head(self._recorded.status, self._recorded.headers)
        assert self._egress is not None, "a source has an egress or a record"  # noqa: S101  our own two makers
        egress: Egress | Answer = self._egress
        if self._parts:
            egress = yield from sent_in_parts(self._egress)
        if isinstance(egress, Answer):
            self._pieces, self._ended = [egress.body], True
            self._head = Head(egress.status, egress.headers)
        else:
            self._head = yield Send(egress)
        return self._head

    def next(self) -> Generator[Effect, Any, bytes | None]:
        """The next bytes, or None at the end."""
        if self._recorded is not None or self._ended:
            self.complete = not self._pieces
            return self._pieces.pop() if self._pieces else None
        chunk: bytes | None = yield NextChunk()
        self.complete = chunk is None
        if chunk is not None and self._keep:
            self._size += len(chunk)
            self._pieces.append(chunk)
            if self._size > self._keep:
                self._pieces.clear()
        return chunk

    def answer(self) -> Answer | None:
        """The whole answer, if it ended and was small enough to keep. Clients hang up on a stream that says its end."""
        if self._head is None or not self._keep or self._size > self._keep:
            return None
        body = b"".join(self._pieces)
        if not self.complete and not body.endswith((b"data: [DONE]\n\n", b"data: [DONE]\r\n\r\n")):
            return None
        return Answer(self._head.status, header_rules.returning(self._head.headers), body)


@dataclass(slots=True)
class _Exchange:
    """What is known of the outcome so far."""

    source: _Source
    line: _Line
    outcome: str = "not_sent"
    status: int = 0
    known: tuple[VaultEntry, ...] = ()
    """What may be restored in it, and later under what it is stored as."""
    scopes: set[str] = field(default_factory=set)
    calls: tuple[str, ...] = ()
    """Scopes of what was sent, if placeholders may be in it."""
    links: tuple[tuple[str, str], ...] = ()
    produced: tuple[Produced, ...] = ()
    output: Output = field(default_factory=Output)

    def learn(self, call: Call, value: Any) -> None:
        """Takes down under which ids the answer, or what one of its events tells of, is stored."""
        self.produced = scopes.produced(call.operation, value) if call.operation.produces else ()
        if call.operation.grant_links:
            self.links = scopes.linked(call.operation, value, call.path_params, _sent(call), self.calls)
        if not self.known or not call.operation.grant_writes or type(value) is not dict:
            return
        whole = value.get("response")
        if whole or not self.scopes:
            self.scopes.update(scopes.written(call.operation, whole or value, call.path_params))
        if "output" in value or "item" in value or (type(whole) is dict and whole.get("output")):
            self.scopes.update(items.made(whole or value))

    def grants(self) -> tuple[Grant, ...]:
        stored = {*self.scopes, *(of for _, of in self.links if of in self.calls[:1])}
        return tuple(Grant(scope, e.placeholder, e.origin) for scope in sorted(stored) for e in self.known)

    def settlement(self, approval: Approval | None) -> Settlement | None:
        """An answer's head proves that the provider acted, unless it was too busy; without one, only certainty that
        nothing left is a failure."""
        if approval is None or self.source.replays:
            return None
        if self.status == 429 and self.source.complete:
            return Settlement(approval.id, "APPROVED")
        if self.status:
            return Settlement(approval.id, "EXECUTED", self.source.answer())
        return Settlement(approval.id, "FAILED" if self.outcome == "not_sent" else "INDETERMINATE")


def _exchange(
    plan: Plan,
    kit: Kit,
    granted: tuple[VaultEntry, ...],
    approval: Approval | None,
    source: _Source,
    line: _Line,
) -> Generator[Effect, Any, int]:
    """Send, restore, record. Whatever happens, exactly one outcome is committed. The status of the answer."""
    known = {e.placeholder: e for e in (*granted, *plan.entries)}
    restorer = Restorer(tuple(known.values()), kit.secret_tools)
    calls = _calls(plan, restorer, approval)
    record = _Exchange(source, line, known=restorer.entries, calls=calls, output=Output(ends=kit.ends_output))
    failure: LLMGuardError | None = None
    try:
        yield from _answer(plan, kit, restorer, record)
    except (UpstreamError, ClientGone) as e:
        record.outcome = e.code if e.sent or record.status else "not_sent"
        failure = e
    except LLMGuardError as e:
        record.outcome = e.code
        failure = e
    if failure:
        try:
            yield from line.close(failure)
        except ClientGone as gone:
            failure = gone
    if not kit.ends_output:
        yield from _looked_through(plan.call, kit, record.output)
    entry = _outcome_entry(plan.call, record)
    settle, grants, links = record.settlement(approval), record.grants(), record.links
    made = tuple(replace(one, report=plan.report) if one.kind == "file" else one for one in record.produced)
    wait = bool(settle or grants or links or made)
    told: dict[str, Any] = {"produced": made, "digest": source.digest if made else ""}
    yield Commit(plan.call, grants=grants, links=links, audit=(entry,), settle=settle, wait=wait, **told)
    if failure:
        raise failure
    return record.status


def _calls(plan: Plan, restorer: Restorer, approval: Approval | None) -> tuple[str, ...]:
    """The scopes of what was sent: of this call, and of the one that people approved; none if it has no placeholder."""
    if not restorer and not plan.call.body.fields:
        return ()
    held = (f"approval:{approval.id}", f"call:{approval.call}") if approval else ()
    return tuple(dict.fromkeys((f"call:{plan.call.id}", *held)))


def _answer(plan: Plan, kit: Kit, restorer: Restorer, record: _Exchange) -> Flow:
    head = yield from record.source.head()
    record.status = head.status
    if 300 <= head.status < 400:
        raise UpstreamError("the provider answered with a redirect; set upstream to the address it really has")
    media = header_rules.media_type(head.headers)
    if media == "text/event-stream":
        yield from _streamed(plan, kit, head, restorer, record)
    elif record.line.opened:
        yield from _as_event(kit, head, restorer, record)
    elif head.status == PARTIAL:
        yield from _passed(plan, head, record, listens=False)  # nobody can tell where in the restored whole it stands
    elif _is_content(plan.call) and head.status < 300:
        yield from _filed(plan, kit, head, record)
    elif (restorer or kit.ends_output or plan.call.operation.produces or scopes.filed(plan.call.operation)) and (
        media == "application/json" or media.startswith("text/")
    ):
        yield from _whole(plan, kit, head, restorer, record)
    else:
        yield from _passed(plan, head, record, media == "application/json" and _speaks(plan.call))
    record.outcome = "replayed" if record.source.replays else "completed"


def _passed(plan: Plan, head: Head, record: _Exchange, listens: bool) -> Flow:
    """Nothing to restore: bytes go back as they come."""
    yield Emit(_head(plan, head))
    heard: list[bytes] = []
    size = 0
    while (chunk := (yield from record.source.next())) is not None:
        yield Emit(chunk)
        size += len(chunk)
        if listens and size <= MAX_HEARD:
            heard.append(chunk)
    if listens:
        record.output.incomplete = size > MAX_HEARD
        _heard(record, b"".join(heard) if size <= MAX_HEARD else b"")


def _speaks(call: Call) -> bool:
    """Whether a whole answer has words of the model that nobody has looked through."""
    return call.method == "POST" and call.operation.kind == "inference" and call.operation.name not in _MUTE


def _heard(record: _Exchange, body: bytes) -> None:
    try:
        record.output.whole(strict_json.parse(body).value)
    except CallRefused:
        return  # it is not JSON, whatever it is called


def _looked_through(call: Call, kit: Kit, output: Output) -> Generator[Effect, Any, None]:
    """Looks for findings in what the model wrote since. Raises OutputBlocked where the settings say so."""
    try:
        if parts := output.parts():
            scanned: Scanned = yield Scan(call, parts, answer=True)
            if output.note(scanned.findings) and kit.ends_output:
                raise OutputBlocked("the model wrote what the detectors found, and output_action is end")
    except GuardUnavailable:
        if kit.ends_output:
            raise
        output.incomplete = True


def _streamed(plan: Plan, kit: Kit, head: Head, restorer: Restorer, record: _Exchange) -> Flow:
    """Whole events as they come. A stream that breaks off is ended in words that the SDK understands."""
    hold = kit.output_hold if kit.ends_output else 0
    stream = StreamRestorer(restorer, record.output, hold=hold, told=lambda value: record.learn(plan.call, value))
    if not record.line.opened:
        record.line.opened = True
        yield Emit(_head(plan, head))
    try:
        while (chunk := (yield from record.source.next())) is not None:
            for ready in stream.pieces(chunk):
                if kit.ends_output:
                    yield from _looked_through(plan.call, kit, record.output)
                yield Emit(ready)
            if record.output.size > WINDOW and not kit.ends_output:
                record.output.goes_on = True
                yield from _looked_through(plan.call, kit, record.output)
                record.output.goes_on = False
        rest = stream.finish()
        if kit.ends_output:
            yield from _looked_through(plan.call, kit, record.output)
        if rest:
            yield Emit(rest)
    except UpstreamError:
        if tails := stream.abort():
            yield Emit(tails)
        raise


def _as_event(kit: Kit, head: Head, restorer: Restorer, record: _Exchange) -> Flow:
    """An answer that is no stream, to a caller whose stream is open already: the provider's error as an event."""
    body = yield from _collected(record.source, kit.max_answer_bytes)
    answer = _parsed(restorer.json(body))
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        raise UpstreamError(f"the provider answered {head.status}, and not with a stream")
    yield Emit(_error_event(error))


def _whole(plan: Plan, kit: Kit, head: Head, restorer: Restorer, record: _Exchange) -> Flow:
    body = yield from _collected(record.source, kit.max_answer_bytes)
    if scopes.filed(plan.call.operation):
        restorer = yield from _joined(plan, kit, record, body)
    if header_rules.media_type(head.headers) == "application/json":
        _taken_down(plan, record, body)
        if _speaks(plan.call):
            _heard(record, body)
        written = restorer.json(body)
    else:
        record.output.add((), body.decode(errors="replace"))
        written = _restored_text(restorer, body)
    if kit.ends_output:
        yield from _looked_through(plan.call, kit, record.output)
    answer = _head(plan, head)
    yield Emit(replace(answer, headers=(*answer.headers, ("content-length", str(len(written))))))
    yield Emit(written)


def _joined(plan: Plan, kit: Kit, record: _Exchange, body: bytes) -> Generator[Effect, Any, Restorer]:
    """What may be restored in an answer about files and the like: of what belongs to them, only what occurs in it."""
    answer, operation = _parsed(body), plan.call.operation
    belonging = scopes.belonging(operation, answer, plan.call.path_params)
    granted: tuple[VaultEntry, ...] = ()
    if belonging and (wanted := tags(body.decode(errors="replace"))):
        granted = yield LoadGrants(plan.call, belonging, wanted)
    return Restorer({e.placeholder: e for e in (*granted, *record.known)}.values(), kit.secret_tools)


def _is_content(call: Call) -> bool:
    """Whether the answer is a file that was uploaded, or made of one."""
    return call.operation.path.endswith("/content") and scopes.filed(call.operation)


def _filed(plan: Plan, kit: Kit, head: Head, record: _Exchange) -> Flow:
    """The content of a file, whatever its type is called: restored as it passes, with what occurs in it."""
    yield Emit(_head(plan, head))
    belonging = scopes.belonging(plan.call.operation, params=plan.call.path_params)
    content = ContentRestorer(kit.secret_tools)
    chunk: bytes | None = b""
    while chunk is not None:
        chunk = yield from record.source.next()
        for block in content.blocks(chunk):
            granted: tuple[VaultEntry, ...] = ()
            if wanted := content.wanted(block):
                granted = yield LoadGrants(plan.call, belonging, wanted)
            if kit.ends_output and not block.passes:
                record.output.add((), block.data.decode(errors="replace"))
                yield from _looked_through(plan.call, kit, record.output)
            yield Emit(content.written(block, granted))


def _collected(source: _Source, limit: int) -> Generator[Effect, Any, bytes]:
    pieces, size = [], 0
    while (chunk := (yield from source.next())) is not None:
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


def _taken_down(plan: Plan, record: _Exchange, body: bytes) -> None:
    """What was sent may come back under the id of what was stored (a response, a conversation, a file)."""
    operation = plan.call.operation
    if operation.grant_writes or operation.grant_links or operation.produces:
        record.learn(plan.call, _parsed(body))  # what says no id is not found again


def _sent(call: Call) -> Any:
    """The JSON that was sent, if its operation links to what stands there."""
    return _parsed(call.body.raw) if any(":body:" in of for _, of in call.operation.grant_links) else None


def _parsed(body: bytes) -> Any:
    """What the bytes say, or None if they are no strict JSON."""
    try:
        return strict_json.parse(body).value
    except CallRefused:
        return None


def _head(plan: Plan, head: Head) -> Head:
    ours: tuple[tuple[str, str], ...] = (
        ("x-llmguard-call", plan.call.id),
        ("x-llmguard-decision", plan.decision.verdict),
    )
    theirs = header_rules.returning(head.headers)
    if plan.decision.verdict == "require_approval" and head.status >= 400 and head.status != 429:
        # The approval is spent: a client that repeats the call by itself would hide this error behind a conflict.
        theirs = tuple((n, v) for n, v in theirs if n != "x-should-retry")
        ours += (("x-should-retry", "false"),)
    return Head(head.status, theirs + ours)


def _error_event(error: Mapping[str, Any]) -> bytes:
    """An SSE event that both SDK styles understand: ``error`` inside, and code and message on top."""
    top = {name: error.get(name) for name in ("code", "message")}
    return b"event: error\ndata: " + _compact({"error": error, **top}) + b"\n\n"


def _compact(value: Any) -> bytes:
    import json

    return json.dumps(value, separators=(",", ":")).encode()


# --------------------------------------------------------------------------- what the log says


def _entry(call: Call, kind: str, **details: Any) -> AuditEntry:
    return AuditEntry(kind, call.tenant, {"call": call.id, **details})


def _outcome_entry(call: Call, record: _Exchange) -> AuditEntry:
    """How it ended, and how many findings of which types the model itself wrote."""
    told: dict[str, Any] = {"output": dict(sorted(record.output.found.items()))} if record.output.found else {}
    if record.output.incomplete:
        told["output_unscanned"] = True
    if record.produced:
        told["produced"] = sorted({one.id for one in record.produced if one.id.isascii() and len(one.id) <= _NAMED})
    return _entry(call, "call.outcome", outcome=record.outcome, status=record.status, **told)


def _refused(call: Call, error: LLMGuardError) -> AuditEntry:
    """Who was refused what: it may be all that the log has of a call."""
    return _entry(call, "call.refused", code=error.code, principal=call.principal.id, operation=call.operation.name)


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
        findings=plan.facts.counts,
        unscanned=list(plan.facts.unscanned),
        bytes=len(plan.egress.body),
        **({"excepted": dict(plan.excepted)} if plan.excepted else {}),
        **({"shadow": [list(said) for said in decision.shadow]} if decision.shadow else {}),
    )
