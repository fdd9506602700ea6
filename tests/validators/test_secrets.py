from __future__ import annotations

import random
import string

import pytest

from llmguard.validators import secrets as v


def drawn(seed: int, length: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(random.Random(seed).choices(alphabet, k=length))


@pytest.mark.parametrize(
    "value",
    [
        "get_token_from_store",
        "request.headers",
        "https://x.org/a1b2c3",
        "primary-key-name",
        "aaaaaaaaaaaaaaa1",
        "12345678901234",
        "decodeBase64url",
        "standard_b64encode",
        "features.openid4vci.enabled",
        "rodrimati1992",
        "self._lib.NID_pbe_WithSHA1",
        "ECDH-ES+A128KW",
        "sha256-n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=",
        "build-cache-linux-x64-v3",
        "/usr/lib/x86_64-linux-gnu/libc.so.6",
    ],
)
def test_words_paths_and_numbers_are_not_random_tokens(value: str) -> None:
    assert v.random_token(value) is False


@pytest.mark.parametrize("length", [16, 24, 40])
@pytest.mark.parametrize(
    "alphabet", [string.ascii_letters + string.digits, string.ascii_lowercase + string.digits, "0123456789abcdef"]
)
def test_what_was_drawn_is_a_random_token(alphabet: str, length: int) -> None:
    missed = sum(v.random_token(drawn(seed, length, alphabet)) is False for seed in range(200))
    assert missed <= 8


def test_a_token_that_counts_is_an_example() -> None:
    assert v.random_token("abcd" + "123456789012" + "x9Yq") is False
    assert v.random_token("f0" + drawn(7, 24)) is None


def test_digits_alone_are_a_token_unless_round_or_counted() -> None:
    assert v.digits_token("859061647764011292") is None
    assert v.digits_token("1000000000000000") is False
    assert v.digits_token("1234567890123456") is False


def test_jwt_header_must_decode() -> None:
    assert v.jwt("eyJhbGciOiJIUzI1NiJ9.e30.abc") is True
    assert v.jwt("eyJmb28iOiJiYXIifQ.e30.abc") is False
    assert v.jwt("eyJhbGciOiJIUzI1NiJ9.e30") is False
    assert v.jwt("W10.e30.abc") is False


def test_key_block_needs_key_material() -> None:
    assert v.private_key("-----BEGIN PRIVATE KEY-----\n" + "aB3/" * 16 + "\n-----END PRIVATE KEY-----") is True
    assert v.private_key("-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----") is False


def test_base58_key_needs_its_checksum() -> None:
    assert v.base58_key("5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ") is True
    assert v.base58_key("5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTK") is False
    assert v.base58_key("5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvy0l") is False


def test_seed_phrase_has_as_many_words_as_wallets_show() -> None:
    words = ["legal", "winner", "thank", "year", "wave", "sausage", "worth", "useful", "slight", "cable", "orange"]
    assert v.seed_phrase(" ".join([*words, "yellow"])) is None
    assert v.seed_phrase(" ".join(words)) is False
    assert v.seed_phrase(" ".join(["the"] * 12)) is False
