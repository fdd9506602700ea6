"""The tables, as migrations that run in order and once. Every key starts with the tenant.

JSON columns hold canonical JSON; ``sealed`` columns hold ciphertexts of the vault; times are UTC milliseconds.
"""

from __future__ import annotations

VERSION = 1
"""``PRAGMA user_version`` of a database that all migrations have run on."""

TABLES = """
CREATE TABLE clock (one INTEGER PRIMARY KEY CHECK (one = 1), last INTEGER NOT NULL);
INSERT INTO clock VALUES (1, 0);

CREATE TABLE placeholders (
  tenant TEXT NOT NULL, placeholder TEXT NOT NULL, type TEXT NOT NULL, category TEXT NOT NULL,
  digest BLOB NOT NULL, sealed BLOB NOT NULL, created INTEGER NOT NULL,
  PRIMARY KEY (tenant, placeholder)
) WITHOUT ROWID;

CREATE TABLE grants (
  tenant TEXT NOT NULL, scope TEXT NOT NULL, placeholder TEXT NOT NULL, principal TEXT NOT NULL,
  origin TEXT NOT NULL, created INTEGER NOT NULL,
  PRIMARY KEY (tenant, scope, placeholder, principal)
) WITHOUT ROWID;

CREATE TABLE audit_entries (
  idx INTEGER PRIMARY KEY, tenant TEXT NOT NULL, id TEXT NOT NULL UNIQUE, time INTEGER NOT NULL,
  kind TEXT NOT NULL, leaf BLOB NOT NULL, hash BLOB NOT NULL
);
CREATE TABLE audit_nodes (
  level INTEGER NOT NULL, idx INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (level, idx)
) WITHOUT ROWID;
CREATE TABLE checkpoints (
  size INTEGER PRIMARY KEY, root BLOB NOT NULL, note TEXT NOT NULL, created INTEGER NOT NULL, published INTEGER
);

CREATE TABLE people (
  tenant TEXT NOT NULL, email TEXT NOT NULL, groups TEXT NOT NULL, active INTEGER NOT NULL,
  created INTEGER NOT NULL, attestation TEXT NOT NULL,
  PRIMARY KEY (tenant, email)
) WITHOUT ROWID;
CREATE TABLE login_codes (
  hash TEXT PRIMARY KEY, tenant TEXT NOT NULL, email TEXT NOT NULL, expires INTEGER NOT NULL, used INTEGER
) WITHOUT ROWID;
CREATE TABLE sessions (
  hash TEXT PRIMARY KEY, tenant TEXT NOT NULL, email TEXT NOT NULL, created INTEGER NOT NULL,
  expires INTEGER NOT NULL, revoked INTEGER
) WITHOUT ROWID;
CREATE TABLE api_keys (
  tenant TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, hash TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
  human TEXT, created INTEGER NOT NULL, revoked INTEGER, attestation TEXT NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;

CREATE TABLE approvals (
  tenant TEXT NOT NULL, id TEXT NOT NULL, state TEXT NOT NULL, version INTEGER NOT NULL,
  subject TEXT NOT NULL, operation TEXT NOT NULL, destination TEXT NOT NULL,
  principal TEXT NOT NULL, human TEXT, request_key TEXT NOT NULL, egress_digest TEXT NOT NULL,
  policy_version TEXT NOT NULL, rule TEXT NOT NULL, requirement TEXT NOT NULL, risk TEXT NOT NULL,
  findings TEXT NOT NULL, advisory INTEGER NOT NULL, owner TEXT,
  created INTEGER NOT NULL, expires INTEGER NOT NULL, updated INTEGER NOT NULL, returned INTEGER NOT NULL,
  attestation TEXT NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX approvals_by_key ON approvals (tenant, principal, request_key, created);
CREATE INDEX approvals_by_state ON approvals (state, tenant, created);
CREATE TABLE approval_payloads (
  tenant TEXT NOT NULL, id TEXT NOT NULL, egress BLOB, original BLOB, salt BLOB,
  PRIMARY KEY (tenant, id)
);
CREATE TABLE approval_answers (
  tenant TEXT NOT NULL, id TEXT NOT NULL, until INTEGER NOT NULL, sealed BLOB NOT NULL,
  PRIMARY KEY (tenant, id)
);
CREATE INDEX approval_answers_by_end ON approval_answers (until);
CREATE TABLE votes (
  tenant TEXT NOT NULL, approval TEXT NOT NULL, human TEXT NOT NULL, verdict TEXT NOT NULL, reason TEXT NOT NULL,
  digest TEXT NOT NULL, time INTEGER NOT NULL, attestation TEXT NOT NULL,
  PRIMARY KEY (tenant, approval, human)
) WITHOUT ROWID;

CREATE TABLE outbox (
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, kind TEXT NOT NULL, approval TEXT, body TEXT NOT NULL,
  created INTEGER NOT NULL, sent INTEGER
) WITHOUT ROWID;
"""
