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


@pytest.mark.parametrize("address", ["684d:1111:222:3333:4444:5555:6:77", "fe80::1ff:fe23:4567:890a"])
def test_written_out_addresses_are_proved(address: str) -> None:
    assert v.ip_address(address) is True


def test_eight_octets_are_no_address() -> None:
    assert v.ip_address("aa:bb:cc:dd:ee:ff:00:11") is False


def test_device_number_of_its_length_is_proved_by_luhn() -> None:
    assert v.device("490154203237518") is True
    assert v.device("490154203237519") is None
    assert v.device("000000000000000") is False


def test_plus_code_has_letters() -> None:
    assert v.place_code("8FVC9G8F+6X") is None
    assert v.place_code("22222222+22") is False


def test_pages_of_a_site_are_no_profiles() -> None:
    assert v.profile("share_button") is False
    assert v.profile("jane_roe7") is None
