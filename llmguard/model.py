"""The ten nouns, frozen, and the small values that they are made of.

Types that hold original text have a ``repr`` that shows its length instead. Offsets are code points, half-open.
Times are UTC milliseconds. Ids are ULIDs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Literal, Protocol, runtime_checkable

from ulid import ULID

Category = Literal["pii", "secret", "internal"]
Severity = Literal["low", "medium", "high", "critical"]
Origin = Literal["user", "system", "assistant", "tool"]
"""The role whose text a value stood in. It decides where the value may return."""
Place = Literal["body", "key", "credential", "path", "query", "header"]
Kind = Literal["inference", "stored", "training", "administration", "action", "unknown"]
"""What becomes of the data of an operation; an action is carried out here."""
Trust = Literal["internal", "contract", "public"]
Verdict = Literal["allow", "redact", "require_approval", "block"]
DEFAULT_TENANT = "default"
EVASION = "EVASION"
"""Type of a finding that is hidden behind more than is looked through: it is replaced like any other."""


def new_id(now: int) -> str:
    """A ULID of the time ``now`` (UTC milliseconds)."""
    return str(ULID.from_timestamp(now))


def hidden(text: str | bytes) -> str:
    """What a ``repr`` may show of original text: its length."""
    return f"<{len(text)} {'chars' if isinstance(text, str) else 'bytes'}>"


# --------------------------------------------------------------------------- who and where


@dataclass(frozen=True, slots=True)
class Principal:
    """Human, service or agent behind a credential. ``human`` is the accountable person's e-mail address, or None.

    ``scopes`` are patterns of the operations that the credential may call: names (``chat.*``) or kinds; none: all.
    """

    id: str
    tenant: str
    kind: Literal["human", "service", "agent"]
    name: str
    human: str | None = None
    scopes: tuple[str, ...] = ()

    @property
    def accountable(self) -> bool:
        return self.human is not None

    def may(self, operation: Operation) -> bool:
        """Whether the operation is within the credential's scopes."""
        return not self.scopes or any(s == operation.kind or fnmatchcase(operation.name, s) for s in self.scopes)


@dataclass(frozen=True, slots=True)
class Destination:
    """An upstream from the configuration. ``base_url`` is the API's root without a trailing slash (``https://host/v1``)."""

    name: str
    base_url: str
    trust: Trust = "public"


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the operations table: what a method and path do with the data that they carry.

    ``path`` is a template under the API's root (``/responses/{response_id}``). ``grant_reads`` names what a request
    refers to (``body:/previous_response_id``, ``path:response_id``), ``grant_writes`` the pointer of the answer's id
    under which its placeholders can be restored later, with the scope's word (``response:/id``). ``grant_links`` are
    pairs of scopes, of every object of the answer: what is granted under the second is granted under the first too
    (``file:/output_file_id``, ``batch:/id``; ``call`` is what was sent). What a ``rendered`` operation is told gets
    drawn or spoken: redacting it is not useful, it is held or blocked. ``produces`` names what the answer says was
    made: a kind, the pointer of its id, and of the ids that it was made from; ``trains_on`` has the pointers of files
    that a model learns from.
    """

    name: str
    method: str
    path: str
    kind: Kind
    body: Literal["none", "json", "multipart", "other"] = "json"
    grant_reads: tuple[tuple[str, str], ...] = ()
    grant_writes: tuple[tuple[str, str], ...] = ()
    grant_links: tuple[tuple[str, str], ...] = ()
    produces: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    trains_on: tuple[str, ...] = ()
    rendered: bool = False


# --------------------------------------------------------------------------- what leaves


@runtime_checkable
class Content(Protocol):
    """Bytes that may be too many for memory: they lie sealed on disk. They never change.

    ``digest``: 64 hex digits that bind them; of a file its SHA-256. ``pieces`` are bounded, in order, from an offset
    on, and raise GuardUnavailable if what lies there was altered, cut or wiped.
    """

    def __len__(self) -> int: ...
    @property
    def digest(self) -> str: ...
    def pieces(self, start: int = 0) -> Iterator[bytes]: ...


Payload = bytes | Content
"""What a request carries: in memory, or spooled."""


def digest_of(payload: Payload) -> str:
    """SHA-256 of bytes in memory, else what binds the content."""
    return hashlib.sha256(payload).hexdigest() if isinstance(payload, bytes) else payload.digest


def pieces_of(payload: Payload, start: int = 0) -> Iterator[bytes]:
    """The bytes in order, in pieces."""
    if not isinstance(payload, bytes):
        yield from payload.pieces(start)
    elif payload[start:]:
        yield payload[start:]


def window(payload: Payload, start: int, end: int) -> bytes:
    """The bytes from ``start`` to ``end``."""
    if isinstance(payload, bytes):
        return payload[start:end]
    found, left = bytearray(), max(0, min(end, len(payload)) - start)
    for piece in payload.pieces(start) if left else ():
        found += piece[: left - len(found)]
        if len(found) == left:
            break
    return bytes(found)


def in_memory(payload: Payload, most: int = 1 << 30) -> bytes:
    """The whole payload, or its beginning."""
    return payload if isinstance(payload, bytes) else window(payload, 0, most)


@dataclass(frozen=True, slots=True)
class FormField:
    """One field of a form (RFC 7578). With a ``filename`` it is a file; ``media_type`` as its part names it, or ""."""

    name: str
    content: Payload
    filename: str | None = None
    media_type: str = ""

    @property
    def is_file(self) -> bool:
        return self.filename is not None or not isinstance(self.content, bytes)

    def __repr__(self) -> str:
        return f"FormField({hidden(self.name)}, <{len(self.content)} bytes>)"


@dataclass(frozen=True, slots=True)
class Body:
    """The content-decoded body of a request: its bytes, or the fields of a form, whose files may be spooled."""

    kind: Literal["empty", "json", "form", "other"]
    raw: bytes = b""
    media_type: str = ""
    fields: tuple[FormField, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of what it carries."""
        return len(self.raw) + sum(len(f.content) for f in self.fields)

    def __repr__(self) -> str:
        return f"Body({self.kind}, <{self.size} bytes>, {self.media_type!r})"


@dataclass(frozen=True, slots=True)
class Call:
    """One request about to leave. ``path`` is relative to the API's root and starts with ``/``; ``query`` has no ``?``.

    ``headers`` are lower-case pairs without the hygiene list (hop-by-hop, host, length, credentials, cookies, ours).
    ``account`` names the provider account that pays, never the key itself. While people have to decide, the caller
    hears nothing for up to ``patience`` seconds, or gets a ``ticket`` at once; a stream that was opened meanwhile gets
    a sign of life every ``pulse`` seconds. ``revises`` names an approval whose reviewers asked for these changes.
    ``justification``: why, in the caller's own words.
    """

    id: str
    principal: Principal
    operation: Operation
    destination: Destination
    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: Body
    account: str
    received: int
    path_params: tuple[tuple[str, str], ...] = ()
    ticket: bool = False
    patience: float = 0.0
    pulse: float = 5.0
    revises: str = ""
    justification: str = field(default="", repr=False)

    @property
    def tenant(self) -> str:
        return self.principal.tenant

    def __repr__(self) -> str:
        return f"Call({self.id}, {self.operation.name}, {self.body!r})"


@dataclass(frozen=True, slots=True)
class TextPart:
    """One piece of text in a call. ``label`` is the key it stood under, where that says something of the value.

    ``address``: JSON pointer (``#`` between levels of JSON inside strings), or ``query``, ``path``, ``header:NAME``.
    ``redactable`` is false where replacing would break the call (numbers, structural slots, path, query, headers).
    """

    text: str
    address: str
    origin: Origin = "user"
    label: str = ""
    place: Place = "body"
    redactable: bool = True

    def __repr__(self) -> str:
        return f"TextPart({hidden(self.text)}, {self.place}, {self.origin})"


# --------------------------------------------------------------------------- what was found


@dataclass(frozen=True, slots=True)
class Detector:
    """One rule of the catalogue. ``pattern`` is RE2 syntax; groups named ``value…`` narrow the span; a branch
    without one, in a pattern that has some, is passed over.

    ``anchor`` is the cheap part that the automaton looks for (Hyperscan syntax, default: the pattern itself), ``reach``
    how many bytes before and after the end of an anchor the pattern may stretch. ``keywords`` are labels under which a
    whole part is a candidate value. ``context`` words near a match raise confidence; ``needs_context`` drops a match
    without one; ``unless`` words directly before a match drop it.
    """

    id: str
    type: str
    category: Category
    severity: Severity
    confidence: float
    pattern: str
    source: str
    keywords: tuple[str, ...] = ()
    validator: str | None = None
    context: tuple[str, ...] = ()
    match: tuple[str, ...] = ()
    no_match: tuple[str, ...] = ()
    anchor: str = ""
    reach: tuple[int, int] = (64, 256)
    needs_context: bool = False
    unless: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """A span in a TextPart. It never holds the matched value."""

    start: int
    end: int
    type: str
    category: Category
    confidence: float
    detector: str
    severity: Severity = "medium"


@dataclass(frozen=True, slots=True)
class Scanned:
    """What a scan of a call found, aligned with its parts, and the kinds of looking that were not done (``names``)."""

    findings: tuple[tuple[Finding, ...], ...]
    unscanned: tuple[str, ...] = ()


# --------------------------------------------------------------------------- vault


@dataclass(frozen=True, slots=True)
class VaultEntry:
    """One placeholder and its original. ``origin`` is the most trusted role that the value stood in."""

    placeholder: str
    value: str
    type: str
    category: Category
    origin: Origin

    def __repr__(self) -> str:
        return f"VaultEntry({self.placeholder}, {self.type}, {hidden(self.value)})"


@dataclass(frozen=True, slots=True)
class Grant:
    """A placeholder may be restored under ``scope`` (``response:resp_1``, ``approval:ID``, ``principal:ID``)."""

    scope: str
    placeholder: str
    origin: Origin


# --------------------------------------------------------------------------- risk and decision


@dataclass(frozen=True, slots=True)
class Reason:
    """One additive part of a risk: which term, how many points as written, why in a reviewer's words, and how many of
    the points are ``left`` as it would leave.
    """

    term: str
    points: float
    text: str
    left: float = 0.0


@dataclass(frozen=True, slots=True)
class Risk:
    """Leakage risk of a call, 0-100: as written, and as it would leave. ``summary``: one sentence for reviewers."""

    inherent: int
    residual: int
    reasons: tuple[Reason, ...] = ()
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Requirement:
    """What an approval needs: of each group so many people, nobody counted twice, before ``expires_in`` seconds are
    over; then it is spent within ``spend_in`` seconds.

    ``hold``: whether the caller waits on the line (``wait``), gets a ``ticket``, or what the settings say ("").
    ``justified``: the caller has to say why. ``fresh``: how many seconds ago a voter may have logged in, 0 for any.
    After ``remind_after`` seconds, and again after as many, the groups are reminded; after ``escalate_after`` people of
    ``escalate_to`` may stand in for any of them. One person of ``break_glass`` may decide alone in an emergency, which
    is alerted and reviewed. 0, "": not.
    """

    groups: tuple[tuple[str, int], ...] = (("reviewers", 1),)
    expires_in: int = 3600
    spend_in: int = 3600
    fresh: int = 0
    remind_after: int = 0
    escalate_after: int = 0
    escalate_to: str = ""
    break_glass: str = ""
    hold: Literal["", "wait", "ticket"] = ""
    justified: bool = False

    @property
    def quorum(self) -> int:
        """How many distinct people."""
        return sum(count for _, count in self.groups)

    @property
    def audience(self) -> tuple[str, ...]:
        """Every group that may come to decide."""
        names = {name for name, _ in self.groups} | {self.escalate_to, self.break_glass}
        return tuple(sorted(names - {""}))

    def at_least(self, people: int) -> Requirement:
        """The same with more of its first group, if it asks for fewer people than that."""
        (first, count), *rest = self.groups
        more = max(0, people - self.quorum)
        return replace(self, groups=((first, count + more), *rest))

    def joined(self, other: Requirement) -> Requirement:
        """What satisfies both; times are this one's."""
        counts = dict(self.groups)
        for name, count in other.groups:
            counts[name] = max(count, counts.get(name, 0))
        return replace(self, groups=tuple(counts.items()), fresh=_stricter(self.fresh, other.fresh))


def _stricter(one: int, other: int) -> int:
    return min(x for x in (one, other) if x) if one or other else 0


@dataclass(frozen=True, slots=True)
class Decision:
    """What the policy says of a call, with the rule and the policy version (a digest) that said it.

    ``shadow``: the rules in shadow mode that held first, with what they would have said.
    """

    verdict: Verdict
    rule: str
    policy_version: str
    reason: str
    requirement: Requirement | None = None
    shadow: tuple[tuple[str, str], ...] = ()


# --------------------------------------------------------------------------- egress and approval


@dataclass(frozen=True, slots=True)
class Egress:
    """The frozen request that leaves: destination, account, headers, bytes. Its digest is what people approve."""

    destination: str
    url: str
    account: str
    method: str
    headers: tuple[tuple[str, str], ...]
    body: Payload

    def digest(self) -> str:
        """SHA-256 over length-prefixed fields, so that no two egresses share an encoding; of a body that is not in
        memory it has the digest."""
        word, body = (
            (b"llmguard egress v1", self.body)
            if isinstance(self.body, bytes)
            else (b"llmguard egress v1 spooled", self.body.digest.encode())
        )
        h = hashlib.sha256(word)
        fields = [self.destination, self.url, self.account, self.method, str(len(self.headers))]
        fields += [x for pair in self.headers for x in pair]
        for piece in [f.encode() for f in fields] + [body]:
            h.update(len(piece).to_bytes(8, "big"))
            h.update(piece)
        return h.hexdigest()

    def __repr__(self) -> str:
        return f"Egress({self.method}, {self.destination}, <{len(self.body)} bytes>)"


@dataclass(frozen=True, slots=True)
class Answer:
    """A provider's whole answer as it came, content-decoded and not restored."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def __repr__(self) -> str:
        return f"Answer({self.status}, {hidden(self.body)})"


State = Literal[
    "PENDING",
    "APPROVED",
    "DENIED",
    "CHANGES_REQUESTED",
    "SUPERSEDED",
    "EXPIRED",
    "CANCELLED",
    "REVOKED",
    "EXECUTING",
    "EXECUTED",
    "FAILED",
    "INDETERMINATE",
]


Subject = Literal["call", "action", "change", "review"]
"""What an approval is about. A review looks at what one person let through in an emergency."""


@dataclass(frozen=True, slots=True)
class Hold:
    """What a held call asks its reviewers: everything that an Approval is made from.

    ``request_key`` only joins retries of the same request. ``original`` is what was written, sealed with the egress
    for the reviewers' eyes. Nobody in ``excluded`` votes (e-mail addresses), besides the human behind the principal.
    ``exceptions`` are the ids of those under which something of it is no finding. ``justification``: why, in the
    caller's words, redacted. ``report``: what the reviewers of training data see of it, sealed with it; ``decided_by``:
    whose decisions about its records made it, in place of one that waits.
    """

    principal: Principal
    subject: Subject
    operation: str
    request_key: str
    egress: Egress
    original: Payload
    decision: Decision
    risk: Risk
    findings: Mapping[str, int] = field(default_factory=dict)
    grants: tuple[Grant, ...] = ()
    call: str = ""
    kind: Kind = "unknown"
    unscanned: tuple[str, ...] = ()
    revises: str = ""
    excluded: tuple[str, ...] = ()
    exceptions: tuple[str, ...] = ()
    justification: str = ""
    report: Mapping[str, Any] = field(default_factory=dict)
    decided_by: str = ""

    def __repr__(self) -> str:
        return f"Hold({self.operation}, {self.egress!r})"


@dataclass(frozen=True, slots=True)
class Vote:
    """One person's verdict on one egress digest. ``attestation`` binds it to the session key: a forged row fails.

    ``authenticated`` is when the person had logged in (UTC ms).
    """

    human: str
    verdict: Literal["approve", "deny", "request_changes", "break_glass"]
    reason: str
    digest: str
    time: int
    authenticated: int
    attestation: str


@dataclass(frozen=True, slots=True)
class Approval:
    """One state machine per held call or action, bound to an egress digest. ``version`` counts what happened to it.

    ``expires`` ends the present state: the time to decide, then the time to spend. ``returned`` counts how often the
    provider was too busy (429) and the approval came back unspent. ``standing`` names the standing grant whose votes
    count here, ``revises`` the approval that this one took the place of, ``exceptions`` what has to be in force until
    it is spent. ``escalated``: since when (UTC ms). ``owner``: the process that executes.
    """

    id: str
    tenant: str
    state: State
    version: int
    subject: Subject
    operation: str
    destination: str
    principal: str
    human: str | None
    request_key: str
    egress_digest: str
    policy_version: str
    rule: str
    requirement: Requirement
    risk: Risk
    findings: Mapping[str, int]
    advisory: bool
    created: int
    expires: int
    updated: int
    returned: int = 0
    votes: tuple[Vote, ...] = ()
    kind: Kind = "unknown"
    excluded: tuple[str, ...] = ()
    unscanned: tuple[str, ...] = ()
    call: str = ""
    revises: str = ""
    revision: int = 1
    standing: str = ""
    exceptions: tuple[str, ...] = ()
    escalated: int | None = None
    owner: str | None = None

    @property
    def barred(self) -> tuple[str, ...]:
        """Who never votes: the human behind the request, and whoever gains by it."""
        return (*((self.human,) if self.human else ()), *self.excluded)


@dataclass(frozen=True, slots=True)
class Produced:
    """What the provider made: a ``file``, ``job`` or ``batch`` with its id, and from which ids. ``report``: what was
    known of a file, in kinds and counts.
    """

    id: str
    kind: str
    sources: tuple[str, ...] = ()
    report: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settlement:
    """How the execution of an approval ended. APPROVED: the provider was too busy, nothing is spent.

    ``answer`` is what a retry of the same request receives for a while, instead of being sent again.
    """

    approval: str
    state: Literal["EXECUTED", "FAILED", "INDETERMINATE", "APPROVED"]
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One leaf of the log before it has an index. ``details`` is JSON without original text."""

    kind: str
    tenant: str
    details: Mapping[str, Any]
