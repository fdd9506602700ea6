"""The error tree. Each message says what the operator or the caller does next; none holds original text.

::

    LLMGuardError
    ├── ConfigError                 settings, catalogue or policy cannot be used
    ├── AuditError                  a log, proof or checkpoint does not hold
    ├── UpstreamError               502 upstream_error: the provider failed; what was sent had been decided
    ├── RequestRefused              the control plane did not do what a person asked
    │   ├── InvalidRequest          400 invalid_request
    │   ├── NotAllowed              403 not_allowed
    │   ├── NotFound                404 not_found
    │   ├── Conflict                409 conflict: something else happened first
    │   └── TooManyAttempts         429 too_many_attempts
    └── CallRefused                 nothing was sent
        ├── UnscannableRequest      400 unscannable_request
        ├── Unauthenticated         401 invalid_api_key
        ├── RequestTooLarge         413 request_too_large
        ├── GuardUnavailable        503 guard_unavailable: a part of the guard is down
        ├── CallBlocked             403 blocked
        ├── ApprovalDenied          403 approval_denied
        ├── ApprovalExpired         403 approval_expired
        ├── ApprovalImpossible      403 approval_impossible: no eligible reviewer
        ├── ApprovalPending         409 approval_pending: people have not decided; the same request joins
        │   └── ApprovalTicket      the same, at once: come back when they have
        ├── ApprovalExecuting       409 approval_executing: the same bytes are on their way
        ├── ApprovalIndeterminate   409 approval_indeterminate: bytes may have left
        └── AlreadyExecuted         409 already_executed: the approval is spent
"""

from __future__ import annotations

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


class UpstreamError(LLMGuardError):
    """The provider could not be reached, broke its protocol or hung up."""

    status = 502
    code = "upstream_error"
    retry = True

    def __init__(self, message: str, *, sent: bool = True) -> None:
        """``sent`` is false only where it is certain that no byte of the request left."""
        super().__init__(message)
        self.sent = sent


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


class NotFound(RequestRefused):
    """There is no such thing for this person or tenant."""

    status = 404
    code = "not_found"


class Conflict(RequestRefused):
    """Something else happened first; look again."""

    status = 409
    code = "conflict"


class TooManyAttempts(RequestRefused):
    """Too many failed logins from one address."""

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


class ApprovalDenied(CallRefused):
    """A reviewer said no."""

    code = "approval_denied"


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
