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

CREATE TABLE grants ( -- the tag is the placeholder's: answers are looked through by tags
  tenant TEXT NOT NULL, scope TEXT NOT NULL, tag TEXT NOT NULL, placeholder TEXT NOT NULL, principal TEXT NOT NULL,
  origin TEXT NOT NULL, created INTEGER NOT NULL,
  PRIMARY KEY (tenant, scope, tag, placeholder, principal)
) WITHOUT ROWID;
CREATE TABLE grant_links ( -- what is granted under "of" is granted under "scope" too
  tenant TEXT NOT NULL, principal TEXT NOT NULL, scope TEXT NOT NULL, of TEXT NOT NULL, created INTEGER NOT NULL,
  PRIMARY KEY (tenant, principal, scope, of)
) WITHOUT ROWID;

CREATE TABLE audit_entries (
  idx INTEGER PRIMARY KEY, tenant TEXT NOT NULL, id TEXT NOT NULL UNIQUE, time INTEGER NOT NULL,
  kind TEXT NOT NULL, leaf BLOB NOT NULL, hash BLOB NOT NULL
);
CREATE TABLE audit_subjects (approval TEXT NOT NULL, idx INTEGER NOT NULL, PRIMARY KEY (approval, idx)) WITHOUT ROWID;
CREATE TABLE audit_nodes (
  level INTEGER NOT NULL, idx INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (level, idx)
) WITHOUT ROWID;
CREATE TABLE checkpoints (
  size INTEGER PRIMARY KEY, root BLOB NOT NULL, note TEXT NOT NULL, created INTEGER NOT NULL, published INTEGER
);

CREATE TABLE people (
  tenant TEXT NOT NULL, email TEXT NOT NULL, groups TEXT NOT NULL, active INTEGER NOT NULL, created INTEGER NOT NULL,
  source TEXT NOT NULL, issuer TEXT, subject TEXT, until INTEGER, attestation TEXT NOT NULL,
  PRIMARY KEY (tenant, email)
) WITHOUT ROWID;
CREATE UNIQUE INDEX people_by_subject ON people (tenant, issuer, subject) WHERE subject IS NOT NULL;
CREATE TABLE refresh_tokens (
  tenant TEXT NOT NULL, email TEXT NOT NULL, provider TEXT NOT NULL, sealed BLOB NOT NULL, due INTEGER NOT NULL,
  PRIMARY KEY (tenant, email)
) WITHOUT ROWID;
CREATE TABLE login_codes (
  hash TEXT PRIMARY KEY, tenant TEXT NOT NULL, email TEXT NOT NULL, expires INTEGER NOT NULL,
  method TEXT NOT NULL, auth_time INTEGER NOT NULL, amr TEXT NOT NULL, issuer TEXT, subject TEXT,
  challenge TEXT NOT NULL, attestation TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE sessions (
  hash TEXT PRIMARY KEY, tenant TEXT NOT NULL, email TEXT NOT NULL,
  method TEXT NOT NULL, auth_time INTEGER NOT NULL, amr TEXT NOT NULL, issuer TEXT, subject TEXT,
  created INTEGER NOT NULL, expires INTEGER NOT NULL, idle INTEGER NOT NULL, seen INTEGER NOT NULL,
  attestation TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE api_keys (
  tenant TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, hash TEXT NOT NULL, kind TEXT NOT NULL,
  human TEXT, scopes TEXT NOT NULL, expires INTEGER, linked INTEGER NOT NULL, created INTEGER NOT NULL,
  revoked INTEGER, attestation TEXT NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX api_keys_by_hash ON api_keys (hash);
CREATE UNIQUE INDEX api_keys_in_force ON api_keys (hash) WHERE revoked IS NULL;
CREATE TABLE passwords (
  tenant TEXT NOT NULL, email TEXT NOT NULL, phc TEXT NOT NULL, changed INTEGER NOT NULL, attestation TEXT NOT NULL,
  PRIMARY KEY (tenant, email)
) WITHOUT ROWID;

CREATE TABLE approvals (
  tenant TEXT NOT NULL, id TEXT NOT NULL, state TEXT NOT NULL, version INTEGER NOT NULL,
  subject TEXT NOT NULL, kind TEXT NOT NULL, operation TEXT NOT NULL, destination TEXT NOT NULL,
  principal TEXT NOT NULL, human TEXT, excluded TEXT NOT NULL, request_key TEXT NOT NULL, egress_digest TEXT NOT NULL,
  policy_version TEXT NOT NULL, rule TEXT NOT NULL, requirement TEXT NOT NULL, risk TEXT NOT NULL,
  findings TEXT NOT NULL, unscanned TEXT NOT NULL, advisory INTEGER NOT NULL, call TEXT NOT NULL,
  revises TEXT NOT NULL, revision INTEGER NOT NULL, standing TEXT NOT NULL, exceptions TEXT NOT NULL,
  escalated INTEGER, owner TEXT,
  created INTEGER NOT NULL, expires INTEGER NOT NULL, updated INTEGER NOT NULL, returned INTEGER NOT NULL,
  attestation TEXT NOT NULL,
  size INTEGER NOT NULL, reminded INTEGER NOT NULL, due INTEGER NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX approvals_by_key ON approvals (tenant, principal, request_key, created);
CREATE INDEX approvals_by_state ON approvals (tenant, state, id);
CREATE INDEX approvals_waiting ON approvals (tenant, principal, state, size)
  WHERE state IN ('PENDING', 'APPROVED', 'CHANGES_REQUESTED');
CREATE INDEX approvals_due ON approvals (due) WHERE state IN ('PENDING', 'APPROVED', 'CHANGES_REQUESTED');
CREATE INDEX approvals_running ON approvals (state) WHERE state = 'EXECUTING';
CREATE INDEX approvals_by_call ON approvals (tenant, call) WHERE call <> '';
CREATE INDEX approvals_revisions ON approvals (tenant, revises) WHERE revises <> '';
CREATE TABLE approval_audience (
  tenant TEXT NOT NULL, name TEXT NOT NULL, id TEXT NOT NULL, state TEXT NOT NULL, subject TEXT NOT NULL,
  PRIMARY KEY (tenant, name, id)
) WITHOUT ROWID;
CREATE INDEX approval_audience_by_state ON approval_audience (tenant, name, state, id);
CREATE TABLE approval_payloads (
  tenant TEXT NOT NULL, id TEXT NOT NULL, salt BLOB, proposal BLOB, justification BLOB,
  report BLOB, -- of training data: what is known of it, and what people said of its records
  egress BLOB, original BLOB, -- the large ones last
  PRIMARY KEY (tenant, id)
);
CREATE TABLE uploads (
  tenant TEXT NOT NULL, id TEXT NOT NULL, principal TEXT NOT NULL, state TEXT NOT NULL, sealed BLOB NOT NULL,
  created INTEGER NOT NULL, expires INTEGER NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX uploads_by_principal ON uploads (tenant, principal, state);
CREATE TABLE upload_parts (
  tenant TEXT NOT NULL, upload TEXT NOT NULL, id TEXT NOT NULL, size INTEGER NOT NULL, sealed BLOB NOT NULL,
  PRIMARY KEY (tenant, upload, id)
);
CREATE TABLE spools ( -- which kept files belong to which approval, or to which upload that is not whole yet
  tenant TEXT NOT NULL, id TEXT NOT NULL, approval TEXT NOT NULL,
  PRIMARY KEY (tenant, id, approval)
) WITHOUT ROWID;
CREATE TABLE produced ( -- what the provider made of what was sent: files, jobs, batches, and from which others
  tenant TEXT NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL, operation TEXT NOT NULL, principal TEXT NOT NULL,
  call TEXT NOT NULL, approval TEXT NOT NULL, digest TEXT NOT NULL, sources TEXT NOT NULL, report TEXT NOT NULL,
  created INTEGER NOT NULL, attestation TEXT NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE TABLE approval_answers (
  tenant TEXT NOT NULL, id TEXT NOT NULL, until INTEGER NOT NULL, sealed BLOB NOT NULL,
  PRIMARY KEY (tenant, id)
);
CREATE INDEX approval_answers_by_end ON approval_answers (until);
CREATE TABLE votes (
  tenant TEXT NOT NULL, approval TEXT NOT NULL, human TEXT NOT NULL, verdict TEXT NOT NULL, reason TEXT NOT NULL,
  digest TEXT NOT NULL, time INTEGER NOT NULL, authenticated INTEGER NOT NULL, attestation TEXT NOT NULL,
  PRIMARY KEY (tenant, approval, human)
) WITHOUT ROWID;
CREATE TABLE delegations (
  tenant TEXT NOT NULL, id TEXT NOT NULL, giver TEXT NOT NULL, receiver TEXT NOT NULL, groups TEXT NOT NULL,
  starts INTEGER NOT NULL, ends INTEGER NOT NULL, created INTEGER NOT NULL, revoked INTEGER, attestation TEXT NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX delegations_by_receiver ON delegations (tenant, receiver);
CREATE TABLE standing_grants (
  tenant TEXT NOT NULL, id TEXT NOT NULL, principal TEXT NOT NULL, operation TEXT NOT NULL, destination TEXT NOT NULL,
  types TEXT NOT NULL, inherent INTEGER NOT NULL, residual INTEGER NOT NULL, ends INTEGER NOT NULL,
  approval TEXT NOT NULL, created INTEGER NOT NULL, revoked INTEGER, attestation TEXT NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX standing_grants_by_principal ON standing_grants (tenant, principal, ends);
CREATE TABLE exceptions (
  tenant TEXT NOT NULL, id TEXT NOT NULL, tag TEXT NOT NULL, type TEXT NOT NULL, detector TEXT NOT NULL,
  principal TEXT NOT NULL, operation TEXT NOT NULL, destination TEXT NOT NULL, secret INTEGER NOT NULL,
  ends INTEGER NOT NULL, approval TEXT NOT NULL, by TEXT NOT NULL, reason TEXT NOT NULL, created INTEGER NOT NULL,
  removed INTEGER, attestation TEXT NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX exceptions_by_end ON exceptions (tenant, removed, ends); -- how many there are is asked at each decision
CREATE TABLE policies (
  tenant TEXT PRIMARY KEY, version TEXT NOT NULL, source TEXT NOT NULL, created INTEGER NOT NULL,
  attestation TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE policy_versions (
  tenant TEXT NOT NULL, version TEXT NOT NULL, source TEXT NOT NULL, created INTEGER NOT NULL,
  attestation TEXT NOT NULL,
  PRIMARY KEY (tenant, version)
) WITHOUT ROWID;
CREATE TABLE calls ( -- what was decided, in kinds and counts, until calls_kept is over
  tenant TEXT NOT NULL, id TEXT NOT NULL, principal TEXT NOT NULL, verdict TEXT NOT NULL, rule TEXT NOT NULL,
  policy TEXT NOT NULL, inherent INTEGER NOT NULL, residual INTEGER NOT NULL, shadow TEXT NOT NULL, facts BLOB NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE TABLE occurrences ( -- which values, by keyed digest, stood in which calls
  tenant TEXT NOT NULL, digest BLOB NOT NULL, call TEXT NOT NULL,
  PRIMARY KEY (tenant, digest, call)
) WITHOUT ROWID;
CREATE INDEX occurrences_by_call ON occurrences (tenant, call);
CREATE TABLE repeats (
  tenant TEXT NOT NULL, person TEXT NOT NULL, key TEXT NOT NULL, request TEXT NOT NULL, sealed BLOB NOT NULL,
  created INTEGER NOT NULL,
  PRIMARY KEY (tenant, person, key)
) WITHOUT ROWID;
CREATE INDEX repeats_by_time ON repeats (created);

CREATE TABLE outbox (
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, kind TEXT NOT NULL, approval TEXT, body TEXT NOT NULL,
  created INTEGER NOT NULL, sent INTEGER -- when it was handed to the channels that hear it
) WITHOUT ROWID;
CREATE INDEX outbox_new ON outbox (id) WHERE sent IS NULL;
CREATE INDEX outbox_old ON outbox (sent) WHERE sent IS NOT NULL;
CREATE TABLE deliveries (
  tenant TEXT NOT NULL, channel TEXT NOT NULL, topic TEXT NOT NULL, event TEXT NOT NULL, kind TEXT NOT NULL,
  approval TEXT NOT NULL, body TEXT NOT NULL, created INTEGER NOT NULL, due INTEGER NOT NULL, attempts INTEGER NOT NULL,
  PRIMARY KEY (tenant, channel, topic)
) WITHOUT ROWID;
CREATE INDEX deliveries_due ON deliveries (tenant, channel, due, event);
CREATE TABLE channels (
  tenant TEXT NOT NULL, name TEXT NOT NULL, owner TEXT NOT NULL, lease INTEGER NOT NULL, failures INTEGER NOT NULL,
  resumes INTEGER NOT NULL, problem TEXT NOT NULL, delivered INTEGER NOT NULL, lost INTEGER NOT NULL,
  lost_at INTEGER NOT NULL,
  PRIMARY KEY (tenant, name)
) WITHOUT ROWID;
CREATE TABLE cards (
  tenant TEXT NOT NULL, channel TEXT NOT NULL, approval TEXT NOT NULL, message TEXT NOT NULL, created INTEGER NOT NULL,
  PRIMARY KEY (tenant, channel, approval)
) WITHOUT ROWID;
CREATE TABLE callbacks (hash TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE links (
  tenant TEXT NOT NULL, id TEXT NOT NULL, email TEXT NOT NULL, team TEXT NOT NULL, account TEXT NOT NULL,
  created INTEGER NOT NULL, attestation TEXT NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX links_by_account ON links (tenant, team, account);
CREATE UNIQUE INDEX links_by_person ON links (tenant, team, email);
CREATE TABLE link_codes (
  hash TEXT PRIMARY KEY, tenant TEXT NOT NULL, email TEXT NOT NULL, expires INTEGER NOT NULL, attestation TEXT NOT NULL
) WITHOUT ROWID;
"""
