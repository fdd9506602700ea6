"""Lists of approvals, newest first, at the cost of what is shown: whoever may see one finds it filed under a name.

The filing is only an index: it decides nothing, and every row is verified before it is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmguard.approvals import record
from llmguard.model import Approval
from llmguard.store import Transaction
from llmguard.vault import Vault

_AFTER_ANY_ID = "~"


@dataclass(frozen=True, slots=True)
class Filter:
    """What a list shows: one state or subject, ids before the ``cursor`` and with the ``prefix``, at most ``limit``."""

    state: str | None = None
    subject: str | None = None
    cursor: str | None = None
    prefix: str = ""
    limit: int = 50

    def where(self) -> tuple[str, list[Any]]:
        """The condition on one tenant's rows, with its parameters but the tenant's."""
        terms: list[tuple[str, Any]] = [("id < ?", self.cursor or _AFTER_ANY_ID)]
        if self.prefix:
            terms += [("id >= ?", self.prefix.upper()), ("id < ?", self.prefix.upper() + _AFTER_ANY_ID)]
        terms += [(f"{name} = ?", value) for name, value in (("state", self.state), ("subject", self.subject)) if value]
        return " AND ".join(["tenant = ?", *(term for term, _ in terms)]), [value for _, value in terms]


def page(
    tx: Transaction, vault: Vault, tenant: str, names: Sequence[str] | None, wanted: Filter
) -> tuple[tuple[Approval, ...], str | None]:
    """One page of what is filed under ``names`` (None: of everything), and the next one's cursor. No altered rows."""
    where, params = wanted.where()
    values: list[Any] = [tenant, *params]
    if names is not None:
        filed = f"SELECT id FROM approval_audience WHERE {where} AND name = ? ORDER BY id DESC LIMIT ?"  # noqa: S608
        union = " UNION ".join([f"SELECT * FROM ({filed})"] * len(names))  # noqa: S608  our own words only
        where, values = f"tenant = ? AND id IN ({union})", [tenant, *(_each(names, values, wanted.limit + 1))]
    sql = f"SELECT * FROM approvals WHERE {where} ORDER BY id DESC LIMIT ?"  # noqa: S608  our own words only
    rows = tx.all(sql, *values, wanted.limit + 1)
    return record.from_rows(tx, vault, tenant, rows[: wanted.limit]), rows[wanted.limit - 1]["id"] if len(
        rows
    ) > wanted.limit else None


def _each(names: Sequence[str], values: Sequence[Any], limit: int) -> list[Any]:
    return [value for name in names for value in (*values, name, limit)]
