"""Effects: what the pipeline asks of the outside, and gets back. A flow is a generator of them.

Owns no I/O and no order. Adding an effect means performing it in both drivers.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from llmguard.errors import LLMGuardError
from llmguard.excepted import Exceptions
from llmguard.facts import Facts, Found
from llmguard.model import (
    Approval,
    AuditEntry,
    Call,
    Category,
    Decision,
    Egress,
    FormField,
    Grant,
    Hold,
    Payload,
    Produced,
    Risk,
    Settlement,
    TextPart,
    VaultEntry,
)

StyleOf = Callable[[str, Category], str]
"""How values of a type are redacted."""


@dataclass(frozen=True, slots=True)
class Scan:
    """Look through the parts of a call, or of its answer (with rules alone). Result: Scanned."""

    call: Call
    parts: tuple[TextPart, ...]
    answer: bool = False


@dataclass(frozen=True, slots=True)
class Sift:
    """Look through the file of a form, and redact it as ``style`` says. Result: SiftedFile.

    ``decisions``: what people decided of records by number, from 0 (``sifting.Choices``): keep, drop or redact.
    """

    call: Call
    file: FormField
    style: StyleOf
    decisions: Any = None


@dataclass(frozen=True, slots=True)
class SiftedFile:
    """What may leave in a file's place, and what was found in it. ``report``: what reviewers of training data see
    (``census.Report`` as JSON). What stands in ``content`` as placeholders is stored, and granted to ``call:ID``.
    """

    content: Payload
    found: tuple[Found, ...] = ()
    unscanned: tuple[str, ...] = ()
    characters: int = 0
    report: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Passed:
    """Which of these files went through this guard. Result: frozenset of ids."""

    call: Call
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Upload:
    """One step of an upload in parts, which is answered here. Result: the answer, or Assembled where it is whole.

    What becomes of a whole one is a stage, whose result means nothing: it is ``sending`` (Conflict if another request
    sends it by now), ``sent``, or the provider did not take it and it is ``back``.
    """

    call: Call
    document: Any
    stage: Literal["", "sending", "sent", "back"] = ""


@dataclass(frozen=True, slots=True)
class Assembled:
    """A file that came in parts, as the form that would have uploaded it at once."""

    id: str
    fields: tuple[FormField, ...]


@dataclass(frozen=True, slots=True)
class LoadGrants:
    """Open what the principal was granted under the scopes, of all ``tags`` or these. Result: tuple of VaultEntry."""

    call: Call
    scopes: tuple[str, ...]
    tags: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of a decided call, to be explained and decided anew: facts, never text."""

    facts: Facts
    decision: Decision
    risk: Risk


@dataclass(frozen=True, slots=True)
class Commit:
    """One unit of work. Result: Receipt. Outcomes of unheld calls do not ``wait``.

    ``produced``: what the answer says was made, of the egress with this ``digest``. ``links``: pairs of scopes; what is
    granted under the second is granted under the first too.
    ``policy``: the version that decided. ``exceptions``: the version of those that were applied. If others are in force
    by now, nothing is stored: the receipt has them.
    """

    call: Call
    vault: tuple[VaultEntry, ...] = ()
    grants: tuple[Grant, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    audit: tuple[AuditEntry, ...] = ()
    hold: Hold | None = None
    settle: Settlement | None = None
    withdraw: Approval | None = None
    policy: str = ""
    exceptions: str | None = None
    record: Record | None = None
    produced: tuple[Produced, ...] = ()
    digest: str = ""
    wait: bool = True


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a commit did. Placeholders that are ``taken`` belong to other values: then nothing was stored; nor if
    another ``policy`` (a ``policy.Policy``) or other ``exceptions`` are in force by now.
    """

    taken: frozenset[str] = frozenset()
    approval: Approval | None = None
    exceptions: Exceptions | None = None
    policy: Any = None


@dataclass(frozen=True, slots=True)
class AwaitApproval:
    """Wait for people until a time (UTC ms). Result: the Approval, APPROVED or EXECUTED; else a typed error.

    ApprovalPending and ApprovalExecuting say that the time is over and nothing is decided.
    """

    call: Call
    approval: Approval
    until: int


@dataclass(frozen=True, slots=True)
class Claim:
    """Spend the approval: one compare-and-set, with the intent in the log.

    Result: the frozen Egress; or the Approval as it stands, if it cannot be spent any more, or not yet.
    """

    call: Call
    approval: Approval
    decision: Decision


@dataclass(frozen=True, slots=True)
class Recall:
    """What the provider answered when the approval was spent. Result: Answer; else AlreadyExecuted."""

    call: Call
    approval: Approval


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


Effect = Scan | Sift | Passed | Upload | LoadGrants | Commit | AwaitApproval | Claim | Recall | Send | NextChunk | Emit
Flow = Generator[Effect, Any, None]


class ClientGone(LLMGuardError):
    """Thrown in by a driver: nobody receives the answer any more. ``sent`` is false if nothing had left by then."""

    code = "client_gone"

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent
