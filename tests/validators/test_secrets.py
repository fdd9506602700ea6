from __future__ import annotations

import pytest

from llmguard.validators import secrets as v


@pytest.mark.parametrize(
    "value",
    [
        "changeme",
        "xxxxxxxx",
        "<your-key>",
        "${DB_PASSWORD}",
        "$SECRET",
        'os.environ["X"]',
        "process.env.TOKEN",
        "None",
        "true",
        "null",
        "********",
        "{{ secret }}",
        "your_api_key",
        "example-key",
        "aaaaaaa",
        "%(password)s",
        "[PASSWORD_k7q2m4x9ab]",
        "",
        "...",
    ],
)
def test_placeholder_is_not_a_secret(value: str) -> None:
    assert v.placeholder(value) is False
    assert v.password(value) is False
    assert v.url_password(value) is False


@pytest.mark.parametrize("value", ["hunter2", "letmein", "correct horse battery staple", "it's 5pm"])
def test_guessable_password_is_still_one(value: str) -> None:
    assert v.password(value) is None


@pytest.mark.parametrize(
    "value",
    [
        "get_token_from_store",
        "request.headers",
        "https://x.org/a1b2c3",
        "primary-key-name",
        "aaaaaaaaaaaaaaa1",
        "12345678901234",
    ],
)
def test_words_paths_and_numbers_are_not_random_tokens(value: str) -> None:
    assert v.random_token(value) is False


def test_jwt_header_must_decode() -> None:
    assert v.jwt("eyJhbGciOiJIUzI1NiJ9.e30.abc") is True
    assert v.jwt("eyJmb28iOiJiYXIifQ.e30.abc") is False
    assert v.jwt("eyJhbGciOiJIUzI1NiJ9.e30") is False
    assert v.jwt("W10.e30.abc") is False


def test_key_block_needs_key_material() -> None:
    assert v.private_key("-----BEGIN PRIVATE KEY-----\n" + "aB3/" * 16 + "\n-----END PRIVATE KEY-----") is True
    assert v.private_key("-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----") is False


# ------------------------------------------------------------------ numbers of people


def test_password_told_in_a_sentence_is_no_plain_word() -> None:
    assert v.password_said("Sommer2024!") is None
    assert v.password_said("wrong") is False
    assert v.password_said("never-ending") is False
