"""Lists of approvals, newest first, at the cost of what is shown: whoever may see one finds it filed under a name.

The filing is only an index: it decides nothing, and every row is verified before it is shown.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from llmguard.approvals import record
from llmguard.model import Approval
from llmguard.store import Transaction
from llmguard.vault import Vault

_AFTER_ANY_ID = "~"
MOST_COUNTED = 1000
"""Approvals that are counted; above it there are more than that."""
MOST_WORDS = 8
"""Words of a search that are looked for."""
_KEY_NAME = (
    "coalesce((SELECT name FROM api_keys k WHERE k.tenant = approvals.tenant AND k.id = substr(principal, 5)), '')"
)
_ASKS = f"lower(coalesce(human, '') || ' ' || principal || ' ' || {_KEY_NAME})"
_SAYS = f"lower(id || ' ' || egress_digest || ' ' || operation || ' ' || destination || ' ' || rule || ' ') || {_ASKS}"
_RISK = "max(json_extract(risk, '$.inherent'), json_extract(risk, '$.residual'))"
_TYPE = "EXISTS (SELECT 1 FROM json_each(findings) WHERE instr(lower(key), ?))"
_OPEN = "state IN ('PENDING', 'APPROVED', 'CHANGES_REQUESTED') AND expires > ?"
_CLOSED = "NOT (state IN ('PENDING', 'CHANGES_REQUESTED') AND expires > ?)"
_WAITING = """state = 'PENDING' AND expires > ? AND (human IS NULL OR human <> ?)
AND NOT EXISTS (SELECT 1 FROM json_each(excluded) WHERE value = ?)
AND NOT EXISTS (SELECT 1 FROM votes WHERE votes.tenant = approvals.tenant AND approval = id AND votes.human = ?)
AND (EXISTS (SELECT 1 FROM json_each(requirement, '$.groups') g
    WHERE json_extract(g.value, '$[0]') IN (SELECT value FROM json_each(?)))
  OR (escalated IS NOT NULL AND json_extract(requirement, '$.escalate_to') IN (SELECT value FROM json_each(?))))"""


@dataclass(frozen=True, slots=True)
class Filter:
    """What a list shows: one state or subject, ids before the ``cursor`` and with the ``prefix``, at most ``limit``.

    ``operation``, ``requester`` and ``type``: a part of the word, in any case. ``risk``: at least, as written or as it
    leaves. ``text``: words that all occur somewhere. ``open``: what still can change by people, at a time in UTC ms;
    ``closed``: what nobody votes on any more by then.
    """

    state: str | None = None
    subject: str | None = None
    cursor: str | None = None
    prefix: str = ""
    limit: int = 50
    operation: str = ""
    requester: str = ""
    type: str = ""
    risk: int = 0
    text: str = ""
    open: int | None = None
    closed: int | None = None

    def where(self) -> tuple[str, list[Any]]:
        """The condition on what is filed of one tenant, with its parameters but the tenant's."""
        terms: list[tuple[str, Any]] = [("id < ?", self.cursor or _AFTER_ANY_ID)]
        if self.prefix:
            terms += [("id >= ?", self.prefix.upper()), ("id < ?", self.prefix.upper() + _AFTER_ANY_ID)]
        terms += [(f"{name} = ?", value) for name, value in (("state", self.state), ("subject", self.subject)) if value]
        return " AND ".join(["tenant = ?", *(term for term, _ in terms)]), [value for _, value in terms]

    def further(self) -> tuple[list[str], list[Any]]:
        """Conditions that only the rows themselves can answer."""
        terms: list[tuple[str, Any]] = []
        terms += [("instr(lower(operation), ?)", self.operation.lower())] if self.operation else []
        terms += [(f"instr({_ASKS}, ?)", self.requester.lower())] if self.requester else []
        terms += [(_TYPE, self.type.lower())] if self.type else []
        terms += [(f"{_RISK} >= ?", self.risk)] if self.risk else []
        terms += [(f"instr({_SAYS}, ?)", word) for word in self.text.lower().split()[:MOST_WORDS]]
        terms += [(_OPEN, self.open)] if self.open is not None else []
        terms += [(_CLOSED, self.closed)] if self.closed is not None else []
        return [term for term, _ in terms], [value for _, value in terms]


def page(
    tx: Transaction, vault: Vault, tenant: str, names: Sequence[str] | None, wanted: Filter
) -> tuple[tuple[Approval, ...], str | None]:
    """One page of what is filed under ``names`` (None: of everything), and the next one's cursor. No altered rows."""
    where, params = wanted.where()
    terms, more = wanted.further()
    values: list[Any] = [tenant, *params]
    if names is not None and terms:
        places = ", ".join("?" * len(names))
        own = "f.tenant = approvals.tenant AND f.id = approvals.id"
        terms = [*terms, f"EXISTS (SELECT 1 FROM approval_audience f WHERE {own} AND f.name IN ({places}))"]  # noqa: S608
        more = [*more, *names]
    elif names is not None:
        filed = f"SELECT id FROM approval_audience WHERE {where} AND name = ? ORDER BY id DESC LIMIT ?"  # noqa: S608
        union = " UNION ".join([f"SELECT * FROM ({filed})"] * len(names))  # noqa: S608  our own words only
        where, values = f"tenant = ? AND id IN ({union})", [tenant, *(_each(names, values, wanted.limit + 1))]
    return _rows(tx, vault, tenant, " AND ".join([where, *terms]), [*values, *more], wanted.limit)


def waiting(
    tx: Transaction, vault: Vault, tenant: str, email: str, groups: Collection[str], wanted: Filter
) -> tuple[tuple[Approval, ...], str | None]:
    """One page of what people of these groups can decide, without what this one is behind or has voted on."""
    where, params = wanted.where()
    terms, more = wanted.further()
    own = _own(tx, email, groups)
    return _rows(
        tx, vault, tenant, " AND ".join([where, *terms, _WAITING]), [tenant, *params, *more, *own], wanted.limit
    )


def count_waiting(tx: Transaction, tenant: str, email: str, groups: Collection[str]) -> int:
    """How many those are, up to ``MOST_COUNTED``. Rows are not verified for it: it decides nothing."""
    sql = f"SELECT count(*) AS n FROM (SELECT 1 FROM approvals WHERE tenant = ? AND {_WAITING} LIMIT ?)"  # noqa: S608
    row = tx.one(sql, tenant, *_own(tx, email, groups), MOST_COUNTED)
    return int(row["n"]) if row else 0


def _own(tx: Transaction, email: str, groups: Collection[str]) -> list[Any]:
    named = json.dumps(sorted(groups))
    return [tx.now, email, email, email, named, named]


def _rows(
    tx: Transaction, vault: Vault, tenant: str, where: str, values: Sequence[Any], limit: int
) -> tuple[tuple[Approval, ...], str | None]:
    sql = f"SELECT * FROM approvals WHERE {where} ORDER BY id DESC LIMIT ?"  # noqa: S608  our own words only
    rows = tx.all(sql, *values, limit + 1)
    following = rows[limit - 1]["id"] if len(rows) > limit else None
    return record.from_rows(tx, vault, tenant, rows[:limit]), following


def _each(names: Sequence[str], values: Sequence[Any], limit: int) -> list[Any]:
    return [value for name in names for value in (*values, name, limit)]
