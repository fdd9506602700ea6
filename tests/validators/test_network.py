from __future__ import annotations

import pytest

from llmguard.validators import network as v


@pytest.mark.parametrize(
    ("address", "verdict"),
    [
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("255.255.255.0", False),
        ("203.0.113.7", None),
        ("2001:db8::1", True),
        ("::1", False),
        ("1.2.3", False),
    ],
)
def test_address_must_name_a_host(address: str, verdict: bool | None) -> None:
    assert v.ip_address(address) is verdict
