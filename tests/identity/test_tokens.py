"""Access tokens: what gets in, what does not, and who is accountable for it."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import RSAKey

from llmguard.config import TokenIssuer
from llmguard.errors import ConfigError, GuardUnavailable, Unauthenticated
from llmguard.identity import jose, tokens
from llmguard.identity.jose import KeySource, KeyWanted
from llmguard.identity.tokens import Tokens
from llmguard.model import Principal
from tests.desks import ANN, BO, TENANT, Desk
from tests.issuers import AUDIENCE, CLIENT, Issuer, part


@pytest.fixture(scope="module")
def shared() -> Iterator[Issuer]:
    with Issuer() as running:
        yield running


@pytest.fixture
def issuer(shared: Issuer) -> Issuer:
    shared.asked.clear()
    shared.published = ["first"]
    shared.status, shared.document, shared.redirect = 200, None, None
    return shared


@pytest.fixture
def attacker() -> Iterator[Issuer]:
    with Issuer() as running:
        yield running


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    made.put(ANN, "reviewers")
    yield made
    made.store.close()


def configured(issuer: Issuer, **more: Any) -> TokenIssuer:
    return TokenIssuer(**{"issuer": issuer.url, "audience": AUDIENCE, "clients": {CLIENT: ANN, "app": ""}, **more})


def now() -> int:
    return int(time.time() * 1000)


def verified(known: Tokens, token: str, at: int | None = None) -> tokens.Bearer:
    """As the data plane does it: keys are fetched where they are wanted."""
    try:
        return known.verified(token, at or now())
    except KeyWanted as wanted:
        wanted.keys.refresh().result(10)
        try:
            return known.verified(token, at or now())
        except KeyWanted:
            raise wanted.refusal() from None


def who(desk: Desk, issuer: Issuer, token: str, **more: Any) -> Principal:
    bearer = verified(Tokens([configured(issuer, **more)]), token)
    return desk.store.read(lambda tx: tokens.principal(tx, desk.vault, TENANT, bearer))


# --------------------------------------------------------------------------- what gets in


@pytest.mark.parametrize(("kind", "algorithm"), [("RSA", "RS256"), ("RSA", "PS256"), ("EC", "ES256"), ("OKP", "EdDSA")])
def test_each_of_the_fixed_algorithms_gets_in_with_a_key_of_its_kind(
    issuer: Issuer, desk: Desk, kind: str, algorithm: str
) -> None:
    issuer.add("other", kind)
    principal = who(desk, issuer, issuer.token(key="other", header={"alg": algorithm}))
    assert (principal.kind, principal.name, principal.human, principal.tenant) == ("service", CLIENT, ANN, TENANT)


def test_a_token_is_looked_at_once_and_again_after_five_minutes(issuer: Issuer) -> None:
    known, token = Tokens([configured(issuer)]), issuer.token()
    assert verified(known, token) is verified(known, token)
    assert len(known) == 1
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]
    first = verified(known, token)
    assert known.verified(token, now() + tokens.REMEMBERED_MS + 1) is not first


def test_the_memory_of_tokens_is_bounded(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MAX_REMEMBERED", 3)
    known = Tokens([configured(issuer)])
    for n in range(6):
        verified(known, issuer.token(jti=str(n)))
    assert len(known) == 3


def test_an_issuer_that_does_not_mark_its_tokens_is_taken_where_the_configuration_says_so(
    issuer: Issuer, desk: Desk
) -> None:
    token = issuer.token(header={"typ": "JWT"})
    assert who(desk, issuer, token, types=("at+jwt", "jwt")).human == ANN
    with pytest.raises(Unauthenticated, match="typ"):
        who(desk, issuer, token)


# --------------------------------------------------------------------------- what does not

Forge = Callable[[Issuer, Issuer], str]


def claimed(**claims: Any) -> Forge:
    return lambda issuer, _: issuer.token(**claims)


def headed(**header: Any) -> Forge:
    return lambda issuer, _: issuer.token(header=header)


def unsigned(issuer: Issuer, _: Issuer) -> str:
    _, body, _ = issuer.token(header=None).split(".")
    return f"{part(json.dumps({'alg': 'none', 'typ': 'at+jwt'}).encode()).decode()}.{body}."


def hmac_with_the_public_key(issuer: Issuer, _: Issuer) -> str:
    head = part(json.dumps({"typ": "at+jwt", "alg": "HS256", "kid": "first"}).encode())
    signed = head + b"." + part(json.dumps(issuer.claims()).encode())
    mac = hmac.digest(issuer.keys["first"].as_pem(private=False), signed, "sha256")
    return (signed + b"." + part(mac)).decode()


def by_the_attacker(**header: Any) -> Forge:
    def forge(issuer: Issuer, attacker: Issuer) -> str:
        told = {"typ": "at+jwt", "alg": "RS256", "kid": "first"}
        told |= {name: value(attacker) for name, value in header.items()}
        return issuer.sign(told, issuer.claims(), attacker.keys["first"])

    return forge


def really_signed(**header: Any) -> Forge:
    return lambda issuer, attacker: issuer.token(header={name: value(attacker) for name, value in header.items()})


def twice(issuer: Issuer, _: Issuer) -> str:
    payload = json.dumps(issuer.claims()).encode()
    return issuer.sign(
        {"typ": "at+jwt", "alg": "RS256", "kid": "first"},
        payload[:-1] + b', "sub": "somebody-else"}',
        issuer.keys["first"],
    )


def chained(depth: int) -> dict[str, Any]:
    act: dict[str, Any] = {"sub": "agent"}
    for n in range(depth - 1):
        act = {"sub": f"agent-{n}", "act": act}
    return act


SOON = 10_000_000_000
FORGERIES: dict[str, Forge] = {
    "alg none": unsigned,
    "HS256 with the public key": hmac_with_the_public_key,
    "another algorithm of the library": headed(alg="RS512"),
    "wrong aud": claimed(aud="https://another.example"),
    "aud that contains ours": claimed(aud=AUDIENCE + ".attacker.example"),
    "no aud": claimed(aud=None),
    "aud is an object": claimed(aud={AUDIENCE: 1}),
    "another issuer": claimed(iss="https://attacker.example"),
    "no iss": claimed(iss=None),
    "a client that is not configured": claimed(client_id="stranger"),
    "no client": claimed(client_id=None),
    "azp and client_id of two clients": claimed(azp="app"),
    "azp of a stranger": claimed(client_id=None, azp="stranger"),
    "expired": claimed(exp=1_600_000_000),
    "never expires": claimed(exp=None),
    "exp is text": claimed(exp="2099-01-01"),
    "exp is true": claimed(exp=True),
    "exp is endless": claimed(exp=1e300),
    "nbf in the future": claimed(nbf=SOON, exp=SOON + 1),
    "iat in the future": claimed(iat=SOON, exp=SOON + 1),
    "no sub": claimed(sub=None),
    "sub with a line feed": claimed(sub="a\nb"),
    "an ID token by its nonce": claimed(nonce="n"),
    "an ID token by its at_hash": claimed(at_hash="h"),
    "typ of an ID token": headed(typ="JWT"),
    "no typ": headed(typ=None),
    "typ is a list": headed(typ=["at+jwt"]),
    "kid is a number": headed(kid=1),
    "signed by somebody else": by_the_attacker(),
    "jku": by_the_attacker(jku=lambda a: f"{a.url}/keys"),
    "x5u": by_the_attacker(x5u=lambda a: f"{a.url}/keys"),
    "jwk": by_the_attacker(jwk=lambda a: a.public("first")),
    "jku of the attacker, well signed": really_signed(jku=lambda a: f"{a.url}/keys"),
    "kid is an address": by_the_attacker(kid=lambda a: f"{a.url}/keys"),
    "crit": really_signed(crit=lambda _: ["exp"], exp=lambda _: 1),
    "b64": really_signed(crit=lambda _: ["b64"], b64=lambda _: False),
    "duplicate claims": twice,
    "one megabyte": claimed(padding="x" * 1_000_000),
    "act is text": claimed(act="agent"),
    "act without sub": claimed(act={"iss": "x"}),
    "act of another issuer": claimed(act={"sub": "agent", "iss": "https://attacker.example"}),
    "a long chain of act": claimed(act=chained(tokens.MAX_ACTORS + 1)),
    "a very deep chain of act": claimed(act=chained(200)),
    "claims are a list": lambda i, _: i.sign({"typ": "at+jwt", "alg": "RS256"}, b"[]", i.keys["first"]),
    "cut": lambda i, _: i.token()[:-1],
    "a letter after the signature": lambda i, _: i.token() + "A",
    "padding": lambda i, _: i.token() + "=",
    "two parts": lambda i, _: i.token().rpartition(".")[0],
    "four parts": lambda i, _: i.token() + ".x",
    "encrypted": lambda i, _: i.token() + ".x.y",
    "not base64": lambda i, _: "eyJ!!!.eyJ.x",
    "only dots": lambda i, _: "eyJ..",
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_token_does_not_get_in_and_its_address_is_never_asked(
    issuer: Issuer, attacker: Issuer, forge: Forge
) -> None:
    known = Tokens([configured(issuer)])
    token = forge(issuer, attacker)
    with pytest.raises(Unauthenticated) as refused:
        verified(known, token)
    assert not attacker.asked
    assert not len(known)
    assert token[:20] not in refused.value.message
    assert verified(known, issuer.token()).name == CLIENT


def test_a_changed_letter_of_a_token_is_noticed(issuer: Issuer) -> None:
    known, token = Tokens([configured(issuer)]), issuer.token()
    verified(known, token)
    for at in range(0, len(token), 41):
        other = "A" if token[at] != "A" else "B"
        with pytest.raises(Unauthenticated):
            verified(known, token[:at] + other + token[at + 1 :])


# --------------------------------------------------------------------------- keys


def test_a_token_without_a_key_id_gets_in_only_while_there_is_one_key(issuer: Issuer) -> None:
    known, token = Tokens([configured(issuer)]), issuer.token(header={"kid": None})
    assert verified(known, token)
    issuer.add("second")
    with pytest.raises(Unauthenticated, match="kid"):
        verified(Tokens([configured(issuer)]), token)


def test_rotated_keys_are_fetched_when_a_token_names_one_but_not_again_for_each_unknown_name(issuer: Issuer) -> None:
    clock = [1000.0]
    keys = KeySource(issuer.url, f"{issuer.url}/keys", clock=lambda: clock[0])
    expected = {"issuer": issuer.url, "audience": AUDIENCE, "now": now()}
    assert jose.verify_waiting(issuer.token(), keys, **expected)
    issuer.add("rotated")
    assert len(issuer.asked) == 1
    for _ in range(20):
        with pytest.raises(Unauthenticated, match="publish"):
            jose.verify_waiting(issuer.token(header={"kid": "made-up"}), keys, **expected)
    assert len(issuer.asked) == 1  # a moment after the last fetch
    clock[0] += jose.PAUSE
    assert jose.verify_waiting(issuer.token(key="rotated"), keys, **expected)
    assert len(issuer.asked) == 2


def test_a_key_that_its_issuer_withdraws_stops_to_count(issuer: Issuer) -> None:
    clock = [1000.0]
    keys = KeySource(issuer.url, clock=lambda: clock[0])
    issuer.add("second")
    expected = {"issuer": issuer.url, "audience": AUDIENCE, "now": now()}
    assert jose.verify_waiting(issuer.token(), keys, **expected)
    issuer.published = ["second"]
    clock[0] += jose.FRESH + 1
    assert jose.verify(issuer.token(), keys, **expected)  # while the keys are fetched beside it
    keys.refresh().result(10)
    with pytest.raises(Unauthenticated, match="publish"):
        jose.verify_waiting(issuer.token(), keys, **expected)


def test_while_the_issuer_is_down_known_keys_count_for_a_day_and_unknown_ones_are_no_fault_of_the_caller(
    issuer: Issuer,
) -> None:
    clock = [1000.0]
    keys = KeySource(issuer.url, clock=lambda: clock[0])
    expected = {"issuer": issuer.url, "audience": AUDIENCE, "now": now()}
    token = issuer.token()
    assert jose.verify_waiting(token, keys, **expected)
    issuer.status = 500
    clock[0] += 86400
    assert jose.verify_waiting(token, keys, **expected)
    keys.refresh().result(10)
    clock[0] += jose.PAUSE
    with pytest.raises(GuardUnavailable):
        jose.verify_waiting(issuer.token(header={"kid": "made-up"}), keys, **expected)
    clock[0] += jose.PAUSE
    with pytest.raises(GuardUnavailable):
        jose.verify_waiting(token, keys, **expected)


BROKEN: dict[str, Callable[[Issuer, Issuer], None]] = {
    "no JSON": lambda i, _: setattr(i, "document", b"<html>"),
    "deep JSON": lambda i, _: setattr(i, "document", b"[" * 100_000),
    "no keys": lambda i, _: setattr(i, "document", b'{"keys": 1}'),
    "endless": lambda i, _: setattr(i, "document", b'{"keys": ["' + b"x" * jose.MAX_DOCUMENT + b'"]}'),
    "a redirect": lambda i, a: setattr(i, "redirect", f"{a.url}/keys"),
    "an error": lambda i, _: setattr(i, "status", 404),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_keys_that_cannot_be_had_let_nobody_in_and_redirects_are_not_followed(
    issuer: Issuer, attacker: Issuer, broken: Callable[[Issuer, Issuer], None]
) -> None:
    broken(issuer, attacker)
    with pytest.raises(GuardUnavailable):
        verified(Tokens([configured(issuer)]), issuer.token())
    assert not attacker.asked


def test_discovery_is_believed_about_the_issuers_own_host_only(issuer: Issuer, attacker: Issuer) -> None:
    for document in (
        {"issuer": issuer.url, "jwks_uri": f"{attacker.url}/keys"},
        {"issuer": attacker.url, "jwks_uri": f"{issuer.url}/keys"},
    ):
        issuer.document = json.dumps(document).encode()
        with pytest.raises(GuardUnavailable):
            verified(Tokens([configured(issuer)]), issuer.token())
    assert not attacker.asked


def test_keys_that_are_too_weak_secret_or_meant_for_something_else_do_not_count(issuer: Issuer) -> None:
    good = issuer.public("first")
    small = RSAKey.import_key(issuer.keys["first"].as_dict(private=False)).as_dict(private=False)
    for entry in (
        {**good, "use": "enc"},
        {**good, "alg": "RS512"},
        {**good, "key_ops": ["encrypt"]},
        {**small, "kid": "first", "n": "AQAB"},
        {"kty": "oct", "kid": "first", "k": "c2VjcmV0"},
        {**good, "n": 5},
        "a key",
    ):
        issuer.document = json.dumps({"issuer": issuer.url, "jwks_uri": f"{issuer.url}/k", "keys": [entry]}).encode()
        with pytest.raises(Unauthenticated, match="publish"):
            verified(Tokens([configured(issuer)]), issuer.token())


# --------------------------------------------------------------------------- who is accountable


@pytest.mark.parametrize(
    ("claims", "kind", "human"),
    [
        ({}, "service", ANN),
        ({"client_id": "app"}, "service", None),
        ({"client_id": None, "azp": CLIENT}, "service", ANN),
        ({"client_id": "app", "sub": "u1", "email": ANN, "email_verified": True}, "human", ANN),
        ({"client_id": "app", "sub": "u1", "email": "ann+x@example.com", "email_verified": True}, "human", ANN),
        ({"client_id": "app", "sub": "u1", "email": ANN.upper(), "email_verified": True}, "human", ANN),
        ({"client_id": "app", "sub": "u1", "email": ANN}, "service", None),
        ({"client_id": "app", "sub": "u1", "email": ANN, "email_verified": "true"}, "service", None),
        # the client's own human does not answer for what it does for somebody else
        ({"sub": "u2", "email": BO, "email_verified": True}, "human", None),
        ({"sub": "u2", "email": BO}, "service", None),
        ({"sub": "u2", "email": "аnn@example.com", "email_verified": True}, "service", None),
        ({"sub": "u1", "email": ANN, "email_verified": True, "act": {"sub": "agent-7"}}, "agent", ANN),
        ({"sub": "u2", "act": {"sub": "agent-7"}}, "agent", None),
        ({"sub": "u1", "email": ANN, "email_verified": True, "act": chained(3)}, "agent", ANN),
    ],
)
def test_who_answers_for_a_token(
    issuer: Issuer, desk: Desk, claims: dict[str, Any], kind: str, human: str | None
) -> None:
    principal = who(desk, issuer, issuer.token(**claims))
    assert (principal.kind, principal.human) == (kind, human)


def test_an_agent_is_named_by_who_acts_now_and_not_by_who_acted_before(issuer: Issuer, desk: Desk) -> None:
    one = who(desk, issuer, issuer.token(sub="u", act={"sub": "now", "act": {"sub": "before"}}))
    other = who(desk, issuer, issuer.token(sub="u", act={"sub": "before"}))
    assert (one.name, other.name) == ("now", "before")
    assert one.id != other.id != who(desk, issuer, issuer.token(sub="u")).id


def test_a_person_who_is_deactivated_takes_effect_on_a_token_that_is_known_already(issuer: Issuer, desk: Desk) -> None:
    bearer = verified(Tokens([configured(issuer)]), issuer.token())
    desk.put(ANN, active=False)
    with pytest.raises(Unauthenticated, match="not active"):
        desk.store.read(lambda tx: tokens.principal(tx, desk.vault, TENANT, bearer))


def test_a_person_who_was_edited_in_the_database_answers_for_nothing(issuer: Issuer, desk: Desk) -> None:
    bearer = verified(Tokens([configured(issuer)]), issuer.token())
    desk.edit("UPDATE people SET groups = '[]'")
    with pytest.raises(GuardUnavailable, match="altered"):
        desk.store.read(lambda tx: tokens.principal(tx, desk.vault, TENANT, bearer))


def test_two_issuers_do_not_share_names(issuer: Issuer, attacker: Issuer, desk: Desk) -> None:
    known = Tokens([configured(issuer), configured(attacker)])
    assert verified(known, issuer.token()).id != verified(known, attacker.token()).id
    with pytest.raises(Unauthenticated):
        verified(known, attacker.token(iss=issuer.url))


# --------------------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": "http://idp.example"},
        {"issuer": "ftp://127.0.0.1"},
        {"issuer": "https://a:b@idp.example"},
        {"jwks_url": "http://idp.example/keys"},
        {"algorithms": ("HS256",)},
        {"algorithms": ("none",)},
        {"algorithms": ()},
        {"audience": ""},
        {"clients": {}},
        {"clients": {AUDIENCE: ""}},
        {"types": ()},
    ],
)
def test_a_configuration_that_would_let_anybody_in_is_refused(wrong: dict[str, Any]) -> None:
    good = TokenIssuer("https://idp.example", AUDIENCE, {CLIENT: ""})
    with pytest.raises(ConfigError):
        replace(good, **wrong)


@pytest.mark.parametrize(
    "table",
    [
        "text",
        {"issuer": "https://idp.example", "audience": "a"},
        {"issuer": "https://idp.example", "audience": "a", "clients": ["x"]},
        {"issuer": "https://idp.example", "audience": "a", "clients": {"x": 1}},
        {"issuer": "https://idp.example", "audience": "a", "clients": {"x": ""}, "jku": "https://x"},
        {"issuer": 1, "audience": "a", "clients": {"x": ""}},
    ],
)
def test_a_table_of_the_file_is_read_strictly(table: Any) -> None:
    with pytest.raises(ConfigError, match="issuer"):
        TokenIssuer.of(table)
