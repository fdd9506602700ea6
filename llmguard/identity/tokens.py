"""Access tokens of services and agents: who calls on the data plane with a JWT of a configured issuer (RFC 9068).

It owns the cache of verified tokens. It never takes an ID token, never believes a token about who is a person here, and
stores nothing. An agent that acts for somebody by token exchange (RFC 8693, ``act``) has that person as its human.
Invariant: a token is worth nothing on the control plane, and people are looked up anew for each call.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llmguard.config import TokenIssuer
from llmguard.errors import InvalidRequest, Unauthenticated
from llmguard.identity import jose
from llmguard.identity.names import normal_email, same_human
from llmguard.identity.people import accountable_person, person
from llmguard.model import Principal
from llmguard.store import Transaction
from llmguard.vault import Vault

REMEMBERED_MS = 5 * 60 * 1000
"""How long a verified token is not looked at again; a key that its issuer withdraws counts no longer than that."""
MAX_REMEMBERED = 4096
MAX_ACTORS = 4
_OF_ID_TOKENS = ("nonce", "at_hash", "c_hash", "s_hash")


@dataclass(frozen=True, slots=True)
class Bearer:
    """What a verified token says. ``email``: who is accountable, if that is a person here. ``until``: UTC ms."""

    id: str
    name: str
    kind: Literal["human", "service", "agent"]
    email: str | None
    until: int


class Tokens:
    """The configured issuers and the tokens that were verified lately. For one thread: the event loop's.

    ``max_age``: seconds for which an issuer's keys count while it does not answer.
    """

    def __init__(self, issuers: Sequence[TokenIssuer], max_age: float = 86400) -> None:
        self._issuers = {i.issuer: (i, jose.KeySource(i.issuer, i.jwks_url, max_age=max_age)) for i in issuers}
        self._seen: OrderedDict[bytes, Bearer] = OrderedDict()

    def takes(self, credential: str) -> bool:
        """Whether the credential looks like a token, and there are issuers of such."""
        return bool(self._issuers) and credential.startswith("eyJ")

    def verified(self, token: str, now: int) -> Bearer:
        """What the token says, if it holds at ``now`` (UTC ms). No I/O.

        Raises Unauthenticated; ``jose.KeyWanted`` if its issuer's keys have to be fetched first.
        """
        if len(token) > jose.MAX_TOKEN:
            raise Unauthenticated(f"a token has at most {jose.MAX_TOKEN} characters")
        name = hashlib.sha256(token.encode()).digest()
        known = self._seen.get(name)
        if known is not None and now < known.until:
            self._seen.move_to_end(name)
            return known
        found = self._verified(token, now)
        self._seen[name] = found
        self._seen.move_to_end(name)
        if len(self._seen) > MAX_REMEMBERED:
            self._seen.popitem(last=False)
        return found

    def _verified(self, token: str, now: int) -> Bearer:
        issuer, keys = self._issuers.get(jose.issuer_of(token), (None, None))
        if issuer is None or keys is None:
            raise Unauthenticated("the token is of an issuer that this guard does not know")
        claims = jose.verify(
            token,
            keys,
            issuer=issuer.issuer,
            audience=issuer.audience,
            now=now,
            algorithms=issuer.algorithms,
            types=issuer.types,
        )
        return _bearer(issuer, claims, now)

    def __len__(self) -> int:
        return len(self._seen)


def principal(tx: Transaction, vault: Vault, tenant: str, bearer: Bearer) -> Principal:
    """Who calls, at this moment. Nobody is accountable where the token names no person of this tenant.

    Raises Unauthenticated if the person is deactivated, GuardUnavailable if the entry was altered.
    """
    human = None if bearer.email is None else _human(tx, vault, tenant, bearer.email)
    return Principal(bearer.id, tenant, bearer.kind, bearer.name, human)


def _human(tx: Transaction, vault: Vault, tenant: str, email: str) -> str | None:
    """The person behind an address, also under another ``+tag``: or two addresses would make two people."""
    who = person(tx, vault, tenant, email)
    if who is None:
        rows = tx.all("SELECT email FROM people WHERE tenant = ?", tenant)
        own = next((row["email"] for row in rows if same_human(row["email"], email)), None)
        who = None if own is None else person(tx, vault, tenant, own)
    if who is None:
        return None
    if accountable_person(tx, vault, tenant, who.email) is None:
        raise Unauthenticated("the person that this token is for is not active any more")
    return who.email


# --------------------------------------------------------------------------- what a token says


def _bearer(issuer: TokenIssuer, claims: Mapping[str, Any], now: int) -> Bearer:
    """Raises Unauthenticated."""
    if any(name in claims for name in _OF_ID_TOKENS):
        raise Unauthenticated("this is an ID token: send an access token")
    client, subject = _client(issuer, claims), _text(claims, "sub")
    actor = _actor(issuer, claims["act"]) if "act" in claims else None
    who = json.dumps([issuer.issuer, client, subject, actor]).encode()
    email = _email(issuer, claims)
    if actor is None and issuer.human_claim not in claims:
        email = issuer.clients[client] or None
    return Bearer(
        id=f"token:{client[:40]}:{hashlib.sha256(who).hexdigest()[:26]}",
        name=actor or client,
        kind="agent" if actor else "human" if email and issuer.human_claim in claims else "service",
        email=email,
        until=min(int(claims["exp"] * 1000), now + REMEMBERED_MS),
    )


def _client(issuer: TokenIssuer, claims: Mapping[str, Any]) -> str:
    """The client that the token was given to (RFC 9068 §2.2, OpenID Connect Core §2)."""
    named = {_text(claims, name) for name in ("azp", "client_id") if name in claims}
    if len(named) != 1 or not named <= set(issuer.clients):
        raise Unauthenticated("the token was given to a client that is not configured for its issuer")
    return named.pop()


def _actor(issuer: TokenIssuer, act: Any) -> str:
    """Who acts now; those who acted before it are only told of (RFC 8693 §4.1)."""
    earlier, depth = act, 0
    while earlier is not None:
        depth += 1
        if not isinstance(earlier, dict) or depth > MAX_ACTORS or earlier.get("iss", issuer.issuer) != issuer.issuer:
            raise Unauthenticated("the token's act is not understood")
        _text(earlier, "sub")
        earlier = earlier.get("act")
    return _text(act, "sub")


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 255 or not value.isprintable():
        raise Unauthenticated(f"the token's {name} is missing, or no plain text")
    return value


def _email(issuer: TokenIssuer, claims: Mapping[str, Any]) -> str | None:
    """An e-mail address counts as verified only where the issuer says so, or the configuration."""
    value = claims.get(issuer.human_claim)
    doubtful = issuer.human_claim == "email" and claims.get("email_verified") is not True
    if not isinstance(value, str) or (doubtful and not issuer.unverified_email):
        return None
    try:
        return normal_email(value)
    except InvalidRequest:
        return None
