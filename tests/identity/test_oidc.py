"""What an ID token must be, attacked with keys made here; and the real provider's own tokens and keys."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from llmguard.config import OidcProvider
from llmguard.errors import GuardUnavailable, InvalidRequest, NotAllowed, Unauthenticated
from llmguard.identity import jose, oidc
from llmguard.identity.oidc import Provider, Revoked, Started
from llmguard.identity.sessions import s256
from llmguard.store import wall_ms
from tests.identity.provider import Browser, IdentityProvider

NOW = wall_ms()
NONCE = "the nonce of this login"
KEYS = {
    "RS256": RSAKey.generate_key(2048, {"kid": "rsa"}),
    "PS256": RSAKey.generate_key(2048, {"kid": "pss"}),
    "ES256": ECKey.generate_key("P-256", {"kid": "ec"}),
    "EdDSA": OKPKey.generate_key("Ed25519", {"kid": "ed"}),
}
STRANGER = RSAKey.generate_key(2048, {"kid": "rsa"})
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    WEAK = RSAKey.generate_key(1024, {"kid": "weak"})


class Published:
    """Answers every GET with one JSON document, and counts."""

    def __init__(self, document: Any) -> None:
        self.document = document
        self.asked = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                body = json.dumps(outer.document).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="module")
def jwks() -> Iterator[Published]:
    keys = [k.as_dict(private=False) for k in (*KEYS.values(), WEAK)]
    made = Published({"keys": [*keys, {"kty": "oct", "kid": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQ"}]})
    yield made
    made.close()


@pytest.fixture(scope="module")
def settings(jwks: Published) -> OidcProvider:
    return OidcProvider("corp", "https://idp.example", "llmguard", jwks_url=f"{jwks.url}/jwks")


@pytest.fixture(scope="module")
def keys(settings: OidcProvider) -> jose.KeySource:
    return jose.KeySource(settings.issuer, settings.jwks_url)


def claims(**changes: Any) -> dict[str, Any]:
    """Those of a good ID token; None leaves one out."""
    now = NOW // 1000
    good = {
        "iss": "https://idp.example",
        "aud": "llmguard",
        "sub": "alice",
        "nonce": NONCE,
        "exp": now + 300,
        "iat": now,
    }
    return {k: v for k, v in {**good, **changes}.items() if v is not None}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(payload: Any, algorithm: str = "RS256", key: Any = None, **header: Any) -> str:
    """A token as the provider makes it. Header fields may be changed; None leaves one out."""
    key = key or KEYS[algorithm]
    head = {"alg": algorithm, "kid": key.kid, "typ": "JWT", **header}
    encoded = b64(json.dumps({k: v for k, v in head.items() if v is not None}).encode())
    message = f"{encoded}.{b64(json.dumps(payload).encode())}"
    signature = jws.JWSRegistry.algorithms[algorithm].sign(message.encode(), key)
    return f"{message}.{b64(signature)}"


def by_hmac(secret: bytes, kid: str | None = "rsa") -> str:
    message = (
        f"{b64(json.dumps({'alg': 'HS256', 'kid': kid, 'typ': 'JWT'}).encode())}.{b64(json.dumps(claims()).encode())}"
    )
    return f"{message}.{b64(hmac.digest(secret, message.encode(), 'sha256'))}"


def public_pem() -> bytes:
    format_ = serialization.PublicFormat.SubjectPublicKeyInfo
    return bytes(KEYS["RS256"].public_key.public_bytes(serialization.Encoding.PEM, format_))


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_good_token_of_every_accepted_algorithm_holds(
    settings: OidcProvider, keys: jose.KeySource, algorithm: str
) -> None:
    assert oidc.id_token(signed(claims(), algorithm), settings, keys, NOW, nonce=NONCE)["sub"] == "alice"


ATTACKS = {
    "no algorithm": lambda: signed(claims(), alg="none"),
    "no algorithm and no signature": lambda: signed(claims(), alg="none").rpartition(".")[0] + ".",
    "None in capitals": lambda: signed(claims(), alg="NONE").rpartition(".")[0] + ".",
    "no signature": lambda: signed(claims()).rpartition(".")[0] + ".",
    "HMAC with the public key": lambda: by_hmac(public_pem()),
    "HMAC with the modulus": lambda: by_hmac(KEYS["RS256"].as_dict(private=False)["n"].encode()),
    "HMAC with a published secret": lambda: by_hmac(base64.urlsafe_b64decode("c2VjcmV0LXNlY3JldC1zZWNyZXQ="), "oct"),
    "another algorithm than the key's": lambda: signed(claims(), alg="ES256"),
    "an algorithm that is not accepted": lambda: signed(claims(), "RS512", KEYS["RS256"]),
    "a key of the attacker under a known kid": lambda: signed(claims(), key=STRANGER),
    "an unknown kid": lambda: signed(claims(), kid="unknown"),
    "no kid among several keys": lambda: signed(claims(), kid=None),
    "a kid that is no text": lambda: signed(claims(), kid=7),
    "a short key": lambda: signed(claims(), key=WEAK),
    "jku of the attacker": lambda: signed(claims(), key=STRANGER, jku="https://evil.example/jwks"),
    "x5u of the attacker": lambda: signed(claims(), key=STRANGER, x5u="https://evil.example/cert"),
    "its own key": lambda: signed(claims(), key=STRANGER, jwk=STRANGER.as_dict(private=False)),
    "a good signature beside a jku": lambda: signed(claims(), jku="https://evil.example/jwks"),
    "critical extensions": lambda: signed(claims(), crit=["exp"]),
    "an unencoded payload": lambda: signed(claims(), b64=False, crit=["b64"]),
    "an access token by typ": lambda: signed(claims(), typ="at+jwt"),
    "an access token by typ, in full": lambda: signed(claims(), typ="application/at+JWT"),
    "a logout token": lambda: signed(claims(), typ="logout+jwt"),
    "a Keycloak access token": lambda: signed(claims(typ="Bearer")),
    "a Keycloak refresh token": lambda: signed(claims(typ="Refresh")),
    "a Cognito access token": lambda: signed(claims(token_use="access")),
    "another issuer": lambda: signed(claims(iss="https://idp.example/")),
    "no issuer": lambda: signed(claims(iss=None)),
    "another audience": lambda: signed(claims(aud="somebody-else")),
    "no audience": lambda: signed(claims(aud=None)),
    "several audiences without azp": lambda: signed(claims(aud=["llmguard", "somebody-else"])),
    "given to another client": lambda: signed(claims(azp="somebody-else")),
    "given to another client, for several": lambda: signed(claims(aud=["llmguard", "x"], azp="x")),
    "expired": lambda: signed(claims(exp=NOW // 1000 - 61)),
    "never expiring": lambda: signed(claims(exp=None)),
    "expiring at a text": lambda: signed(claims(exp="9999999999")),
    "expiring at true": lambda: signed(claims(exp=True)),
    "not valid yet": lambda: signed(claims(nbf=NOW // 1000 + 120)),
    "from the future": lambda: signed(claims(iat=NOW // 1000 + 120)),
    "of an hour ago": lambda: signed(claims(iat=NOW // 1000 - 3600)),
    "of no time": lambda: signed(claims(iat=None)),
    "another nonce": lambda: signed(claims(nonce="another")),
    "no nonce": lambda: signed(claims(nonce=None)),
    "a nonce that is a list": lambda: signed(claims(nonce=[NONCE])),
    "about nobody": lambda: signed(claims(sub=None)),
    "about an empty subject": lambda: signed(claims(sub="")),
    "about a number": lambda: signed(claims(sub=7)),
    "a list": lambda: signed([claims()]),
    "cut in two": lambda: signed(claims()).rpartition(".")[0],
    "five parts": lambda: signed(claims()) + ".x.y",
    "padding": lambda: signed(claims()) + "=",
    "nothing": lambda: "",
    "very long": lambda: signed(claims(pad="x" * jose.MAX_TOKEN)),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_token_that_does_not_hold_in_every_point_is_refused(
    settings: OidcProvider, keys: jose.KeySource, attack: str
) -> None:
    with pytest.raises(Unauthenticated) as refused:
        oidc.id_token(ATTACKS[attack](), settings, keys, NOW, nonce=NONCE)
    assert "alice" not in str(refused.value)


def test_an_unknown_key_is_looked_for_once_in_a_while(settings: OidcProvider, jwks: Published) -> None:
    clock = [0.0]
    source = jose.KeySource(settings.issuer, settings.jwks_url, clock=lambda: clock[0])
    begun = jwks.asked
    for _ in range(5):
        with pytest.raises(Unauthenticated, match="does not publish"):
            oidc.id_token(signed(claims(), kid="unknown"), settings, source, NOW, nonce=NONCE)
    assert jwks.asked - begun == 1
    clock[0] += jose.PAUSE
    with pytest.raises(Unauthenticated, match="does not publish"):
        oidc.id_token(signed(claims(), kid="unknown"), settings, source, NOW, nonce=NONCE)
    assert jwks.asked - begun == 2


@pytest.mark.parametrize(
    ("auth_time", "max_age", "holds"),
    [(0, 0, True), (-59, 0, True), (-61, 0, False), (-3600, 3600, True), (-3661, 3600, False), (None, 0, False)],
)
def test_a_fresh_login_is_one_that_the_provider_dates(auth_time: int | None, max_age: int, holds: bool) -> None:
    begun = Started("corp", "s", "n", "v", NOW // 1000 * 1000, max_age)
    told = {} if auth_time is None else {"auth_time": NOW // 1000 + auth_time}
    try:
        oidc.check_age(told, begun)
    except Unauthenticated:
        assert not holds
    else:
        assert holds


def test_an_access_token_of_another_login_does_not_fit(settings: OidcProvider) -> None:
    digest = hashlib.sha256(b"access").digest()[:16]
    told = claims(at_hash=b64(digest))
    oidc.check_at_hash(told, signed(told), "access")
    for hashed, access in ((b64(digest), "another"), ("", "access"), (7, "access")):
        with pytest.raises(Unauthenticated):
            oidc.check_at_hash(claims(at_hash=hashed), signed(told), access)


@pytest.mark.parametrize(
    ("told", "ours"),
    [
        (["a"], ("reviewers",)),
        ("a", ("reviewers",)),
        (["b", "a"], ("admins", "reviewers")),
        (["A", "reviewers", "admins", ""], ()),
        ([["a"], {"a": 1}, None, 7], ()),
        (None, ()),
        ({"a": True}, ()),
    ],
)
def test_groups_count_only_through_the_mapping(told: Any, ours: tuple[str, ...]) -> None:
    assert oidc.mapped_groups(told, {"a": ("reviewers",), "b": ("admins", "reviewers")}) == ours


def test_an_address_counts_only_if_it_is_verified_and_of_our_domains(settings: OidcProvider) -> None:
    ours = OidcProvider("corp", settings.issuer, "x", domains=("example.com",))
    good = {"email": "Alice@Example.com", "email_verified": True}
    assert oidc.believed_email(good, ours) == "alice@example.com"
    for bad in ({"email_verified": None}, {"email_verified": 1}, {"email": "a@sub.example.com"}, {"email": ["a"]}):
        with pytest.raises((NotAllowed, InvalidRequest)):
            oidc.believed_email({**good, **bad}, ours)
    lax = OidcProvider("corp", settings.issuer, "x", unverified_email=True)
    assert oidc.believed_email({"email": "a@b.example"}, lax) == "a@b.example"


# --------------------------------------------------------------------------- the real provider


@pytest.fixture(scope="module")
def idp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityProvider]:
    made = IdentityProvider(tmp_path_factory.mktemp("provider"))
    made.user("alice", "guard-reviewers")
    made.start()
    yield made
    made.stop()


CALLBACK = "http://127.0.0.1:5001/guard/v1/login/callback/corp"


@pytest.fixture
def clock() -> list[float]:
    return [1000.0]


@pytest.fixture
def provider(idp: IdentityProvider, clock: list[float]) -> Provider:
    return Provider(OidcProvider.of(idp.table()), CALLBACK, clock=lambda: clock[0])


def walk(url: str) -> httpx.QueryParams:
    """What the provider's last redirect carries; nobody listens there."""
    browser = Browser()
    try:
        browser.walk(url, "alice")
    except httpx.ConnectError as e:
        return e.request.url.params
    finally:
        browser.close()
    raise AssertionError("the provider did not send the browser back")


def test_the_providers_new_key_is_fetched_when_it_signs_and_the_old_one_is_gone(
    provider: Provider, idp: IdentityProvider, clock: list[float]
) -> None:
    old = idp.keys[0]
    for _ in range(2):
        url, begun = provider.start(wall_ms())
        answer = walk(url)
        assert provider.redeem(begun, answer["code"], wall_ms(), answer["iss"]).groups == ("reviewers",)
        idp.rotate()
        clock[0] += jose.PAUSE
    stolen = RSAKey.import_key(old)
    forged = signed(claims(iss=idp.issuer, iat=wall_ms() // 1000), key=stolen)
    with pytest.raises(Unauthenticated, match="does not publish"):
        oidc.id_token(forged, provider.settings, provider.keys, wall_ms(), nonce=NONCE)


def test_the_provider_takes_a_code_only_with_its_verifier(provider: Provider) -> None:
    url, begun = provider.start(wall_ms())
    answer = walk(url)
    other = Started(begun.provider, begun.state, begun.nonce, "x" * 64, begun.begun)
    with pytest.raises(Unauthenticated, match="log in again"):
        provider.redeem(other, answer["code"], wall_ms(), answer["iss"])
    assert s256(begun.verifier) in url
    assert begun.verifier not in url


def test_an_answer_without_its_issuer_is_refused_where_the_provider_promises_one(provider: Provider) -> None:
    url, begun = provider.start(wall_ms())
    code = walk(url)["code"]
    for answered in (None, "", "https://evil.example"):
        with pytest.raises(Unauthenticated, match="another identity provider"):
            provider.redeem(begun, code, wall_ms(), answered)


def test_a_token_of_another_login_does_not_serve_this_one(provider: Provider) -> None:
    first, second = provider.start(wall_ms()), provider.start(wall_ms())
    answer = walk(first[0])
    mixed = Started("corp", second[1].state, second[1].nonce, first[1].verifier, second[1].begun)
    with pytest.raises(Unauthenticated, match="not of this login"):
        provider.redeem(mixed, answer["code"], wall_ms(), answer["iss"])


def test_a_refresh_token_is_of_its_subject_and_ends_with_its_user(provider: Provider, idp: IdentityProvider) -> None:
    url, begun = provider.start(wall_ms())
    answer = walk(url)
    word = provider.redeem(begun, answer["code"], wall_ms(), answer["iss"])
    assert word.refresh
    assert word.refresh not in repr(word)
    word = provider.renew(word.refresh, "alice", wall_ms())
    assert word.refresh
    idp.user("alice", disabled=True)
    with pytest.raises(Revoked):
        provider.renew(word.refresh, "alice", wall_ms())
    idp.user("alice", "guard-reviewers")


def test_a_wrong_secret_is_our_problem_and_revokes_nobody(idp: IdentityProvider) -> None:
    wrong = Provider(OidcProvider.of(idp.table(client_secret="wrong")), CALLBACK)
    with pytest.raises(GuardUnavailable, match="client_id and secret"):
        wrong.renew("whatever", "alice", wall_ms())


def test_a_provider_that_does_not_answer_is_not_asked_at_every_turn(clock: list[float]) -> None:
    published = Published({"issuer": "https://evil.example"})
    silent = Provider(OidcProvider("corp", published.url, "llmguard"), CALLBACK, clock=lambda: clock[0])
    try:
        for _ in range(3):
            with pytest.raises(GuardUnavailable):
                silent.start(wall_ms())
        assert published.asked == 1
        clock[0] += oidc.PAUSE
        with pytest.raises(GuardUnavailable):
            silent.start(wall_ms())
        assert published.asked == 2
        assert silent.end_session() is None
    finally:
        published.close()


def test_a_discovery_that_points_elsewhere_is_not_followed(clock: list[float]) -> None:
    published = Published({})
    published.document = {"issuer": published.url, "authorization_endpoint": "http://169.254.169.254/latest"}
    led = Provider(OidcProvider("corp", published.url, "llmguard"), CALLBACK, clock=lambda: clock[0])
    try:
        with pytest.raises(GuardUnavailable, match="authorization_endpoint"):
            led.start(wall_ms())
    finally:
        published.close()
