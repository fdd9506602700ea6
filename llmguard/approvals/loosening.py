"""Loosening: what a proposed policy would let through that the one in force would not, for its reviewers.

Asked while the change waits, so that they read it against what is in force then, whichever way the policy came.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from llmguard.approvals import changes, rules
from llmguard.approvals.rules import PolicyChange
from llmguard.approvals.states import WAITING
from llmguard.facts import Facts
from llmguard.model import Approval, Egress, in_memory
from llmguard.policy import Policy
from llmguard.policy.loosening import compared
from llmguard.store import Transaction, calls
from llmguard.vault import Vault

SAMPLES = 1000
KEPT = 1000
"""The newest kept calls that are decided by both policies."""


def loosened(tx: Transaction, vault: Vault, approval: Approval, egress: Egress) -> list[str] | None:
    """Lines for whoever decides on a change of the policy; None where it is about something else, or is decided."""
    if approval.operation != "policy.change" or approval.subject != "change" or approval.state not in WAITING:
        return None
    change = changes.decode(in_memory(egress.body))
    stored = rules.in_force(tx, vault, approval.tenant)
    if not isinstance(change, PolicyChange) or stored is None:
        return None
    found = compared(_compiled(stored), _compiled(change.source), _newest(tx, approval.tenant), SAMPLES)
    return found.told()


def _newest(tx: Transaction, tenant: str) -> Iterator[Facts]:
    after, left = calls.newest(tx, tenant, KEPT), KEPT
    while left > 0 and (page := calls.page(tx, tenant, after)):
        yield from (kept.facts for kept in page[:left])
        after, left = page[-1].id, left - len(page)


@lru_cache(maxsize=8)
def _compiled(source: str) -> Policy:
    """Raises InvalidRequest."""
    return rules.parsed(source)
