"""The policy in force: stored, attested, and changed by approval only. A changed file is pending until then.

Until two people are active, or where none is stored yet, the policy of the configuration takes effect by itself, and
the log says so. It owns the table policies. It never decides anything.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache

from llmguard import identity
from llmguard.errors import ConfigError, GuardUnavailable, InvalidRequest, NotFound
from llmguard.identity import Cause
from llmguard.identity.rows import fields, genuine, log
from llmguard.policy import Policy
from llmguard.store import Transaction
from llmguard.vault import Vault

_COLUMNS = ("tenant", "version", "source", "created")
MAX_SOURCE = 256 * 1024


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """Puts a policy in force. ``source``: its document as JSON."""

    source: str


def adopt(tx: Transaction, vault: Vault, tenant: str, file: Policy) -> str:
    """The source of the policy in force. The file's takes effect where none is stored, or while one sets up alone.

    Raises GuardUnavailable if the stored one was altered in the database.
    """
    stored = in_force(tx, vault, tenant)
    if stored == file.source:
        return stored
    if stored is not None and not identity.bootstrapping(tx, vault, tenant):
        return stored
    _put(tx, vault, tenant, file, Cause("guard", bootstrap=True))
    return file.source


def in_force(tx: Transaction, vault: Vault, tenant: str) -> str | None:
    """The stored document as JSON, or None. Raises GuardUnavailable if they were altered in the database."""
    row = tx.one("SELECT * FROM policies WHERE tenant = ?", tenant)
    if row is None:
        return None
    if not genuine(vault, "policy", row, _COLUMNS):
        raise GuardUnavailable("the policy was altered in the database: restore a backup; nothing is sent until then")
    return str(row["source"])


def version(tx: Transaction, vault: Vault, tenant: str, version: str) -> Policy:
    """A policy that is or was in force. Raises NotFound, and GuardUnavailable if it was altered in the database."""
    row = tx.one("SELECT * FROM policy_versions WHERE tenant = ? AND version = ?", tenant, version)
    if row is None:
        raise NotFound("no policy of this version was in force here")
    if not genuine(vault, "former policy", row, _COLUMNS):
        raise GuardUnavailable("a former policy was altered in the database: restore a backup")
    return parsed(str(row["source"]))


def words(tx: Transaction, vault: Vault, tenant: str, version: str, rule: str) -> dict[str, str] | None:
    """What a rule of a policy says: its ``reason``, and ``when`` it holds; None where no document tells it.

    Raises GuardUnavailable if it was altered in the database.
    """
    row = tx.one("SELECT * FROM policy_versions WHERE tenant = ? AND version = ?", tenant, version)
    if row is None:
        return None
    if not genuine(vault, "former policy", row, _COLUMNS):
        raise GuardUnavailable("a former policy was altered in the database: restore a backup")
    for at, raw in enumerate(json.loads(row["source"]).get("rules", ())):
        if (raw.get("name") or f"rule {at + 1}") == rule:
            return {"reason": str(raw.get("reason", "")), "when": str(raw.get("when", ""))}
    return None


def current(tx: Transaction, tenant: str) -> str:
    """The version in force, to be compared with the one that decided; "" if none is stored."""
    row = tx.one("SELECT version FROM policies WHERE tenant = ?", tenant)
    return "" if row is None else str(row["version"])


@lru_cache(maxsize=8)
def parsed(source: str) -> Policy:
    """The compiled rules of a source, which are compiled once. Raises InvalidRequest."""
    if len(source) > MAX_SOURCE:
        raise InvalidRequest(f"a policy has at most {MAX_SOURCE} characters")
    try:
        return Policy.of(json.loads(source))
    except (ValueError, RecursionError) as e:
        raise InvalidRequest(f"this is no policy: not JSON ({type(e).__name__})") from None
    except ConfigError as e:
        raise InvalidRequest(e.message) from None


def apply(tx: Transaction, vault: Vault, tenant: str, change: PolicyChange, cause: Cause) -> None:
    """Raises InvalidRequest before it writes."""
    _put(tx, vault, tenant, parsed(change.source), cause)


def _put(tx: Transaction, vault: Vault, tenant: str, policy: Policy, cause: Cause) -> None:
    before = current(tx, tenant)
    values = [tenant, policy.version, policy.source, tx.now]
    attestation = vault.attest("policy", fields(values))
    tx.run("INSERT OR REPLACE INTO policies VALUES (?, ?, ?, ?, ?)", *values, attestation)
    former = vault.attest("former policy", fields(values))  # it never counts as the one in force
    tx.run("INSERT OR IGNORE INTO policy_versions VALUES (?, ?, ?, ?, ?)", *values, former)
    details = {"policy": policy.version, "before": before, "rules": [r.name for r in policy.rules], "mode": policy.mode}
    log(tx, tenant, "policy.changed", details, cause)
