"""Addresses of machines and devices.

Invariant: True means proved by a checksum or a parser, False drops the finding, None cannot say. Each is linear in the
length of its value, and raises nothing on any text.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from types import MappingProxyType

from llmguard.validators.base import Validator
from llmguard.validators.financial import luhn_sum

_NOBODY = ("127.", "255.", "0.")
_OCTETS = re.compile(r"(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}", re.ASCII)


def ip_address(value: str) -> bool | None:
    """An address that names a host: not loopback, unspecified, broadcast or a netmask. RFC 791, RFC 4291, RFC 6890."""
    if ":" not in value:
        if value.startswith(_NOBODY) or value.endswith(".0.0.0"):
            return False
        return None if _OCTETS.fullmatch(value) else False
    try:
        address = ipaddress.IPv6Address(value)
    except ValueError:
        return False
    if address.is_loopback or address.is_unspecified or value.lower().startswith("ffff:ffff"):  # or a netmask
        return False
    pairs = max(map(len, value.split(":"))) < 3  # eight octets of something else
    return not pairs


def mac_address(value: str) -> bool | None:
    """A station's address: not all zeros or ones, and not a row of clock times. IEEE 802-2014 §8.1."""
    digits = re.sub("[^0-9a-f]", "", value.lower())
    if len(set(digits)) < 3 or (digits.isdigit() and ("." in value or len(set(digits)) < 5)):
        return False
    return None


def device(value: str) -> bool | None:
    """A number that a word called IMEI, ICCID or the like: Luhn proves it at their lengths. 3GPP TS 23.003, E.118."""
    digits = "".join(c for c in value if c.isascii() and c.isdigit())
    if len(set(digits)) < 3:
        return False
    return True if len(digits) in (15, 19, 20) and luhn_sum(digits) % 10 == 0 else None


def place_code(value: str) -> bool | None:
    """A plus code has letters: without, it is a sum. Three words cannot be said."""
    return None if value.startswith("/") or not value.replace("+", "").isdigit() else False


_PAGES = frozenset({"share_button", "home_timeline", "privacy_policy", "terms_of_service", "share.php", "sharer.php"})


def profile(value: str) -> bool | None:
    """A person's page on a social site, no page of the site itself."""
    return False if value.lower() in _PAGES else None


VALIDATORS: Mapping[str, Validator] = MappingProxyType(
    {
        "ip_address": ip_address,
        "mac_address": mac_address,
        "device": device,
        "place_code": place_code,
        "profile": profile,
    }
)
"""Validators of this module, by the names that catalogue entries use."""
