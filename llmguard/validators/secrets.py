"""Secrets: what a machine drew or a parser understands: tokens, keys, credentials in a header or a URL.

Invariant: True means proved by a checksum or a parser, False drops the finding, None cannot say. Each is linear in the
length of its value, and raises nothing on any text.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from types import MappingProxyType

from llmguard.validators.base import Validator
from llmguard.validators.placeholders import stands_for_nothing
from llmguard.validators.shape import counted, entropy, machine_made


def url_password(value: str) -> bool | None:
    """The password of a URL's userinfo, proved by the URL around it. RFC 3986 §3.2.1."""
    return not stands_for_nothing(value)


_BETWEEN = re.compile(r"[._:/\\-]+")
_WORD = re.compile(r"^[A-Za-z]*\d{0,2}$")
_LOCATION = re.compile(
    r"://|^(?:self|this|cls|super|window|document|config|settings|req|request|res|process|app|ctx|os|sys)\.|^/[\w.-]+/|\.(?:js|ts|py|json|ya?ml|pem|key|txt|html?|css|png|svg|com|org|net|io)$",
    re.I,
)
_MIN_LETTERS = 12
"""Characters. Letters alone, without a digit, say less: fewer than these are no token."""


def _identifier(value: str) -> bool:
    """Words, each with at most two digits behind it, joined by separators: a name, a path, an attribute."""
    return all(_WORD.match(piece) for piece in _BETWEEN.split(value))


def random_token(value: str) -> bool | None:
    """What a machine made: long enough, varied enough, neither words nor an identifier nor a path. Shannon 1948."""
    if not 10 <= len(value) <= 4096 or stands_for_nothing(value) or _LOCATION.search(value):
        return False
    digits, letters = any(map(str.isdigit, value)), any(map(str.isalpha, value))
    if not letters or (not digits and len(value) < _MIN_LETTERS):
        return False
    if (digits and _identifier(value) and not _mixed(value)) or not machine_made(value):
        return False
    return None if entropy(value) >= (2.8 if len(value) < 20 else 3.0) else False


def _mixed(value: str) -> bool:
    return value.isalnum() and len(value) >= 16


def told_token(value: str) -> bool | None:
    """A token in prose or on a command line, near its keyword: long, with digits, not the name of a thing."""
    return random_token(value) if any(map(str.isdigit, value)) and len(value) >= 16 else False


def registry_token(value: str) -> bool | None:
    """What a registry takes for a login: base64 of ``user:password``, or a token."""
    return http_basic(value) or random_token(value)


def digits_token(value: str) -> bool | None:
    """Digits alone under a name that says secret: varied, no counting, no round number."""
    if counted(value) or _REPEATS.search(value):
        return False
    return None if entropy(value) >= 2.4 else False


_REPEATS = re.compile(r"0{5}|9{5}")


def vendor_key(value: str) -> bool | None:
    """The part behind a vendor's prefix: no documentation example, no run of one character."""
    return False if stands_for_nothing(value) or entropy(value[-20:]) < 2.0 else None


def jwt(value: str) -> bool | None:
    """Three parts, five if encrypted, whose first decodes to a JSON object with ``alg``. RFC 7515 §3, RFC 7516 §3."""
    parts = value.split(".")
    if len(parts) < 3:
        return False
    try:
        header = json.loads(base64.urlsafe_b64decode(parts[0] + "=" * (-len(parts[0]) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return False
    return isinstance(header, dict) and "alg" in header


_KEY_MATERIAL = re.compile(r"[A-Za-z0-9+/]{20}")


def private_key(value: str) -> bool | None:
    """A PEM or PGP block that holds base64 behind its header, not only words about one. RFC 7468, RFC 9580 §6."""
    body = value.split("-----", 2)[-1]
    return bool(_KEY_MATERIAL.search(body)) and not re.search(r"\*{3}|\.{3}|x{16}", body)


def http_basic(value: str) -> bool | None:
    """Base64 of ``user:password``. RFC 7617 §2."""
    try:
        decoded = base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
    except (ValueError, binascii.Error):
        return False
    return b":" in decoded and len(decoded) > 3


_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGITS58 = {c: i for i, c in enumerate(_BASE58)}
_LONGEST58 = 128


def base58_key(value: str) -> bool | None:
    """A private key of a wallet with its checksum: WIF and BIP 32 extended keys, base58check."""
    if len(value) > _LONGEST58 or not all(c in _DIGITS58 for c in value):
        return False
    number = 0
    for c in value:
        number = number * 58 + _DIGITS58[c]
    data = number.to_bytes((number.bit_length() + 7) // 8)
    return hashlib.sha256(hashlib.sha256(data[:-4]).digest()).digest()[:4] == data[-4:]


_SETTING = re.compile(r"""[\w.-]["']?[ \t]*:[ \t]*(?:[|>][+-]?\s*)?["']?([^\s"'#][^"'\n]*)""")


def manifest(value: str) -> bool | None:
    """Settings of a Secret: one at least has a value, which is neither a template nor a placeholder."""
    return None if any(not stands_for_nothing(said) for said in _SETTING.findall(value)) else False


_WORDS = re.compile(r"[a-z]+")
_SEED_SIZES = (12, 15, 18, 21, 24)


def seed_phrase(value: str) -> bool | None:
    """12 to 24 words of which few repeat, as a wallet shows them for its seed. BIP 39."""
    words = _WORDS.findall(value)
    return None if len(words) in _SEED_SIZES and 3 * len(set(words)) >= 2 * len(words) else False


VALIDATORS: Mapping[str, Validator] = MappingProxyType(
    {
        "url_password": url_password,
        "random_token": random_token,
        "digits_token": digits_token,
        "told_token": told_token,
        "registry_token": registry_token,
        "vendor_key": vendor_key,
        "jwt": jwt,
        "private_key": private_key,
        "http_basic": http_basic,
        "base58_key": base58_key,
        "manifest": manifest,
        "seed_phrase": seed_phrase,
    }
)
"""Validators of this module, by the names that catalogue entries use."""
