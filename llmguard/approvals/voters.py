"""Voters: whose votes still matter, because what they decided, lent or gave in advance is not over."""

from __future__ import annotations

from llmguard.store import Transaction

_OPEN = """
SELECT v.tenant, v.human FROM approvals a JOIN votes v ON v.tenant = a.tenant AND v.approval = a.id
WHERE a.state IN ('PENDING', 'APPROVED')
UNION
SELECT v.tenant, v.human FROM standing_grants g JOIN votes v ON v.tenant = g.tenant AND v.approval = g.approval
WHERE g.ends > ? AND g.revoked IS NULL
UNION
SELECT tenant, giver FROM delegations WHERE ends > ? AND revoked IS NULL
"""


def voters(tx: Transaction) -> set[tuple[str, str]]:
    """Tenant and address of everybody who voted on what waits for people or for being spent, who voted for a standing
    grant that is in force, or who has lent a vote."""
    return {(r["tenant"], r["human"]) for r in tx.all(_OPEN, tx.now, tx.now)}
