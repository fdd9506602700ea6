"""Validators: checksums and formats by name, pure functions of the matched text.

Owns: what a value must satisfy beyond its pattern, each with its source. Never does: searching, I/O, keeping a value.
Invariant: True means proved by a checksum or a parser, False drops the finding, None cannot say. Each is linear in the
length of its value, and raises nothing on any text.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType

Validator = Callable[[str], bool | None]

_DIGITS = re.compile(r"[^0-9]")

# --------------------------------------------------------------------------- financial

_ISSUERS: tuple[tuple[int, int, frozenset[int]], ...] = tuple(
    (low, high, frozenset(lengths))
    for low, high, lengths in (
        (400000, 499999, (13, 16, 19)),  # Visa
        (510000, 559999, (16,)),  # Mastercard
        (222100, 272099, (16,)),  # Mastercard, second range
        (220000, 220499, (16, 17, 18, 19)),  # Mir
        (340000, 349999, (15,)),  # American Express
        (370000, 379999, (15,)),
        (300000, 305999, (14, 16)),  # Diners Club
        (309500, 309599, (14, 16)),
        (360000, 369999, (14, 16)),
        (380000, 399999, (14, 16)),
        (601100, 601199, (16, 19)),  # Discover
        (622126, 622925, (16, 17, 18, 19)),
        (644000, 659999, (16, 19)),
        (352800, 358999, (16, 17, 18, 19)),  # JCB
        (620000, 629999, (16, 17, 18, 19)),  # UnionPay
        (810000, 817199, (16, 17, 18, 19)),
        (500000, 509999, (13, 14, 15, 16, 17, 18, 19)),  # Maestro, Dankort, RuPay, Elo
        (560000, 589999, (13, 14, 15, 16, 17, 18, 19)),  # Maestro
        (630000, 639999, (16, 17, 18, 19)),
        (670000, 679999, (13, 14, 15, 16, 17, 18, 19)),
        (100000, 199999, (15,)),  # UATP
    )
)
"""First six digits (inclusive) and lengths of the card schemes. ISO/IEC 7812-1; the schemes' published ranges."""


def luhn_sum(digits: str) -> int:
    """The sum whose last digit is 0 in a valid number. ISO/IEC 7812-1 Annex B."""
    total = 0
    for i, character in enumerate(reversed(digits)):
        d = ord(character) - 48
        total += d if i % 2 == 0 else (d * 2 - 9 if d > 4 else d * 2)
    return total


def luhn(value: str) -> bool | None:
    """A payment card: check digit, then issuer range and length. An unknown issuer cannot be said. ISO/IEC 7812-1."""
    digits = _DIGITS.sub("", value)
    if not 12 <= len(digits) <= 19 or len(set(digits)) == 1 or luhn_sum(digits) % 10:
        return False
    prefix = int(digits[:6])
    return True if any(low <= prefix <= high and len(digits) in n for low, high, n in _ISSUERS) else None


def iban(value: str) -> bool | None:
    """Check digits (mod 97-10), country, length and structure. ISO 13616, through python-stdnum's registry."""
    from stdnum import iban as registry  # 75 ms: paid at the first candidate only

    return bool(registry.is_valid(value.replace("-", " "), check_country=False))


# --------------------------------------------------------------------------- national

_PUBLISHED_SSN = frozenset({"078051120", "219099999"})
"""Numbers that were printed in advertisements and are void. SSA, "Social Security Cards Issued by Woolworth"."""


def us_ssn(value: str) -> bool | None:
    """Never issued: areas 000, 666 and 9xx, group 00, serial 0000. SSA, "SSN Randomization". No check digit exists."""
    digits = _DIGITS.sub("", value)
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    if len(digits) != 9 or area in {"000", "666"} or area[0] == "9" or group == "00" or serial == "0000":
        return False
    return False if digits in _PUBLISHED_SSN or len(set(digits)) == 1 else None


# --------------------------------------------------------------------------- contact


def phone(value: str) -> bool | None:
    """An international number (``+`` or ``00``): valid, merely possible, or neither. ITU-T E.164, libphonenumber."""
    import phonenumbers  # 54 ms: paid at the first candidate only

    text = value.strip()
    try:
        number = phonenumbers.parse("+" + text[2:] if text.startswith("00") else text, None)
    except phonenumbers.NumberParseException:
        return False
    if phonenumbers.is_valid_number(number):
        return True
    return None if phonenumbers.is_possible_number(number) else False


_DATE = re.compile(r"(?:19|20)\d\d[-./ ]\d{1,2}[-./ ]\d{1,2}|\d{1,2}[-./ ]\d{1,2}[-./ ](?:19|20)\d\d")


def phone_national(value: str) -> bool | None:
    """A number without its country: 7-13 digits, not a date, not one repeated digit. It takes context to believe it."""
    digits = _DIGITS.sub("", value)
    if not 7 <= len(digits) <= 13 or len(set(digits)) == 1 or _DATE.match(value):
        return False
    return None


_ENDINGS = """
png jpg jpeg gif svg webp bmp ico avif pdf css scss less js jsx mjs tsx html htm json xml yml yaml toml txt log csv
zip gz tgz exe dll so lock
"""
_FILES = frozenset(_ENDINGS.split())
"""File name endings that are no top-level domains anybody has mail in."""
_REMOTE_USERS = frozenset({"git", "hg", "svn"})


def email(value: str) -> bool | None:
    """A plausible address: no SSH remote's user, file name (``icon@2x.png``) or version. RFC 5321 §4.1.2."""
    local, _, domain = value.rpartition("@")
    labels = domain.lower().split(".")
    if local.lower() in _REMOTE_USERS or ".." in local or local[:1] == "." or local[-1:] == ".":
        return False
    if len(labels) < 2 or len(labels[-1]) < 2 or labels[-1] in _FILES or len(domain) > 253:
        return False
    return False if all(x.isdigit() for x in labels[:-1]) else None


# --------------------------------------------------------------------------- network


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


# --------------------------------------------------------------------------- secrets

_EMPTY_WORDS = """
none null nil undefined nan true false yes no on off empty str string text int integer float bool boolean bytes byte
char varchar any object array list dict map optional required unknown hidden secret secretstr password passwd pwd pass
passphrase token key apikey api_key username user test testing sample demo foo bar baz foobar value default disabled
enabled auto prompt stdin input self this private public protected static const final invalid valid incorrect correct
wrong missing expired set unset changed reset removed omitted masked not the and must should is
"""
_NOTHING = frozenset(_EMPTY_WORDS.split())
_PLACEHOLDER = re.compile(
    r"""^[$%@&]?[{(<\[]{1,2}[^\n]*[})>\]]{1,2}$      # ${VAR} $(cmd) {{ var }} <your-key> %(var)s
      | ^\$[A-Za-z_][A-Za-z0-9_]*$ | ^%[A-Za-z_]+%?$ | ^%\([a-z_]+\)s$ | ^\$[{(] | ^\{\{ | ^<
      | ^\[[A-Z][A-Z0-9_]*_[a-z2-7]{10,26}\]$        # our own
      | (?:^|[^a-z])(?:process\.env|os\.environ|getenv|import\.meta\.env|secrets\.|vault:|arn:aws:|env\[|env\.)
      | (?:^|[^a-z])(?:example|placeholder|redacted|masked|dummy|change[_-]?(?:it|me)|todo|fixme
        |sample)(?:$|[^a-z])
      | (?:^|[^a-z])(?:your[_-]?|my[_-])(?:own[_-]?)?(?:api|secret|access|auth|bot|app)?[_-]?(?:key|token|secret
        |password|pass|pwd|passwd|here|value|credential)
      | (?:^|[_-])here$ | ^(?:insert|enter|replace|put|add|use|paste)[_ -]
      | x{6,} | \*{3,} | \.{3} | …""",
    re.VERBOSE | re.IGNORECASE,
)
_REPEATED = re.compile(r"^(.)\1*$", re.DOTALL)


def _stands_for_nothing(value: str) -> bool:
    text = value.strip()
    bare = text.strip("\"'`<>[](){}*_-.:;,!?").lower()
    return not bare or bare in _NOTHING or bool(_PLACEHOLDER.search(text) or _REPEATED.match(text))


def placeholder(value: str) -> bool | None:
    """Drops what stands where a secret will: ``changeme``, ``xxxxxx``, ``<key>``, ``${VAR}``, look-ups, types."""
    return False if _stands_for_nothing(value) else None


def url_password(value: str) -> bool | None:
    """The password of a URL's userinfo, proved by the URL around it. RFC 3986 §3.2.1."""
    return not _stands_for_nothing(value)


_SEPARATORS = re.compile(r"[._:/\\-]+")
_WORD = re.compile(r"^[A-Za-z]*\d{0,2}$")
_CALL_PATH = re.compile(r"^[A-Za-z_$][\w$]*(?:(?:\.|->|::)[A-Za-z_$][\w$]*)+$")
_TYPE_NAME = re.compile(r"^[A-Za-z]*(?:Str|String|Type|Field|Model|Input|Hash|Provider|Schema|Callback|Handler)$")
_SPEAKS_OF_IT = re.compile(
    r"passw|secret|pin code|phrase|credential|please|enter|must|required|invalid|wrong|login", re.I
)


def password(value: str) -> bool | None:
    """A quoted password, guessable or not: no placeholder, and no sentence or field name that speaks of passwords."""
    text = value.strip()
    if len(text) < 3 or _stands_for_nothing(text) or _TYPE_NAME.match(text):
        return False
    return False if " " in text and _SPEAKS_OF_IT.search(text) else None


_SYMBOL = re.compile(r"[0-9!@#$%^&*?~+=|\\]")
_SNAKE = re.compile(r"^_*[a-z]+(?:[_-]+[a-z]+)+\d?$|^[a-z]+(?:[A-Z][a-z]+)+$|^(?:--?|/|\./|~/)")


def password_literal(value: str) -> bool | None:
    """A password without quotes where only a literal can stand (``.env``, YAML): not a path, type or attribute."""
    if (
        password(value) is False
        or _CALL_PATH.match(value)
        or value.startswith(("/", "~/", "./", "http://", "https://"))
    ):
        return False
    return False if _SNAKE.match(value) else None


def password_bare(value: str) -> bool | None:
    """A password without quotes where code or prose may stand too: it must have a digit or a symbol beside letters."""
    if password_literal(value) is False or not _SYMBOL.search(value):
        return False
    return None if any(c.isalpha() for c in value) or len(value) >= 6 else False


def entropy(value: str) -> float:
    """Shannon entropy in bits a character."""
    n = len(value)
    return -sum(c / n * math.log2(c / n) for c in Counter(value).values()) if n else 0.0


def _identifier(value: str) -> bool:
    """Words, each with at most two digits behind it, joined by separators: a name, a path, an attribute."""
    return all(_WORD.match(piece) for piece in _SEPARATORS.split(value))


def random_token(value: str) -> bool | None:
    """What a machine made: long enough, varied enough, neither words nor an identifier nor a path. Shannon 1948."""
    if len(value) < 10 or _stands_for_nothing(value) or _identifier(value):
        return False
    if "://" in value or not any(c.isdigit() for c in value) or not any(c.isalpha() for c in value):
        return False
    return None if entropy(value) >= (2.8 if len(value) < 20 else 3.0) else False


def vendor_key(value: str) -> bool | None:
    """The part behind a vendor's prefix: no documentation example, no run of one character."""
    return False if _stands_for_nothing(value) or entropy(value[-20:]) < 2.0 else None


def jwt(value: str) -> bool | None:
    """Three parts whose first decodes to a JSON object with ``alg``. RFC 7515 §3, RFC 7519 §7.2."""
    parts = value.split(".")
    if len(parts) != 3:
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


VALIDATORS: Mapping[str, Validator] = MappingProxyType(
    {
        "luhn": luhn,
        "iban": iban,
        "us_ssn": us_ssn,
        "phone": phone,
        "phone_national": phone_national,
        "email": email,
        "ip_address": ip_address,
        "placeholder": placeholder,
        "url_password": url_password,
        "password": password,
        "password_literal": password_literal,
        "password_bare": password_bare,
        "random_token": random_token,
        "vendor_key": vendor_key,
        "jwt": jwt,
        "private_key": private_key,
        "http_basic": http_basic,
    }
)
"""Every validator that a catalogue entry may name."""
