"""The guard: opens every part once, and is this host's side of the pipeline, which ``drivers`` drive."""

from __future__ import annotations

import asyncio
import getpass
import logging
import os
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from llmguard import audit, catalogue, identity, spool, uploads
from llmguard.actions import Action, Actions, Block, Terms
from llmguard.approvals import SWEEP, UNDECIDED, Approvals, WaitingRoom, contents, exceptions, rules, training
from llmguard.config import DATABASE, Settings, load
from llmguard.detection import Engine, Scanner, chosen, match
from llmguard.drivers import AsyncUpstream, Nowhere, Upstream, adrive, drive
from llmguard.effects import (
    AwaitApproval,
    Claim,
    Commit,
    Effect,
    Flow,
    Head,
    LoadGrants,
    Passed,
    Recall,
    Receipt,
    Scan,
    Sift,
    Upload,
)
from llmguard.errors import Conflict, GuardUnavailable, LLMGuardError, NotFound, RequestTooLarge
from llmguard.excepted import Exceptions
from llmguard.facts import Facts, each
from llmguard.identity import Person
from llmguard.model import (
    Approval,
    AuditEntry,
    Call,
    Decision,
    Destination,
    Egress,
    Finding,
    Grant,
    Payload,
    Principal,
    Risk,
    Scanned,
    TextPart,
    VaultEntry,
    new_id,
)
from llmguard.payload import headers as header_rules
from llmguard.payload import multipart, operations
from llmguard.payload.extract import extract
from llmguard.pipeline import Kit, Revision, guard_call, revise_call
from llmguard.policy import Policy
from llmguard.policy.file import PolicyFile
from llmguard.redaction import Restorer, redact, tags
from llmguard.request import Request, called
from llmguard.sifting import Choices, choices
from llmguard.store import Store, Transaction, calls, placeholders, produced, wall_ms
from llmguard.transfers import Transfers
from llmguard.uploads import Uploads
from llmguard.vault import Keyring, Vault

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger("llmguard")
LARGE = 64 * 1024
"""Characters of text above which a scan leaves the event loop."""
MAX_OWED = 1000
"""Outcomes of executions that are kept in memory while they cannot be stored."""
LOOK = 2.0
"""Seconds between looks at whether the process that executes is still there."""


@dataclass(frozen=True, slots=True)
class Redacted:
    """A redacted text with what was found in the original."""

    text: str
    findings: tuple[Finding, ...]


class Guard:
    """State in ``settings.data``, safe for several processes. ``Guard()`` uses the user's configuration and folders."""

    def __init__(self, settings: Settings | None = None, *, names: bool | None = None, advisory: bool = True) -> None:
        """``names`` says whether names and addresses of people are looked for, whatever the settings say.

        ``advisory`` marks approvals that are decided on a host whose database the requester can write.
        """
        self.settings = settings or load()
        if names is not None:
            self.settings = replace(self.settings, names=names)
        self.vault = Vault(Keyring.open(self.settings.data / "keys"))
        self.store = Store(self.settings.data / DATABASE, timeout=self.settings.lock_timeout)
        self.scanner = Scanner(
            Engine(
                catalogue.load(self.settings.detectors),
                cache=self.settings.cache,
                matcher=match.configured(self.settings),
            ),
            chosen(self.settings.names, self.settings.names_thresholds),
            budget=self.settings.names_budget,
        )
        self.approvals = Approvals(
            self.vault,
            advisory=advisory,
            url=self.settings.approval_url or self.settings.control_url,
            max_waiting=self.settings.max_waiting,
            max_waiting_bytes=self.settings.max_waiting_bytes,
            replay_window=self.settings.replay_window,
            secret_exceptions=self.settings.secret_exceptions,
        )
        self.transfers = Transfers(
            self.settings, self.vault, self.scanner, self._put, lambda call, parts: self.perform(Scan(call, parts))
        )
        self.uploads = Uploads(self.vault, self.store, self.settings.max_upload_bytes)
        self.room = WaitingRoom(self.store)
        self.file = PolicyFile(self.settings)
        self.kit = Kit(
            self.vault,
            self._in_force(),
            frozenset(self.settings.secret_tools),
            self.settings.max_answer_bytes,
            self.settings.on_client_gone == "cancel",
            self.settings.output_action == "end",
            self.settings.output_hold_chars,
            self.store.read(self._excepted),
            self.settings.hold == "ticket",
        )
        self._owed: deque[Commit] = deque()
        self._owner = ""
        self._actions = Actions(self)
        self.origin = f"llmguard/{self.vault.keyring.log_id()}"

    def _in_force(self) -> Policy:
        """The stored policy, which the configuration's becomes only where nobody else has to approve it."""
        file, tenant = self.file.policy, self.settings.tenant
        source = self.store.read(lambda tx: rules.in_force(tx, self.vault, tenant))
        if source != file.source:
            source = self.store.transact(lambda tx: rules.adopt(tx, self.vault, tenant, file), durable=True)
        if source == file.source:
            return file
        stored = rules.parsed(source)
        log.warning(
            "the policy of the configuration (%s) is pending, and %s stays in force: llmguard policy propose",
            *(file.version[:12], stored.version[:12]),
        )
        return stored

    def reload(self) -> None:
        """Takes the policy of the configuration as it stands in its file now: in force, or pending."""
        policy = self._in_force()
        if policy.version != self.kit.policy.version:
            self.kit = replace(self.kit, policy=policy)

    def _excepted(self, tx: Transaction) -> Exceptions:
        """The exceptions in force."""
        return exceptions.in_force(tx, self.vault, self.settings.tenant, secrets=self.settings.secret_exceptions)

    @classmethod
    def from_config(cls, path: Path) -> Guard:
        """A guard with the settings of a file."""
        return cls(load(path))

    def close(self) -> None:
        """Commits what is under way; sends away whoever waits for people. A closed guard refuses every call."""
        self.room.close()
        self.scanner.close()
        self.store.close()

    def __enter__(self) -> Guard:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ----------------------------------------------------------------- text

    def scan(self, text: str) -> list[Finding]:
        """Findings in ``text``: sorted, never overlapping, offsets in code points."""
        return list(self.scanner.scan((TextPart(text, "text"),), self.local_principal())[0])

    def redact(self, text: str) -> Redacted:
        """Replaces every finding as the policy's styles say; by default by its placeholder.

        The originals of placeholders are remembered for this principal, sealed.
        """
        part = TextPart(text, "text")
        principal = self.local_principal()
        findings = self.scanner.scan((part,), principal)
        taken: frozenset[str] = frozenset()
        while True:
            redaction = redact(self.vault, principal.tenant, (part,), findings, taken, style=self.kit.policy.style)
            grants = tuple(Grant(f"principal:{principal.id}", e.placeholder, e.origin) for e in redaction.entries)
            counts = {f.type: sum(g.type == f.type for g in findings[0]) for f in findings[0]}
            entry = AuditEntry("text.redacted", principal.tenant, {"principal": principal.id, "findings": counts})

            def work(
                tx: Transaction, entries: Any = redaction.entries, grants: Any = grants, entry: Any = entry
            ) -> Any:
                return self._store(tx, principal, entries, grants, (entry,))

            try:
                self.store.transact(work)
            except _Taken as e:
                taken |= e.placeholders
                continue
            return Redacted(redaction.texts.get(0, text), findings[0])

    def restore(self, text: str, *, urls: bool = False) -> str:
        """Fills the placeholders that were redacted for this principal back in; whatever else looks like one stays.

        Nothing is filled into URLs, for a model may have written them to carry it away; ``urls`` does, and is for text
        that no model wrote.
        """
        principal = self.local_principal()
        scope = f"principal:{principal.id}"
        entries = self.store.read(lambda tx: placeholders.granted(tx, self.vault, principal, [scope], tags(text)))
        return Restorer(entries).text(text, None if urls else "text")

    def assess(self, text: str) -> Risk:
        """Risk of sending ``text`` for inference to the configured upstream."""
        part = TextPart(text, "text")
        found = tuple(each((part,), (self.scan(text),), lambda _, value: value, {}))
        to, characters = self.settings.upstream_trust, len(text)
        return self.kit.policy.risk(Facts("", "inference", to, found, characters=characters))

    # ----------------------------------------------------------------- calls

    def action(
        self,
        name: str,
        *,
        describe: Callable[..., str] | str | None = None,
        evidence: Callable[..., Any] | None = None,
        wait: float | None = None,
    ) -> Callable[[Callable[P, T]], Action[P, T]]:
        """Decorates a function, sync or async: people have to approve it before it runs, with exactly its arguments.

        ``describe``: a sentence for the reviewer, as a format string (``"Export {table}"``) or made from the same
        arguments. ``evidence``: a dry run from the same arguments, as JSON; made anew right before the execution, which
        does not happen if it differs. ``wait`` in seconds; None: until they have decided or the approval expires.

        Raises ConfigError for what cannot be used; for what calls raise, see ``Action``.
        """
        return self._actions.gate(Terms(name, describe, evidence, wait))

    def approval(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        describe: str = "",
        evidence: Any = None,
        wait: float | None = None,
        revises: str = "",
    ) -> Block:
        """``with`` and ``async with``: people have to approve the block before it runs; it is the execution.

        ``evidence`` is JSON, or a function that gives it and is asked again right before the block. ``revises``: the id
        of an approval whose reviewers asked for changes. The same errors as an action's.
        """
        return self._actions.block(Terms(name, wait=wait), arguments or {}, describe, evidence, revises)

    def resume(self, approval_id: str) -> Any:
        """Carries out an action that an earlier process asked for, exactly as it was, once approved.

        What it returns, of an async function something to await. Raises as ``Action.resume``, and ConfigError if this
        process has not decorated that function.
        """
        return self._actions.resume(approval_id)

    def run(self, call: Call, upstream: Upstream) -> Iterator[Head | bytes]:
        """The answer of a call: drives the pipeline over this guard and ``upstream``."""
        return drive(self, self.flow(call), upstream)

    def arun(self, call: Call, upstream: AsyncUpstream) -> AsyncIterator[Head | bytes]:
        """The same on an event loop."""
        return adrive(self, self.flow(call), upstream)

    def revise(self, person: Person, id_: str, digest: str, body: bytes) -> Approval:
        """Puts another body in the place of a held call whose reviewers asked for changes; it is voted on anew.

        For the human behind the call alone. Whoever sends the former request again joins the revision. Raises NotFound,
        NotAllowed, Conflict, and what is wrong with the body (CallRefused).
        """

        def work(tx: Transaction) -> tuple[Approval, Egress]:
            return self.approvals.revisable(tx, person, id_, digest)

        former, egress = self.store.transact(work)
        path, query = self._again(former, egress)
        request = Request(egress.method, path, query, egress.headers, body)
        principal = Principal(former.principal, former.tenant, "human", person.email, former.human)
        call = self.call(request, principal, self.settings.destination, egress.account)
        return self._revised(call, Revision(former))

    def decide_records(
        self, person: Person, id_: str, digest: str, decisions: Mapping[str, str], version: int | None = None
    ) -> Approval:
        """Sifts held training data anew, with what a reviewer decided of its records (``17`` or ``17-40``: keep, drop,
        redact): a revision, which is voted on anew. Whoever keeps something as it was written does not vote on it.

        Raises NotFound, NotAllowed, Conflict, InvalidRequest, ApprovalImpossible, and what is wrong with the file.
        """
        new = choices.read(decisions, person.email)

        def work(tx: Transaction) -> tuple[training.Former, Principal]:
            held = training.decidable(tx, self.approvals, person, id_, digest=digest, version=version)
            return held, self._requester(tx, held.approval)

        held, principal = self.store.transact(work)
        former, egress = held.approval, held.egress
        decided = choices.merged(held.review.decided, new)
        path, query = self._again(former, egress)
        if former.operation == operations.COMPLETE:
            path = f"{path}/{former.id}/complete"  # the parts are gone, the whole file is here
        fields = multipart.parsed(replace(egress, body=held.original)).fields
        if any(not one.path.is_file() for f in fields for one in spool.inside(f.content)):
            raise Conflict("the upload was wiped by now: it has to be sent again", approval_id=id_)
        headers = header_rules.typed(egress.headers, "multipart/form-data")  # our own boundary is nobody's data
        request = Request(egress.method, path, query, headers, b"", fields)
        call = self.call(request, principal, self.settings.destination, egress.account)
        call = replace(call, justification=held.justification)
        told = training.told(decided, held.relabelled(new))
        keepers = {d.by for d in decided if d.choice == "keep"}
        why = Revision(former, Choices(decided), told, person.email, tuple(sorted(keepers)))
        return self._revised(call, why)

    def _again(self, former: Approval, egress: Egress) -> tuple[str, str]:
        """Path and query below the API's root of what was held. Raises Conflict."""
        base = self.settings.destination
        if egress.destination != base.name or not egress.url.startswith(base.base_url + "/"):
            raise Conflict("the destination was changed since: send a new request", approval_id=former.id)
        path, _, query = egress.url.removeprefix(base.base_url).partition("?")
        return path, query

    def _requester(self, tx: Transaction, former: Approval) -> Principal:
        """Who asked, as the policy knows that caller. A key that was removed since is a service's."""
        id_ = former.principal.removeprefix("key:")
        with suppress(NotFound):
            known = identity.key(tx, self.vault, former.tenant, id_)
            return Principal(former.principal, former.tenant, known.kind, known.name, former.human)
        return Principal(former.principal, former.tenant, "service", "", former.human)

    def _revised(self, call: Call, why: Revision) -> Approval:
        """Holds what takes the place of a held request. Nothing is sent, so nothing is answered."""
        call = replace(call, revises=why.former.id)
        made: list[Approval] = []

        def flow() -> Flow:
            try:
                made.append((yield from revise_call(call, self.kit, why)))
            finally:
                self.transfers.over(call)

        for _ in drive(self, flow(), Nowhere()):
            pass
        return made[0]

    def sight(self, held: Approval, egress: Egress, body: Payload) -> Mapping[tuple[str, str], int]:
        """What today's detectors find in the body of a held call, by type and digest of the value, and how often.

        Findings that are excepted by now are none. Raises what is wrong with the body (CallRefused).
        """
        if not isinstance(body, bytes):
            raise RequestTooLarge("an upload is not looked through again")
        base = self.settings.destination
        path, _, query = egress.url.removeprefix(base.base_url).partition("?")
        principal = Principal(held.principal, held.tenant, "service", "", held.human)
        request = Request(egress.method, path, query, egress.headers, body)
        call = self.call(request, principal, base, egress.account)
        content = extract(call)
        scanned = self.perform(Scan(call, content.parts))
        tag = partial(self.vault.exception, call.tenant)
        findings, _ = self.kit.exceptions.applied(tag, call, content.parts, content.declared(scanned.findings))
        counts: Counter[tuple[str, str]] = Counter()
        for part, found in zip(content.parts, findings, strict=True):
            for f in found:
                counts[f.type, self.vault.digest(call.tenant, f.type, part.text[f.start : f.end]).hex()] += 1
        return counts

    @property
    def owner(self) -> str:
        """Who spends approvals here: this process. A forked child is another one, and may die alone."""
        if not self._owner.startswith(f"{os.getpid()}:"):
            self._owner = f"{os.getpid()}:{new_id(wall_ms())}"
        return self._owner

    def sweep(self) -> None:
        """Does what time does to approvals, in pieces, and stores outcomes that could not be stored before."""
        self._pay()
        while self.store.transact(self.approvals.sweep, durable=True) >= SWEEP:
            pass
        self.store.transact(uploads.sweep)
        self.transfers.spools.sweep(lambda id_: self.store.read(lambda tx: contents.referred(tx, id_)))
        over = wall_ms() - int(self.settings.calls_kept * 1000)
        while self.store.transact(lambda tx: calls.forget(tx, self.settings.tenant, over)) >= calls.FORGET:
            pass

    def now(self) -> int:
        """UTC milliseconds."""
        return wall_ms()

    def local_principal(self) -> Principal:
        """Who calls in this process: the principal of the setting ``key``, else the operating system's user.

        Nobody is accountable for the latter. Raises Unauthenticated for a key that does not count.
        """
        token = self.settings.key
        if token is None:
            return Principal(f"local:{os.getuid()}", self.settings.tenant, "service", getpass.getuser())
        return self.store.read(lambda tx: identity.authenticate(tx, self.vault, token))

    def account(self, credential: str) -> str:
        """A name for a provider credential that reveals nothing of it."""
        return self.vault.digest(self.settings.tenant, "account", credential).hex()[:16]

    def call(self, request: Request, principal: Principal, destination: Destination, account: str) -> Call:
        """The Call of a request. Raises RequestTooLarge."""
        return called(self.settings, request, principal, destination, account)

    def flow(self, call: Call) -> Flow:
        """The way of a call. What was spooled for it is wiped at its end."""
        try:
            yield from guard_call(call, self.kit)
        finally:
            self.transfers.over(call)

    def perform(self, effect: Effect) -> Any:
        """Performs an effect of this host's side, in the caller's thread."""
        if isinstance(effect, AwaitApproval):
            return self._wait(effect)
        result = self._begin(effect)
        return result.result() if isinstance(result, Future) else result

    async def aperform(self, effect: Effect) -> Any:
        """The same without blocking the event loop."""
        if isinstance(effect, AwaitApproval):
            return await self._await(effect)
        if isinstance(effect, Sift | Upload) or (
            isinstance(effect, Scan) and sum(len(p.text) for p in effect.parts) > LARGE
        ):
            result = await asyncio.to_thread(self._begin, effect)
        else:
            result = self._begin(effect)
        if not isinstance(result, Future):
            return result
        return result.result() if result.done() else await asyncio.wrap_future(result)

    def _begin(self, effect: Effect) -> Any:
        match effect:
            case Scan(call, parts, answer):
                if answer:
                    return Scanned(self.scanner.ruled(parts, call.principal))
                return self.scanner.submit(parts, call.principal)
            case Sift() | Upload() | Passed():
                return self._of_files(effect)
            case LoadGrants(call, scopes, wanted):
                # Behind what is under way: a caller may refer to an answer whose outcome is about to be recorded.
                return self.store.submit(
                    lambda tx: placeholders.granted(tx, self.vault, call.principal, scopes, wanted)
                )
            case Commit():
                if effect.hold is not None:
                    self._pay()
                return self._commit(effect)
            case Claim(call, approval, decision):
                return self.store.submit(lambda tx: self._claim(tx, call, approval, decision), durable=True)
            case Recall(call, approval):
                return self.store.read(lambda tx: self.approvals.recall(tx, call.tenant, approval.id, call.principal))
        raise GuardUnavailable(f"no side performs {type(effect).__name__}")

    def _of_files(self, effect: Sift | Upload | Passed) -> Any:
        match effect:
            case Sift():
                return self.transfers.sift(effect)
            case Passed(call, ids):
                return self.store.submit(lambda tx: produced.known(tx, self.vault, call.tenant, ids))
            case Upload(call, document, stage):
                return self.uploads.moved(call, stage) if stage else self.uploads.step(call, document)

    def _wait(self, effect: AwaitApproval) -> Approval:
        """Until people have decided, in this thread; then, whatever woke us, what the approval is at that moment."""
        approval = effect.approval
        while (left := _left(effect, approval)) > 0:
            news = self.room.enter(approval)
            try:
                news.result(_patience(approval, left))
            except TimeoutError:
                if approval.state != "EXECUTING":
                    break
            finally:
                self.room.leave(news)
            approval = self.store.transact(lambda tx, a=approval: self.approvals.review(tx, a.tenant, a.id))  # type: ignore[misc]
        return self._outcome(effect, approval)

    async def _await(self, effect: AwaitApproval) -> Approval:
        """The same on an event loop. Cancelling ends the wait at once."""
        approval = effect.approval
        while (left := _left(effect, approval)) > 0:
            news = self.room.enter(approval)
            try:
                await asyncio.wait_for(asyncio.wrap_future(news), _patience(approval, left))
            except TimeoutError:
                if approval.state != "EXECUTING":
                    break
            finally:
                self.room.leave(news)
            review = self.store.submit(lambda tx, a=approval: self.approvals.review(tx, a.tenant, a.id))  # type: ignore[misc]
            approval = await asyncio.wrap_future(review)
        return self._outcome(effect, approval)

    def _outcome(self, effect: AwaitApproval, approval: Approval) -> Approval:
        """APPROVED and EXECUTED pass; everything else is raised."""
        if approval.state != "EXECUTED":
            self.approvals.outcome(approval, ticket=effect.call.ticket)
        return approval

    def _commit(self, effect: Commit) -> Future[Receipt] | Receipt:
        durable = effect.hold is not None or effect.settle is not None or effect.withdraw is not None
        future = self.store.submit(lambda tx: self._unit_of_work(tx, effect), durable=durable)
        if effect.settle is not None:
            future.add_done_callback(lambda done: self._owe(effect, done.exception()))
        if effect.wait:
            return _receipt(future)
        future.add_done_callback(_log_failure)
        return Receipt()

    def _owe(self, effect: Commit, error: BaseException | None) -> None:
        """An outcome that could not be stored (the database is locked or full) is stored when it can be."""
        if isinstance(error, GuardUnavailable) and len(self._owed) < MAX_OWED:
            self._owed.append(replace(effect, wait=False))

    def _pay(self) -> None:
        for _ in range(len(self._owed)):
            try:
                effect = self._owed.popleft()
            except IndexError:  # another thread pays as well
                return
            self._commit(effect)

    def _claim(self, tx: Transaction, call: Call, approval: Approval, decision: Decision) -> Egress | Approval:
        if self._newer(tx, decision.policy_version):
            raise GuardUnavailable("the policy was changed a moment ago: send the request again")
        identity.ensure_in_force(tx, self.vault, call.principal)  # it may have waited for long
        return self.approvals.claim(tx, call.tenant, approval.id, call.principal, decision, self.owner)

    def _newer(self, tx: Transaction, version: str) -> Policy | None:
        """The policy in force, if it is another one than ``version``; from now on it decides here."""
        if rules.current(tx, self.settings.tenant) == version:
            return None
        policy = rules.parsed(rules.in_force(tx, self.vault, self.settings.tenant) or "")
        self.kit = replace(self.kit, policy=policy)
        return policy

    def _unit_of_work(self, tx: Transaction, effect: Commit) -> Receipt:
        call, approval = effect.call, None
        if effect.policy and (policy := self._newer(tx, effect.policy)):
            raise _Decided(Receipt(policy=policy))
        if effect.exceptions is not None and exceptions.current(tx, call.tenant) != effect.exceptions:
            self.kit = replace(self.kit, exceptions=self._excepted(tx))
            raise _Decided(Receipt(exceptions=self.kit.exceptions))
        self._store(tx, call.principal, effect.vault, effect.grants, effect.audit)
        placeholders.link(tx, call.principal, effect.links)
        if effect.record and self.settings.calls_kept:
            calls.keep(tx, call, effect.record)
        if effect.hold:
            approval = self.approvals.hold(tx, effect.hold)
        if effect.produced:
            approved = effect.settle.approval if effect.settle else ""
            of = {"operation": call.operation.name, "principal": call.principal.id, "call": call.id}
            produced.keep(tx, self.vault, call.tenant, effect.produced, **of, approval=approved, digest=effect.digest)
        if effect.settle:
            how = effect.settle
            self.approvals.settle(tx, call.tenant, how.approval, how.state, how.answer)
        if effect.withdraw and not self.room.others(effect.withdraw):
            self.approvals.withdraw(tx, call.tenant, effect.withdraw.id, call.principal)
        return Receipt(approval=approval)

    def _put(self, call: Call, entries: Sequence[VaultEntry], grants: Sequence[Grant]) -> frozenset[str]:
        """Stores placeholders of a file, and who may have them back; or those that are another value's."""
        try:
            self.store.transact(lambda tx: self._store(tx, call.principal, entries, grants, ()))
        except _Taken as e:
            return e.placeholders
        return frozenset()

    def _store(self, tx: Transaction, principal: Principal, entries: Any, grants: Any, entries_of_log: Any) -> None:
        if taken := placeholders.put(tx, self.vault, principal.tenant, entries):
            raise _Taken(taken)
        placeholders.grant(tx, principal, grants)
        audit.append(tx, entries_of_log)


class _Taken(LLMGuardError):
    """Rolls a unit of work back: these placeholders belong to other values."""

    def __init__(self, placeholders: frozenset[str]) -> None:
        super().__init__("placeholders are taken")
        self.placeholders = placeholders


class _Decided(LLMGuardError):
    """Rolls a unit of work back: another policy or other exceptions are in force than those that decided."""

    def __init__(self, receipt: Receipt) -> None:
        super().__init__("what decided is not in force any more")
        self.receipt = receipt


def _receipt(future: Future[Receipt]) -> Future[Receipt]:
    """The receipt of a unit of work; one that rolled back over taken placeholders says which."""
    answer: Future[Receipt] = Future()

    def done(f: Future[Receipt]) -> None:
        error = f.exception()
        if isinstance(error, _Taken):
            answer.set_result(Receipt(taken=error.placeholders))
        elif isinstance(error, _Decided):
            answer.set_result(error.receipt)
        elif error:
            answer.set_exception(error)
        else:
            answer.set_result(f.result())

    future.add_done_callback(done)
    return answer


def _log_failure(future: Future[Receipt]) -> None:
    if error := future.exception():
        log.error("an outcome was not recorded: %s", type(error).__name__)


def _left(effect: AwaitApproval, approval: Approval) -> float:
    """Seconds that a call goes on waiting; 0 if it need not, or may not."""
    return (effect.until - wall_ms()) / 1000 if approval.state in UNDECIDED else 0


def _patience(approval: Approval, left: float) -> float:
    """Seconds until whoever waits looks himself: a process that dies while it executes tells nobody."""
    return min(left, LOOK) if approval.state == "EXECUTING" else left
