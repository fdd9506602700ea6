"""Addresses of wallets: what each currency's checksum says.

Invariant: True means proved by a checksum or a parser, False drops the finding, None cannot say. Each is linear in the
length of its value, and raises nothing on any text.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType

from llmguard.validators.base import Validator

_BITCOIN = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_RIPPLE = "rpshnaf39wBUDNEGHJKLM4PQRST7VWXYZ2bcdeCg65jkm8oFqi1tuvAxyz"
_PLACE = {c: i for i, c in enumerate(_BITCOIN)}
_RIPPLE_PLACE = {c: i for i, c in enumerate(_RIPPLE)}
_MAX = 128
"""Characters. No address is longer."""


def _base58(text: str, place: Mapping[str, int]) -> bytes | None:
    """What ``text`` stands for, leading zeros included; None if a character is not of the alphabet."""
    number = 0
    for c in text:
        at = place.get(c)
        if at is None:
            return None
        number = number * 58 + at
    zero = next(iter(place))
    zeros = len(text) - len(text.lstrip(zero))
    return b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")


_KNOWN = "00 05 6f c4 30 32 1e 16 4c 10 41 1cb8 1cbd 17 24"
_VERSIONS = frozenset(map(bytes.fromhex, _KNOWN.split()))
"""Version bytes: Bitcoin and its test network, Litecoin, Dogecoin, Dash, Tron, Zcash, Ravencoin and others."""


def _checked(payload: bytes | None) -> bool:
    """Base58Check: a version, twenty bytes, four of a double SHA-256."""
    if payload is None or len(payload) not in (25, 26) or payload[:-24] not in _VERSIONS:
        return False
    return sha256(sha256(payload[:-4]).digest()).digest()[:4] == payload[-4:]


_CHARSET = {c: i for i, c in enumerate("qpzry9x8gf2tvdw0s3jn54khce6mua7l")}
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def _bech32(text: str) -> bool:
    """The checksum of BIP 173 or BIP 350."""
    prefix, _, data = text.lower().rpartition("1")
    check = 1
    for value in (*(ord(c) >> 5 for c in prefix), 0, *(ord(c) & 31 for c in prefix), *map(_CHARSET.get, data)):
        if value is None:
            return False
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for i, generator in enumerate(_GENERATORS):
            if top >> i & 1:
                check ^= generator
    return len(data) > 6 and check in (1, 0x2BC830A3)


_BLOCKS = {11: 8, 7: 5}


def _monero(text: str) -> bool:
    """Base58 in blocks of eleven characters, each of at most eight bytes. Monero, cryptonote base58."""
    for i in range(0, len(text), 11):
        block = _base58(text[i : i + 11], _PLACE)
        size = _BLOCKS.get(len(text[i : i + 11]))
        if block is None or size is None:
            return False
        number = int.from_bytes(block, "big")
        if number.bit_length() > 8 * size:
            return False
    return True


_BASE32 = {c: i for i, c in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")}


def _stellar(text: str) -> bool:
    """Base32 of a version, a key and its CRC-16. SEP-0023."""
    number = 0
    for c in text:
        number = number << 5 | _BASE32.get(c, 0)
    payload = number.to_bytes(35, "big")
    return payload[0] == 6 << 3 and crc_hqx(payload[:-2], 0) == int.from_bytes(payload[-2:], "little")


_CHAINS = ("bc1", "tb1", "ltc1", "addr1", "stake1", "addr_test1", "cosmos1", "osmo1")


def wallet(value: str) -> bool | None:
    """A wallet's address proved by its currency's checksum. Of Ethereum's it cannot say: ERC-55 sums with Keccak, which
    takes half a millisecond in Python.
    """
    if len(value) > _MAX or not value.isascii():
        return False
    if value.startswith("0x"):
        return None if len(set(value[2:].lower())) >= 6 else False
    if value.lower().startswith(_CHAINS):
        return _bech32(value)
    if len(value) == 56:
        return _stellar(value)
    return _checked(_base58(value, _PLACE))


def wallet_shape(value: str) -> bool | None:
    """Ethereum's address in both cases, as ERC-55 writes it, or Monero's: what nothing else looks like."""
    if value.startswith("0x"):
        letters = [c for c in value[2:] if c.isalpha()]
        mixed = sum(c.isupper() for c in letters)
        return None if 3 <= mixed <= len(letters) - 3 else False
    return None if value.isascii() and _monero(value) else False


def wallet_named(value: str) -> bool | None:
    """XRP's address by its checksum; Solana's, base58 of 32 bytes in both cases with digits, has none."""
    if len(value) > _MAX:
        return False
    if value[:1] == "r" and len(value) < 36:
        return _checked(_base58(value, _RIPPLE_PLACE))
    payload = _base58(value, _PLACE)
    mixed = value.lower() != value != value.upper() and any(c.isdigit() for c in value)
    return None if mixed and payload is not None and len(payload) == 32 else False


VALIDATORS: Mapping[str, Validator] = MappingProxyType(
    {"wallet": wallet, "wallet_shape": wallet_shape, "wallet_named": wallet_named}
)
"""Validators of this module, by the names that catalogue entries use."""
