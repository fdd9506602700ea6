"""Addresses of machines.

Invariant: True means proved by a checksum or a parser, False drops the finding, None cannot say. Each is linear in the
length of its value, and raises nothing on any text.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from types import MappingProxyType

from llmguard.validators.base import Validator


def ip_address(value: str) -> bool | None:
    """An address that names a host: not loopback, unspecified, broadcast or a netmask. RFC 791, RFC 4291, RFC 6890."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False
    if address.is_loopback or address.is_unspecified:
        return False
    if address.version == 4:
        return False if value.startswith(("255.", "0.")) else None
    return True


def mac_address(value: str) -> bool | None:
    """A station's address: not all zeros or ones, and not a row of clock times. IEEE 802-2014 §8.1."""
    digits = re.sub("[^0-9a-f]", "", value.lower())
    if len(set(digits)) < 3 or (digits.isdigit() and ":" in value and len(set(digits)) < 5):
        return False
    return None


VALIDATORS: Mapping[str, Validator] = MappingProxyType(
    {
        "ip_address": ip_address,
        "mac_address": mac_address,
    }
)
"""Validators of this module, by the names that catalogue entries use."""
