from __future__ import annotations

import pytest

from llmguard.validators import passwords
from llmguard.validators import placeholders as v
from llmguard.validators.secrets import url_password


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
        "{password}",
        "%s",
        "!Ref Secret",
        "op://vault/item",
        "abc-####",
        "your_api_key",
        "example-key",
        "aaaaaaa",
        "0000-0000",
        "%(password)s",
        "[PASSWORD_k7q2m4x9ab]",
        "Passwort",
        "contraseña",
        "",
        "...",
        "abcdef..",
    ],
)
def test_placeholder_is_not_a_secret(value: str) -> None:
    assert v.placeholder(value) is False
    assert passwords.password(value) is False
    assert url_password(value) is False


@pytest.mark.parametrize("value", ["hunter2", "letmein", "{ZqL5kVrX1n8tA2}", "P$ssw0rd", "100%sure", "a-b_c.d9"])
def test_what_may_be_a_value_is_no_placeholder(value: str) -> None:
    assert v.placeholder(value) is None
