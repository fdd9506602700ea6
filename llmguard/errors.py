"""The error tree. Each message says what the operator or the caller does next; none holds original text.

::

    LLMGuardError
    ├── ConfigError                 settings, catalogue or policy cannot be used
    ├── AuditError                  a log, proof or checkpoint does not hold
    ├── DatasetError                a data set was not cleaned, and nothing stands at its output
    ├── UpstreamError               502 upstream_error: the provider failed; what was sent had been decided
    │   └── ActionChanged           409 action_changed: an approved action is not what was approved any more
    ├── RequestRefused              the control plane did not do what a person asked
    │   ├── InvalidRequest          400 invalid_request
    │   ├── NotAllowed              403 not_allowed
    │   │   └── LoginTooOld         403 login_too_old: log in again, then decide
    │   ├── NotFound                404 not_found
    │   ├── Conflict                409 conflict: something else happened first
    │   ├── IdempotencyMismatch     422 idempotency_mismatch
    │   └── TooManyAttempts         429 too_many_attempts
    └── CallRefused                 nothing was sent
        ├── UnscannableRequest      400 unscannable_request
        ├── Unauthenticated         401 invalid_api_key
        ├── RequestTooLarge         413 request_too_large
        ├── GuardUnavailable        503 guard_unavailable: a part of the guard is down
        ├── CallBlocked             403 blocked
        │   ├── OutOfScope          403 out_of_scope: the credential is not for this operation
        │   └── JustificationRequired  403 justification_required: the caller has to say why
        ├── ApprovalDenied          403 approval_denied
        │   └── ChangesRequested    403 changes_requested: a reviewer asks for another revision
        ├── ApprovalExpired         403 approval_expired
        ├── ApprovalImpossible      403 approval_impossible: no eligible reviewer
        ├── ApprovalPending         409 approval_pending: people have not decided; the same request joins
        │   └── ApprovalTicket      the same, at once: come back when they have
        ├── ApprovalExecuting       409 approval_executing: the same bytes are on their way
        ├── ApprovalIndeterminate   409 approval_indeterminate: bytes may have left
        └── AlreadyExecuted         409 already_executed: the approval is spent
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

ERROR_HEADER = "x-llmguard-error"
"""Marks an answer of the guard itself, with the error's code: providers cannot send it through."""


class LLMGuardError(Exception):
    """Base of everything that llmguard raises on purpose."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    retry: ClassVar[bool] = False
    """Whether a client may send the same request again (``x-should-retry``)."""
    retry_after: ClassVar[int | None] = None
    """Seconds, for ``Retry-After``."""

    def __init__(self, message: str, *, approval_id: str | None = None, approval_url: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.approval_id = approval_id
        self.approval_url = approval_url

    def body(self) -> dict[str, Any]:
        """The OpenAI-shaped error object that a caller receives."""
        error: dict[str, Any] = {"message": self.message, "type": "llmguard", "code": self.code, "param": None}
        if self.approval_id:
            error["approval_id"] = self.approval_id
        if self.approval_url:
            error["approval_url"] = self.approval_url
        return {"error": error}

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Response headers that steer the SDK's own retries."""
        pairs = [("x-should-retry", "true" if self.retry else "false"), (ERROR_HEADER, self.code)]
        if self.retry_after is not None:
            pairs.append(("retry-after", str(self.retry_after)))
        if self.approval_id:
            pairs.append(("x-llmguard-approval", self.approval_id))
        return tuple(pairs)


class ConfigError(LLMGuardError):
    """Settings, catalogue or policy cannot be used; the message names the place."""

    code = "config_error"


class AuditError(LLMGuardError):
    """A log, proof or checkpoint does not hold; the message names the first entry that fails."""

    code = "audit_error"


class DatasetError(LLMGuardError):
    """A data set was not cleaned to its end; nothing was published. The message names records by their numbers."""

    code = "dataset_error"


class UpstreamError(LLMGuardError):
    """The provider could not be reached, broke its protocol or hung up."""

    status = 502
    code = "upstream_error"
    retry = True

    def __init__(self, message: str, *, sent: bool = True) -> None:
        """``sent`` is false only where it is certain that no byte of the request left."""
        super().__init__(message)
        self.sent = sent


class OutputBlocked(LLMGuardError):
    """The model wrote something that the detectors found, and ``output_action`` is ``end``: the answer ends here."""

    status = 403
    code = "output_blocked"


class ActionChanged(UpstreamError):
    """An approved action is not what was approved any more: arguments or evidence differ. It was not carried out."""

    status = 409
    code = "action_changed"
    retry = False

    def __init__(self, message: str) -> None:
        super().__init__(message, sent=False)


class RequestRefused(LLMGuardError):
    """The control plane did not do what a person asked."""

    status = 400
    code = "invalid_request"


class InvalidRequest(RequestRefused):
    """The request cannot be understood, or names something that cannot be."""


class NotAllowed(RequestRefused):
    """This person may not do that."""

    status = 403
    code = "not_allowed"


class LoginTooOld(NotAllowed):
    """What this decides needs a login of a moment ago."""

    code = "login_too_old"


class NotFound(RequestRefused):
    """There is no such thing for this person or tenant."""

    status = 404
    code = "not_found"


class Conflict(RequestRefused):
    """Something else happened first; look again."""

    status = 409
    code = "conflict"


class IdempotencyMismatch(RequestRefused):
    """The key of this request belongs to another one."""

    status = 422
    code = "idempotency_mismatch"


class TooManyAttempts(RequestRefused):
    """Too many failed logins from one address, or too many requests of one person that wait."""

    status = 429
    code = "too_many_attempts"
    retry_after = 60


class CallRefused(LLMGuardError):
    """The call was not sent."""

    status = 403
    code = "refused"


class UnscannableRequest(CallRefused):
    """The body cannot be understood exactly, so it cannot be looked through."""

    status = 400
    code = "unscannable_request"


class Unauthenticated(CallRefused):
    """No valid credential came with the request."""

    status = 401
    code = "invalid_api_key"


class RequestTooLarge(CallRefused):
    """The body is above the configured limit."""

    status = 413
    code = "request_too_large"


class GuardUnavailable(CallRefused):
    """A part of the guard failed. Nothing leaves while it does."""

    status = 503
    code = "guard_unavailable"
    retry = True
    retry_after: ClassVar[int | None] = 1


class CallBlocked(CallRefused):
    """The policy forbids the call."""

    code = "blocked"


class OutOfScope(CallBlocked):
    """The credential is not for this operation."""

    code = "out_of_scope"


class JustificationRequired(CallBlocked):
    """A rule wants to know why: the caller says so in ``x-llmguard-justification``, and sends the request again."""

    code = "justification_required"


class ApprovalDenied(CallRefused):
    """A reviewer said no."""

    code = "approval_denied"


class ChangesRequested(ApprovalDenied):
    """A reviewer asks for another revision. Only an action's own process reads more than that.

    ``reason`` in the reviewer's words; ``proposal``: the arguments by name that the reviewer proposes instead, if any.
    Neither stands in the message or in what a caller over HTTP receives.
    """

    code = "changes_requested"
    reason: str = ""
    proposal: Mapping[str, Any] | None = None


class ApprovalExpired(CallRefused):
    """Nobody decided, or nobody spent the decision, in time."""

    code = "approval_expired"


class ApprovalImpossible(CallRefused):
    """No eligible reviewer can satisfy the rule."""

    code = "approval_impossible"


class ApprovalPending(CallRefused):
    """The call waited for people as long as it may be silent. Sent again, it joins the same approval."""

    status = 409
    code = "approval_pending"
    retry = True
    retry_after: ClassVar[int | None] = 5


class ApprovalTicket(ApprovalPending):
    """The call does not wait: the caller keeps the approval's id and sends it again after the decision."""

    retry = False
    retry_after = None


class ApprovalExecuting(CallRefused):
    """Another request is spending this approval at this moment."""

    status = 409
    code = "approval_executing"
    retry = True
    retry_after = 1


class ApprovalIndeterminate(CallRefused):
    """Bytes may have left, the answer never came; it is never repeated by itself."""

    status = 409
    code = "approval_indeterminate"


class AlreadyExecuted(CallRefused):
    """The approval was spent: an approval sends once."""

    status = 409
    code = "already_executed"
