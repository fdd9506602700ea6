from __future__ import annotations

import pytest

from llmguard.validators import passwords as v


@pytest.mark.parametrize("value", ["hunter2", "letmein", "correct horse battery staple", "it's 5pm", "Winter!24"])
def test_guessable_password_is_still_one(value: str) -> None:
    assert v.password(value) is None


@pytest.mark.parametrize(
    "value",
    [
        "user_password",
        "PasswordInput",
        "#password",
        "Show Password",
        "Forgot your password?",
        "Mot de passe",
        "请输入密码",
        "/run/secrets/db",
        "https://example.org/reset",
        "^(?=.*[A-Z])",
        "%s:%s",
        "ab",
        "x" * 300,
    ],
)
def test_field_names_labels_paths_and_patterns_are_no_passwords(value: str) -> None:
    assert v.password(value) is False


@pytest.mark.parametrize("value", ["get_password()", "self.password", "user_token", "getPassword", "str,", "@Value"])
def test_code_is_no_literal(value: str) -> None:
    assert v.password_literal(value) is False


def test_bare_password_needs_a_digit_or_a_symbol() -> None:
    assert v.password_bare("letmein") is False
    assert v.password_bare("letmein7") is None
    assert v.password_bare("482913") is None


def test_password_told_in_a_sentence_is_no_plain_word() -> None:
    assert v.password_said("Sommer2024!") is None
    assert v.password_said("letmein") is None
    assert v.password_said("wrong") is False
    assert v.password_said("never-ending") is False


def test_code_has_digits_and_is_no_span_of_years() -> None:
    assert v.code("4821") is None
    assert v.code("2019-2024") is False
    assert v.code("SOON") is False
