"""The states of an approval and the only ways between them.

::

    PENDING → APPROVED | DENIED | CHANGES_REQUESTED | EXPIRED | CANCELLED | SUPERSEDED (records decided)
    CHANGES_REQUESTED → SUPERSEDED | EXPIRED | CANCELLED
    APPROVED → EXECUTING | EXPIRED | REVOKED | CANCELLED | PENDING (quorum lost)
    EXECUTING → EXECUTED | FAILED (provably not sent) | INDETERMINATE (bytes may have left) | APPROVED (429, unspent)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from llmguard.model import State

STATES: tuple[State, ...] = get_args(State)

TRANSITIONS: Mapping[State, frozenset[State]] = {
    "PENDING": frozenset({"APPROVED", "DENIED", "CHANGES_REQUESTED", "EXPIRED", "CANCELLED", "SUPERSEDED"}),
    "CHANGES_REQUESTED": frozenset({"SUPERSEDED", "EXPIRED", "CANCELLED"}),
    "APPROVED": frozenset({"EXECUTING", "EXPIRED", "REVOKED", "CANCELLED", "PENDING"}),
    "EXECUTING": frozenset({"EXECUTED", "FAILED", "INDETERMINATE", "APPROVED"}),
}
"""From a state to those that may follow. A state that is missing here is final."""

WAITING: frozenset[State] = frozenset({"PENDING", "APPROVED", "CHANGES_REQUESTED"})
"""States that time ends."""

UNDECIDED: frozenset[State] = frozenset({"PENDING", "EXECUTING"})
"""States that a call waits for the end of: people decide, or the same request is on its way."""

JOINED: frozenset[State] = WAITING | {"EXECUTING"}
"""States that a retry of the same request joins."""

TOLD: frozenset[State] = frozenset({"DENIED", "EXPIRED", "EXECUTED", "INDETERMINATE"})
"""Final states that a retry still learns of, for ``TOLD_MS``; after that it asks anew. EXECUTED first replays."""
TOLD_MS = 10 * 60 * 1000

MAX_RETURNS = 5
"""How often an approval comes back unspent because the provider was too busy."""


def legal(origin: State, target: State) -> bool:
    return target in TRANSITIONS.get(origin, frozenset())
