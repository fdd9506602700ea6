"""Identity: who is behind a credential. People, their one-time codes and sessions, and keys of the data plane.

It never sees a provider's key, never stores a credential (keyed hashes only) and never believes a row: rows of people
and keys carry an attestation over every field, sessions and codes a MAC over their person.
Invariant: sessions are worth nothing on the data plane, keys of the data plane nothing on the control plane.
"""

from __future__ import annotations

from llmguard.identity.changes import Change, apply, decode, encode
from llmguard.identity.keys import (
    KEY_PREFIX,
    Key,
    KeyChange,
    authenticate,
    ensure_in_force,
    key,
    keys,
    keys_of,
    keys_page,
    link_key,
    new_key,
    passed_through,
    revoke_key,
    unlinked,
)
from llmguard.identity.names import mailbox, normal_email, normal_groups, same_human
from llmguard.identity.people import (
    BOOTSTRAP_UNTIL,
    DEFAULT_GROUP,
    Person,
    PersonChange,
    Source,
    accountable_person,
    active_person,
    bootstrapping,
    members,
    people,
    people_page,
    person,
)
from llmguard.identity.rows import Cause
from llmguard.identity.sessions import (
    CODE_MS,
    IDLE_MS,
    SESSION_MS,
    SESSION_PREFIX,
    TOUCH_MS,
    Authentication,
    Login,
    Session,
    forget_expired,
    hand_over,
    issue_code,
    live,
    login,
    logout,
    open_session,
    session,
    touch,
)

OPERATOR = "operator"
"""Who acts when a command works on the data folder itself: the owner of the host."""

__all__ = [
    "BOOTSTRAP_UNTIL",
    "CODE_MS",
    "DEFAULT_GROUP",
    "IDLE_MS",
    "KEY_PREFIX",
    "OPERATOR",
    "SESSION_MS",
    "SESSION_PREFIX",
    "TOUCH_MS",
    "Authentication",
    "Cause",
    "Change",
    "Key",
    "KeyChange",
    "Login",
    "Person",
    "PersonChange",
    "Session",
    "Source",
    "accountable_person",
    "active_person",
    "apply",
    "authenticate",
    "bootstrapping",
    "decode",
    "encode",
    "ensure_in_force",
    "forget_expired",
    "hand_over",
    "issue_code",
    "key",
    "keys",
    "keys_of",
    "keys_page",
    "link_key",
    "live",
    "login",
    "logout",
    "mailbox",
    "members",
    "new_key",
    "normal_email",
    "normal_groups",
    "open_session",
    "passed_through",
    "people",
    "people_page",
    "person",
    "revoke_key",
    "same_human",
    "session",
    "touch",
    "unlinked",
]
