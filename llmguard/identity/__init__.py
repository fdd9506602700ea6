"""Identity: who is behind a credential. People, their one-time codes and sessions, and keys of the data plane.

It never sees a provider's key, never stores a credential (keyed hashes only) and never believes a row: rows of people
and keys carry an attestation over every field, sessions and codes a MAC over their person.
Invariant: sessions are worth nothing on the data plane, keys of the data plane nothing on the control plane.
"""

from __future__ import annotations

from llmguard.identity.changes import Change, apply, decode, encode
from llmguard.identity.keys import KEY_PREFIX, Key, KeyChange, authenticate, key, keys, new_key, revoke_key
from llmguard.identity.names import mailbox, normal_email, normal_groups, same_human
from llmguard.identity.people import (
    BOOTSTRAP_UNTIL,
    DEFAULT_GROUP,
    Person,
    PersonChange,
    active_person,
    bootstrapping,
    people,
    person,
)
from llmguard.identity.rows import Cause
from llmguard.identity.sessions import (
    CODE_MS,
    SESSION_MS,
    SESSION_PREFIX,
    Login,
    forget_expired,
    issue_code,
    login,
    logout,
    session,
)

OPERATOR = "operator"
"""Who acts when a command works on the data folder itself: the owner of the host."""

__all__ = [
    "BOOTSTRAP_UNTIL",
    "CODE_MS",
    "DEFAULT_GROUP",
    "KEY_PREFIX",
    "OPERATOR",
    "SESSION_MS",
    "SESSION_PREFIX",
    "Cause",
    "Change",
    "Key",
    "KeyChange",
    "Login",
    "Person",
    "PersonChange",
    "active_person",
    "apply",
    "authenticate",
    "bootstrapping",
    "decode",
    "encode",
    "forget_expired",
    "issue_code",
    "key",
    "keys",
    "login",
    "logout",
    "mailbox",
    "new_key",
    "normal_email",
    "normal_groups",
    "people",
    "person",
    "revoke_key",
    "same_human",
    "session",
]
