"""Signed tokens of identity providers: a JWT against the provider's published keys, with fixed asymmetric algorithms.

It never trusts a token about its own key: ``alg`` is one of ours and fits the key; ``jku``, ``x5u``, ``jwk`` and
``crit`` are refused; keys come from the configured address only. Nothing of a token stands in an error.
Invariant: fetches are bounded, follow no redirect, and happen in a thread of their own, one at a time for each source.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from typing import Any
from urllib.parse import urlsplit

from llmguard.config import SIGNATURES
from llmguard.errors import CallRefused, ConfigError, GuardUnavailable, LLMGuardError, Unauthenticated
from llmguard.payload import json as strict_json

log = logging.getLogger("llmguard")
ALGORITHMS = SIGNATURES
MAX_TOKEN = 16 * 1024
MAX_DOCUMENT = 256 * 1024
"""Bytes of a key set or a discovery document."""
LEEWAY = 60
"""Seconds that clocks of provider and guard may differ."""
TIMEOUT = 5.0
"""Seconds that a fetch may take as a whole."""
FRESH = 600.0
"""Seconds after which keys in use are looked at again, beside the calls that use them."""
PAUSE = 10.0
"""Seconds between two fetches of one source, whatever asks for them."""
_FITS = {"RS256": ("RSA", None), "PS256": ("RSA", None), "ES256": ("EC", "P-256"), "EdDSA": ("OKP", "Ed25519")}
_TRUSTS_ITSELF = ("crit", "b64", "jku", "x5u", "jwk", "x5c")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_SMALLEST_RSA = 2048


class KeyWanted(Exception):
    """The key that signed is not among ``keys``: a refresh may bring it, else ``refusal`` says what is wrong."""

    def __init__(self, keys: KeySource) -> None:
        super().__init__("a key is wanted")
        self.keys = keys

    def refusal(self) -> CallRefused:
        if not self.keys.answers:
            return GuardUnavailable("the identity provider's keys cannot be fetched; try again")
        return Unauthenticated("the token is signed with a key that its issuer does not publish")


# --------------------------------------------------------------------------- tokens


def verify(
    token: str,
    keys: KeySource,
    *,
    issuer: str,
    audience: str,
    now: int,
    algorithms: Sequence[str] = ALGORITHMS,
    types: Collection[str] | None = None,
) -> dict[str, Any]:
    """The claims of a token whose signature, ``iss``, ``aud``, ``exp``, ``nbf``, ``iat`` and ``typ`` hold. No I/O.

    ``now`` is UTC milliseconds; ``types`` are the accepted ``typ``, in small letters, without ``application/``; None
    takes any. What else a token must say is the caller's (RFC 8725, RFC 9068 §4, OpenID Connect Core §3.1.3.7).

    Raises Unauthenticated; KeyWanted if its key is not among those fetched so far.
    """
    header, signed, signature = _parts(token)
    algorithm, kid, typ = header.get("alg"), header.get("kid"), header.get("typ", "")
    if algorithm not in algorithms or algorithm not in _FITS:
        raise Unauthenticated("the token is signed with an algorithm that is not accepted")
    if any(name in header for name in _TRUSTS_ITSELF):
        raise Unauthenticated("the token brings its own key or rules (crit, jku, x5u, jwk): refused")
    if not isinstance(typ, str) or (types is not None and typ.lower().removeprefix("application/") not in types):
        raise Unauthenticated(f"the token's typ is not {' or '.join(sorted(types or ()))}: send an access token")
    if kid is not None and not isinstance(kid, str):
        raise Unauthenticated("the token's kid is no text")
    if not _signed(algorithm, keys.key(kid, algorithm), signed, signature):
        raise Unauthenticated("the token's signature is wrong")
    claims = _object(signed.partition(b".")[2])
    _check(claims, issuer, audience, now // 1000)
    return claims


def verify_waiting(token: str, keys: KeySource, **expected: Any) -> dict[str, Any]:
    """``verify``, which fetches keys where they are wanted, in the caller's time. Raises GuardUnavailable too."""
    try:
        return verify(token, keys, **expected)
    except KeyWanted:
        keys.refresh().result()
    try:
        return verify(token, keys, **expected)
    except KeyWanted as wanted:
        raise wanted.refusal() from None


def issuer_of(token: str) -> str:
    """Who a token says that it is from, not verified: it only chooses the keys. Raises Unauthenticated."""
    issuer = _object(_parts(token)[1].partition(b".")[2]).get("iss")
    return issuer if isinstance(issuer, str) else ""


def _parts(token: str) -> tuple[dict[str, Any], bytes, bytes]:
    """Header, signed bytes, signature."""
    if len(token) > MAX_TOKEN or not token.isascii():
        raise Unauthenticated(f"a token has at most {MAX_TOKEN} ASCII characters")
    pieces = token.split(".")
    if len(pieces) != 3:
        raise Unauthenticated("this is no signed token: it has three parts with dots between them")
    return _object(pieces[0].encode()), f"{pieces[0]}.{pieces[1]}".encode(), _bytes(pieces[2].encode())


def _object(part: bytes) -> dict[str, Any]:
    raw = _bytes(part)
    try:
        strict_json.parse(raw)  # no name twice, no NaN; its numbers are lexemes, so the values come from the plain one
        value = json.loads(raw)
    except CallRefused:
        value = None
    if not isinstance(value, dict):
        raise Unauthenticated("a part of the token is not a JSON object with every name once")
    return value


def _bytes(part: bytes) -> bytes:
    try:
        raw = base64.b64decode(part + b"=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if base64.urlsafe_b64encode(raw).rstrip(b"=") != part:  # one spelling of each token
        raise Unauthenticated("a part of the token is not base64url")
    return raw


def _signed(algorithm: str, key: Any, message: bytes, signature: bytes) -> bool:
    from joserfc.errors import JoseError
    from joserfc.jws import JWSRegistry

    try:
        return bool(JWSRegistry.algorithms[algorithm].verify(message, signature, key))
    except (JoseError, ValueError, TypeError):
        return False


def _check(claims: Mapping[str, Any], issuer: str, audience: str, now: int) -> None:
    aud = claims.get("aud")
    audiences = [aud] if isinstance(aud, str) else aud if isinstance(aud, list) else []
    if claims.get("iss") != issuer:
        raise Unauthenticated("the token is of another issuer")
    if audience not in audiences:
        raise Unauthenticated("the token is for another audience")
    times = {name: _seconds(claims, name) for name in ("exp", "nbf", "iat")}
    if times["exp"] is None or times["exp"] <= now - LEEWAY:
        raise Unauthenticated("the token is expired, or never expires: get a new one")
    if max(times["nbf"] or 0, times["iat"] or 0) > now + LEEWAY:
        raise Unauthenticated("the token is not valid yet: compare the clocks")


def _seconds(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        raise Unauthenticated(f"the token's {name} is no time")
    return value


# --------------------------------------------------------------------------- keys


class KeySource:
    """The published keys of one issuer: from ``url`` (a JWKS), else from what the issuer's discovery names.

    Keys in use are looked at again every ten minutes, and when a token names an unknown one; while the provider is
    down, known keys count for ``max_age`` seconds.
    """

    def __init__(
        self,
        issuer: str,
        url: str | None = None,
        *,
        max_age: float = 86400,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises ConfigError for an address that is neither https nor on this machine."""
        self._issuer = issuer
        fetchable(url or issuer)
        self._url = url
        self._max_age = max_age
        self._clock = clock
        self._lock = threading.Lock()
        self._fetching: Future[None] | None = None
        self._tried = float("-inf")
        self._fetched = float("-inf")
        self._keys: tuple[Any, ...] = ()
        self.answers = False
        """Whether the last fetch brought keys."""

    def key(self, kid: str | None, algorithm: str) -> Any:
        """The key of that id that fits the algorithm; without an id, the only one.

        Raises KeyWanted, Unauthenticated.
        """
        age = self._clock() - self._fetched
        if age > self._max_age:
            raise KeyWanted(self)
        if age > FRESH:
            self.refresh()
        fitting = [k for k in self._keys if (kid is None or k.kid == kid) and _fits(k, algorithm)]
        if len(fitting) > 1:
            raise Unauthenticated("the token must name its key (kid): its issuer has several")
        if not fitting:
            raise KeyWanted(self)
        return fitting[0]

    def refresh(self) -> Future[None]:
        """A fetch that is done or under way, and at most one every ten seconds. The future never raises."""
        with self._lock:
            if self._fetching is not None and not self._fetching.done():
                return self._fetching
            done: Future[None] = Future()
            if self._clock() - self._tried < PAUSE:
                done.set_result(None)
                return done
            self._tried = self._clock()
            self._fetching = done
        threading.Thread(target=self._fetch, args=(done,), name="jwks", daemon=True).start()
        return done

    def _fetch(self, done: Future[None]) -> None:
        came = False
        try:
            self._keys = _keys(fetch(self._address()))
            self._fetched, came = self._clock(), True
        except LLMGuardError as e:
            log.warning("keys of an identity provider were not fetched: %s", e.message)
        finally:
            self.answers = came
            done.set_result(None)

    def _address(self) -> str:
        return self._url or _published(discover(self._issuer), self._issuer)


def _keys(document: Any) -> tuple[Any, ...]:
    """The public keys of a JWKS that may sign; what cannot be used is passed over. Raises GuardUnavailable."""
    from joserfc.errors import JoseError
    from joserfc.jwk import import_key

    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise GuardUnavailable("the identity provider's key set is not understood")
    found = []
    for entry in entries[:64]:
        if not isinstance(entry, dict) or entry.get("kty") not in ("RSA", "EC", "OKP"):
            continue
        if entry["kty"] == "RSA" and len(str(entry.get("n"))) * 6 < _SMALLEST_RSA:  # before joserfc warns of it
            continue
        try:
            found.append(import_key({k: v for k, v in entry.items() if k != "d"}))
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    return tuple(found)


def _fits(key: Any, algorithm: str) -> bool:
    kind, curve = _FITS[algorithm]
    told = key.as_dict(private=False)
    if key.key_type != kind or told.get("use", "sig") != "sig" or told.get("alg", algorithm) != algorithm:
        return False
    if "verify" not in told.get("key_ops", ("verify",)):
        return False
    return bool(key.raw_value.key_size >= _SMALLEST_RSA if kind == "RSA" else told.get("crv") == curve)


# --------------------------------------------------------------------------- fetching


def fetchable(url: str) -> str:
    """The address of an identity provider: https, or http on this machine. Raises ConfigError."""
    parts = urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in _LOOPBACK
    if not (local or parts.scheme == "https") or not parts.hostname or parts.username or parts.fragment:
        raise ConfigError(
            "an identity provider is reached over https, or on this machine; no credentials in its address"
        )
    return url


def discover(issuer: str) -> dict[str, Any]:
    """The issuer's discovery document (OpenID Connect Discovery §4). Blocks. Raises GuardUnavailable."""
    document = fetch(issuer.rstrip("/") + "/.well-known/openid-configuration")
    if not isinstance(document, dict) or document.get("issuer") != issuer:
        raise GuardUnavailable("the discovery document is of another issuer: set issuer to exactly what it says")
    return document


def _published(document: Mapping[str, Any], issuer: str) -> str:
    """Where the keys are: at the issuer's own host; other addresses are configured, not believed."""
    jwks = document.get("jwks_uri")
    if not isinstance(jwks, str) or _origin(jwks) != _origin(issuer):
        raise GuardUnavailable("the issuer publishes its keys elsewhere: configure jwks_url")
    return jwks


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()


def fetch(url: str) -> Any:
    """The JSON at a configured address: bounded, no redirects. Blocks. Raises GuardUnavailable."""
    import httpx

    end = time.monotonic() + TIMEOUT
    local = urlsplit(fetchable(url)).hostname in _LOOPBACK
    body = bytearray()
    try:
        with (
            httpx.Client(timeout=TIMEOUT, follow_redirects=False, trust_env=not local) as http,
            http.stream("GET", url, headers={"accept": "application/json", "accept-encoding": "identity"}) as answer,
        ):
            if answer.status_code != 200:
                raise GuardUnavailable(f"an identity provider answered {answer.status_code}")
            for piece in answer.iter_raw():
                body += piece
                if len(body) > MAX_DOCUMENT or time.monotonic() > end:
                    raise GuardUnavailable("an identity provider's answer is too long or too slow")
        return json.loads(body)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as e:
        raise GuardUnavailable(f"an identity provider does not answer ({type(e).__name__})") from None
