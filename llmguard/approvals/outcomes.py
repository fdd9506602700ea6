"""Outcomes: what a caller is told of an approval that cannot be claimed, and what to do next."""

from __future__ import annotations

from llmguard.errors import (
    AlreadyExecuted,
    ApprovalDenied,
    ApprovalExecuting,
    ApprovalExpired,
    ApprovalIndeterminate,
    ApprovalPending,
    ApprovalTicket,
    CallRefused,
    ChangesRequested,
    GuardUnavailable,
)
from llmguard.model import State

_AGAIN = "send the request again to ask anew"
OUTCOMES: dict[State, tuple[type[CallRefused], str]] = {
    "PENDING": (
        ApprovalPending,
        "this call still waits for its reviewers: the same request, sent again, goes on waiting",
    ),
    "DENIED": (ApprovalDenied, "a reviewer or the policy refused this call: change it, or talk to your reviewers"),
    "CHANGES_REQUESTED": (ChangesRequested, "a reviewer asks for changes: read why, and send the changed request"),
    "SUPERSEDED": (ApprovalDenied, "a newer revision of this request took its place: send that one"),
    "EXPIRED": (ApprovalExpired, f"nobody decided, or nobody spent the decision, in time: {_AGAIN} in ten minutes"),
    "CANCELLED": (ApprovalDenied, f"this request was cancelled: {_AGAIN}"),
    "REVOKED": (ApprovalDenied, f"a reviewer took the approval back: {_AGAIN}"),
    "EXECUTING": (ApprovalExecuting, "the same request is on its way at this moment: wait for its answer"),
    "EXECUTED": (AlreadyExecuted, "this approval is spent, it sent once, and its answer is not kept: ask anew later"),
    "FAILED": (GuardUnavailable, f"the approved call failed before anything was sent: {_AGAIN}"),
    "INDETERMINATE": (
        ApprovalIndeterminate,
        "bytes may have left, the answer never came: find out at the provider before you ask anew",
    ),
}
"""By state; APPROVED is missing, since that one may be claimed."""

TICKET: tuple[type[CallRefused], str] = (
    ApprovalTicket,
    "this call waits for its reviewers: send the same request again once they have decided",
)
"""For PENDING, where the caller does not wait on the line."""
