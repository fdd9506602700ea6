"""OIDC: people log in at an identity provider (authorization code, PKCE S256, state, nonce), and what it says of them.

It owns the conversation with the configured issuers and believes nothing else: an ID token counts only if its signature
and every claim hold, an access token is never taken for one. It writes nothing; ``vouching`` does. All of it blocks.
Sources: OpenID Connect Core §3.1.3.7 and §12, RFC 7636, RFC 9207 (mix-up), OpenID Connect RP-Initiated Logout.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard
from urllib.parse import quote, urlencode, urlsplit

import httpx

from llmguard.config import OidcProvider, Settings
from llmguard.errors import ConfigError, GuardUnavailable, InvalidRequest, NotAllowed, Unauthenticated
from llmguard.identity import jose
from llmguard.identity.names import normal_email, normal_groups
from llmguard.identity.sessions import s256
from llmguard.identity.vouching import Word

CALLBACK = "/guard/v1/login/callback"
ID_TOKEN = ("", "jwt")
"""``typ`` of an ID token; an access token of RFC 9068 says ``at+jwt``."""
MAX_AGE_MS = 10 * 60 * 1000
"""Oldest ID token that a login takes."""
DISCOVERY = 3600.0
"""Seconds for which a discovery document counts."""
PAUSE = 5.0
"""Seconds after a failed discovery before the provider is asked again."""
_MAX_GROUPS = 1000
_DEFAULT_METHODS = ("client_secret_basic",)  # Discovery §3


class Revoked(Exception):
    """The provider says that it does not vouch for this person any more."""


@dataclass(frozen=True, slots=True)
class Started:
    """A login that is under way, as its browser keeps it. ``begun`` is UTC ms; ``max_age`` in seconds, None for any."""

    provider: str
    state: str
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    begun: int
    max_age: int | None = None


class Provider:
    """One configured provider. ``redirect``: the address that it sends people back to."""

    def __init__(self, settings: OidcProvider, redirect: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self.keys = jose.KeySource(settings.issuer, settings.jwks_url, clock=clock)
        self._redirect = redirect
        self._clock = clock
        self._lock = threading.Lock()
        self._known: tuple[float, dict[str, Any]] | None = None
        self._failed = float("-inf")

    # ----------------------------------------------------------------- the browser's way

    def start(self, now: int, max_age: int | None = None) -> tuple[str, Started]:
        """Where the browser goes, and what it brings back. ``max_age``: oldest login that counts; 0 asks for a new one.

        Raises GuardUnavailable.
        """
        endpoint = self._endpoint("authorization_endpoint")
        begun = Started(
            self.settings.name,
            *(secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48)),
            begun=now,
            max_age=max_age,
        )
        query = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self._redirect,
            "scope": " ".join(self.settings.scopes),
            "state": begun.state,
            "nonce": begun.nonce,
            "code_challenge": s256(begun.verifier),
            "code_challenge_method": "S256",
        }
        if max_age is not None:
            query |= {"max_age": str(max_age)} | ({"prompt": "login"} if max_age == 0 else {})
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(query)}", begun

    def redeem(self, begun: Started, code: str, now: int, answered: str | None = None) -> Word:
        """Trades the code that the browser brought for what the provider says. ``answered``: who answered (RFC 9207).

        Raises GuardUnavailable, NotAllowed, Unauthenticated.
        """
        promised = self._document().get("authorization_response_iss_parameter_supported") is True
        if answered != self.settings.issuer and (promised or answered is not None):
            raise Unauthenticated("the answer is of another identity provider than the one that was asked")
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self._redirect}
        try:
            tokens = self._tokens({**form, "code_verifier": begun.verifier})
            claims = self._claims(tokens, now, begun.nonce)
            if begun.max_age is not None:
                check_age(claims, begun)
            return self._word(claims, tokens, now)
        except Revoked as e:
            raise Unauthenticated(f"{e}: log in again") from None

    def renew(self, refresh: str, subject: str, now: int) -> Word:
        """What the provider says now of somebody it vouched for. Raises Revoked, GuardUnavailable."""
        tokens = self._tokens({"grant_type": "refresh_token", "refresh_token": refresh})
        claims = self._claims(tokens, now) if "id_token" in tokens else self._userinfo(tokens)
        if claims.get("sub") != subject:
            raise Revoked("the identity provider speaks of somebody else")
        try:
            return self._word(claims, tokens, now)
        except (NotAllowed, InvalidRequest) as e:
            raise Revoked(e.message) from None

    def end_session(self) -> str | None:
        """Where the browser logs out of the provider, too; None if it says nothing about that or does not answer."""
        try:
            endpoint = self._document().get("end_session_endpoint")
        except GuardUnavailable:
            return None
        if not isinstance(endpoint, str) or not _fetchable(endpoint):
            return None
        return (
            f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode({'client_id': self.settings.client_id})}"
        )

    # ----------------------------------------------------------------- what it says

    def _claims(self, tokens: Mapping[str, Any], now: int, nonce: str | None = None) -> dict[str, Any]:
        token, access, s = tokens.get("id_token"), tokens.get("access_token"), self.settings
        if not isinstance(token, str):
            raise Unauthenticated("the identity provider sent no ID token")
        claims = id_token(token, s, self.keys, now, nonce=nonce)
        if "at_hash" in claims and isinstance(access, str):
            check_at_hash(claims, token, access)
        return claims

    def _word(self, claims: dict[str, Any], tokens: Mapping[str, Any], now: int) -> Word:
        s = self.settings
        if s.groups_claim not in claims or s.email_claim not in claims:
            claims = {**self._userinfo(tokens, claims["sub"]), **claims}
        refresh, auth_time = tokens.get("refresh_token"), claims.get("auth_time")
        return Word(
            provider=s.name,
            issuer=s.issuer,
            subject=claims["sub"],
            email=believed_email(claims, s),
            groups=mapped_groups(claims.get(s.groups_claim), s.groups),
            auth_time=min(int(auth_time * 1000), now) if _is_time(auth_time) else 0,
            amr=tuple(str(x)[:32] for x in _list(claims.get("amr"))[:8]),
            refresh=refresh if isinstance(refresh, str) and refresh else None,
        )

    def _userinfo(self, tokens: Mapping[str, Any], subject: str | None = None) -> dict[str, Any]:
        """The claims of the userinfo endpoint, which must be about the same subject (§5.3.2); none without one."""
        endpoint, access = self._document().get("userinfo_endpoint"), tokens.get("access_token")
        if not isinstance(endpoint, str) or not isinstance(access, str):
            if subject is None:
                raise Unauthenticated("the identity provider says nothing about this person")
            return {}
        status, claims = _ask("GET", self._endpoint("userinfo_endpoint"), {"authorization": f"Bearer {access}"})
        if status in (401, 403):
            raise Revoked("the identity provider does not know this person any more")
        if status != 200:
            raise GuardUnavailable(f"the identity provider answered {status}")
        if not isinstance(claims.get("sub"), str) or (subject is not None and claims["sub"] != subject):
            raise Unauthenticated("userinfo is about somebody else")
        return claims

    def _tokens(self, form: dict[str, str]) -> dict[str, Any]:
        """The token endpoint's answer. Raises Revoked for ``invalid_grant`` alone; everything else is our problem."""
        s, headers = self.settings, {}
        if s.client_secret is None:
            form = {**form, "client_id": s.client_id}
        elif "client_secret_basic" in self._document().get("token_endpoint_auth_methods_supported", _DEFAULT_METHODS):
            pair = f"{quote(s.client_id, safe='')}:{quote(s.client_secret, safe='')}".encode()  # RFC 6749 §2.3.1
            headers = {"authorization": f"Basic {base64.b64encode(pair).decode()}"}
        else:
            form = {**form, "client_id": s.client_id, "client_secret": s.client_secret}
        status, answer = _ask("POST", self._endpoint("token_endpoint"), headers, form)
        if status == 400 and answer.get("error") == "invalid_grant":
            raise Revoked("the identity provider does not take this grant any more")
        if status != 200:
            raise GuardUnavailable(
                f"the identity provider refuses this guard ({status}): check its client_id and secret"
            )
        return answer

    # ----------------------------------------------------------------- where it is

    def _endpoint(self, name: str) -> str:
        url = self._document().get(name)
        if not isinstance(url, str) or not _fetchable(url):
            raise GuardUnavailable(f"the identity provider's {name} is missing, or is not https")
        return url

    def _document(self) -> dict[str, Any]:
        """Its discovery document, at most an hour old."""
        with self._lock:
            now = self._clock()
            if self._known is not None and now - self._known[0] < DISCOVERY:
                return self._known[1]
            if now - self._failed < PAUSE:
                raise GuardUnavailable("the identity provider does not answer; try again, or log in with a code")
            try:
                document = jose.discover(self.settings.issuer)
            except GuardUnavailable:
                self._failed = self._clock()
                raise
            self._known = (now, document)
            return document


def providers(settings: Settings) -> dict[str, Provider]:
    """The configured ones, by name; each sends people back to an address of its own on the control plane."""
    base = f"{settings.control_url.rstrip('/')}{CALLBACK}/"
    return {p.name: Provider(p, base + p.name) for p in settings.oidc}


# --------------------------------------------------------------------------- checks


def id_token(
    token: str, settings: OidcProvider, keys: jose.KeySource, now: int, *, nonce: str | None = None
) -> dict[str, Any]:
    """The claims of an ID token that holds in every point (OpenID Connect Core §3.1.3.7). ``now``: UTC ms.

    ``nonce``: of the login; a renewed token may come without (§12.2). Raises Unauthenticated, GuardUnavailable.
    """
    audience = settings.client_id
    claims = jose.verify_waiting(token, keys, issuer=settings.issuer, audience=audience, now=now, types=ID_TOKEN)
    _check(claims, settings, now, nonce)
    return claims


def _check(claims: Mapping[str, Any], settings: OidcProvider, now: int, nonce: str | None) -> None:
    """What ``jose.verify`` leaves to its caller."""
    audience, azp = _list(claims.get("aud")), claims.get("azp")
    if (len(audience) > 1 and azp is None) or (azp is not None and azp != settings.client_id):
        raise Unauthenticated("the ID token was given to another client")
    subject, issued = claims.get("sub"), claims.get("iat")
    if not isinstance(subject, str) or not 0 < len(subject) <= 255:
        raise Unauthenticated("the ID token names nobody")
    if not _is_time(issued) or issued * 1000 < now - MAX_AGE_MS:
        raise Unauthenticated("the ID token is not of this login: compare the clocks")
    if claims.get("typ", "ID") != "ID" or claims.get("token_use", "id") != "id":  # Keycloak, Cognito
        raise Unauthenticated("this is another kind of token than an ID token")
    told = claims.get("nonce")
    if nonce is not None and not (isinstance(told, str) and hmac.compare_digest(told.encode(), nonce.encode())):
        raise Unauthenticated("the ID token is not of this login")


def check_age(claims: Mapping[str, Any], begun: Started) -> None:
    """That the provider asked the person anew, where that was wanted. Raises Unauthenticated."""
    told, oldest = claims.get("auth_time"), begun.begun - (begun.max_age or 0) * 1000 - jose.LEEWAY * 1000
    if not _is_time(told) or told * 1000 < oldest:
        raise Unauthenticated("the identity provider did not ask for the login anew, or does not say when it did")


def check_at_hash(claims: Mapping[str, Any], token: str, access: str) -> None:
    """That ID token and access token belong together (§3.1.3.6). Raises Unauthenticated."""
    header = json.loads(base64.urlsafe_b64decode(token.partition(".")[0] + "=="))  # verified by now
    digest = hashlib.sha512 if header["alg"] == "EdDSA" else hashlib.sha256
    hashed = digest(access.encode()).digest()
    wanted = base64.urlsafe_b64encode(hashed[: len(hashed) // 2]).rstrip(b"=").decode()
    told = claims["at_hash"]
    if not isinstance(told, str) or not hmac.compare_digest(told.encode(), wanted.encode()):
        raise Unauthenticated("the access token is not the one that came with the ID token")


def believed_email(claims: Mapping[str, Any], settings: OidcProvider) -> str:
    """The person's address, if the provider verified it and its domain is one of ours. Raises NotAllowed."""
    told = claims.get(settings.email_claim)
    if not isinstance(told, str):
        raise NotAllowed("the identity provider says no address: ask for the scope email, or set email_claim")
    if claims.get("email_verified") is not True and not settings.unverified_email:
        raise NotAllowed("the identity provider did not verify this address (see unverified_email in docs/identity.md)")
    email = normal_email(told)
    if settings.domains and email.partition("@")[2] not in {d.lower() for d in settings.domains}:
        raise NotAllowed("addresses of this domain do not log in here: domains of the configuration names which do")
    return email


def mapped_groups(told: Any, mapping: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Our groups of the provider's; what the mapping does not name counts for nothing."""
    names = {x for x in _list(told)[:_MAX_GROUPS] if isinstance(x, str)}
    return normal_groups([group for name in sorted(names & set(mapping)) for group in mapping[name]])


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _is_time(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 2**53


# --------------------------------------------------------------------------- asking


def _fetchable(url: str) -> bool:
    try:
        jose.fetchable(url)
    except (ConfigError, ValueError):
        return False
    return True


def _ask(
    method: str, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    """Status and JSON object (empty if it is none). Bounded, no redirects. Raises GuardUnavailable."""
    end = time.monotonic() + jose.TIMEOUT
    body = bytearray()
    sent = {"accept": "application/json", "accept-encoding": "identity", **headers}
    local = urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
    try:
        with (
            httpx.Client(timeout=jose.TIMEOUT, follow_redirects=False, trust_env=not local) as http,
            http.stream(method, url, headers=sent, data=form) as answer,
        ):
            for piece in answer.iter_raw():
                body += piece
                if len(body) > jose.MAX_DOCUMENT or time.monotonic() > end:
                    raise GuardUnavailable("the identity provider's answer is too long or too slow")
            status = answer.status_code
    except (httpx.HTTPError, httpx.InvalidURL) as e:
        raise GuardUnavailable(f"the identity provider does not answer ({type(e).__name__}); try again") from None
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    return status, value if isinstance(value, dict) else {}
