"""Try-out: what the detectors find in a text that somebody typed, how it would leave and what the policy decides.

Nothing of the text is stored or logged: only that somebody tried, and how much. Placeholders and all else that depends
on a key are made with keys of the moment, so that nobody learns which placeholder stands for a value that he guesses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import Any, get_args

from starlette.requests import Request
from starlette.responses import Response

from llmguard import audit, facts
from llmguard.detection import Scanner
from llmguard.detection.verify import Verdict as Opinion
from llmguard.errors import GuardUnavailable, NotFound
from llmguard.identity import Person
from llmguard.model import (
    AuditEntry,
    Body,
    Call,
    Category,
    Destination,
    Finding,
    Operation,
    Principal,
    Severity,
    TextPart,
    Verdict,
    new_id,
)
from llmguard.policy import Policy
from llmguard.proxy.control import http
from llmguard.proxy.control.endpoints import Endpoint, Fields, as_json, text, word
from llmguard.proxy.control.schemas import COUNTS, INTEGER, NUMBER, RISK, STRING, record, several
from llmguard.proxy.control.units import Table, Units
from llmguard.redaction import redact
from llmguard.store import Transaction
from llmguard.vault import Keyring, Vault

LONGEST = 64 * 1024
"""Characters of a text; and bytes in UTF-8."""
NEAR = 100
"""Near misses that are told."""
OPERATIONS = {
    "inference": "chat.completions.create",
    "stored": "files.create",
    "training": "fine_tuning.jobs.create",
}
"""What the text would be sent for, and the operation that stands for it."""
_TRIED = Fields(
    {"text": text(LONGEST, "what is looked through", least=1), "use": word(*OPERATIONS)},
    frozenset({"use"}),
    most=13 * LONGEST,
)
_SPAN = {"start": {**INTEGER, "description": "code points"}, "end": INTEGER}
_ANSWER = record(
    findings=several(
        record(
            **_SPAN,
            type=STRING,
            category=word(*get_args(Category)),
            severity=word(*get_args(Severity)),
            confidence=NUMBER,
            detector=STRING,
            why={**STRING, "description": "what it was decided from, in words; empty for what no rule says"},
        )
    ),
    near=several(record(**_SPAN, detector=STRING, why=STRING)),
    counts=COUNTS,
    unscanned=several(STRING),
    redacted=STRING,
    risk=record(**RISK, reasons=several(record(term=STRING, points=NUMBER, text=STRING, left=NUMBER))),
    decision=record(
        verdict={"type": "string", "enum": [*get_args(Verdict), "error"]},
        rule=STRING,
        reason=STRING,
        policy=STRING,
        groups=COUNTS,
        shadow=several(several(STRING)),
    ),
    operation=STRING,
    destination=STRING,
    trust=STRING,
)


@dataclass(frozen=True, slots=True)
class Bench:
    """What texts are tried with: the guard's detectors, the policy in force, and where calls go."""

    scanner: Scanner
    policy: Callable[[], Policy]
    destination: Destination


class TryoutDesk:
    """The endpoint. ``bench`` is missing where no guard runs."""

    def __init__(self, units: Units, bench: Bench | None) -> None:
        self._units = units
        self._bench = bench
        self._free = asyncio.Semaphore(1)  # calls on their way come first

    def table(self) -> Table:
        return (
            Endpoint(
                "POST",
                "/scan",
                self.scan,
                "What is found in a text, how it would leave, and what the policy would decide; the text is not kept.",
                {200: _ANSWER},
                body=_TRIED,
                refusals=(404,),
            ),
        )

    async def scan(self, request: Request) -> Response:
        body = await http.form(request, _TRIED)
        typed, use = body["text"], body.get("use", "inference")
        bench = self._bench
        if bench is None:
            raise NotFound("no detectors run beside this control plane")

        def note(tx: Transaction, who: Person) -> tuple[Person, int]:
            details = {"by": who.email, "characters": len(typed)}
            audit.append(tx, [AuditEntry("text.tried", who.tenant, details)])
            return who, tx.now

        who, now = await self._units.act(request, note)
        async with self._free:
            call = _call(bench, who, now, use, typed)
            scanned = await asyncio.to_thread(bench.scanner.submit, (TextPart(typed, "text"),), call.principal)
            if isinstance(scanned, Future):
                scanned = await asyncio.wrap_future(scanned)
            content = await asyncio.to_thread(_told, bench, call, typed, scanned.findings[0], scanned.unscanned)
        return http.json(200, content)


def _call(bench: Bench, who: Person, now: int, use: str, typed: str) -> Call:
    """The call that would send it, as this person's own."""
    operation = Operation(OPERATIONS[use], "POST", "", use)  # type: ignore[arg-type]
    principal = Principal(f"person:{who.email}", who.tenant, "human", who.email, who.email)
    body = Body("json", typed.encode("utf-8", "replace"))
    return Call(new_id(now), principal, operation, bench.destination, "POST", "", "", (), body, "", now)


def _told(bench: Bench, call: Call, typed: str, found: Sequence[Finding], unscanned: Sequence[str]) -> bytes:
    policy, vault = bench.policy(), Vault(Keyring.generate())
    parts = (TextPart(typed, "text"),)
    redaction = redact(vault, call.tenant, parts, (found,), style=policy.style)
    known = facts.of(
        call, parts, (found,), unscanned, lambda t, v: vault.digest(call.tenant, t, v).hex(), redaction.links
    )
    risk = policy.risk(known)
    explained = bench.scanner.engine.explain(typed)
    reasons = {(e.start, e.end, e.detector): e.why for e in explained}
    stand = {(f.start, f.end, f.detector) for f in found}
    near = [e for e in explained if e.verdict is not Opinion.SHAPE and (e.start, e.end, e.detector) not in stand]
    shown = [{**asdict(f), "why": reasons.get((f.start, f.end, f.detector), "")} for f in found]
    return as_json(
        {
            "findings": [{**f, "confidence": round(f["confidence"], 3)} for f in shown],
            "near": [{"start": e.start, "end": e.end, "detector": e.detector, "why": e.why} for e in near[:NEAR]],
            "counts": known.counts,
            "unscanned": list(known.unscanned),
            "redacted": redaction.texts.get(0, typed),
            "risk": asdict(risk),
            "decision": _decided(policy, known, risk),
            "operation": call.operation.name,
            "destination": call.destination.name,
            "trust": call.destination.trust,
        }
    )


def _decided(policy: Policy, known: facts.Facts, risk: Any) -> dict[str, Any]:
    try:
        d = policy.decide(known, risk)
    except GuardUnavailable as e:
        told = {"verdict": "error", "rule": "", "reason": e.message, "policy": policy.version}
        return {**told, "groups": {}, "shadow": []}
    groups = dict(d.requirement.groups) if d.requirement else {}
    told = {"verdict": d.verdict, "rule": d.rule, "reason": d.reason, "policy": d.policy_version}
    return {**told, "groups": groups, "shadow": [list(s) for s in d.shadow]}
