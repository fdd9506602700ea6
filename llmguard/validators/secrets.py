"""Secrets: what a value must look like, and what only stands for one.

Invariant: True means proved by a checksum or a parser, False drops the finding, None cannot say. Each is linear in the
length of its value, and raises nothing on any text.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

from llmguard.validators.base import Validator

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


def stands_for_nothing(value: str) -> bool:
    text = value.strip()
    bare = text.strip("\"'`<>[](){}*_-.:;,!?").lower()
    return not bare or bare in _NOTHING or bool(_PLACEHOLDER.search(text) or _REPEATED.match(text))


def placeholder(value: str) -> bool | None:
    """Drops what stands where a secret will: ``changeme``, ``xxxxxx``, ``<key>``, ``${VAR}``, look-ups, types."""
    return False if stands_for_nothing(value) else None


def url_password(value: str) -> bool | None:
    """The password of a URL's userinfo, proved by the URL around it. RFC 3986 §3.2.1."""
    return not stands_for_nothing(value)


_BETWEEN = re.compile(r"[._:/\\-]+")
_WORD = re.compile(r"^[A-Za-z]*\d{0,2}$")
_CALL_PATH = re.compile(r"^[A-Za-z_$][\w$]*(?:(?:\.|->|::)[A-Za-z_$][\w$]*)+$")
_TYPE_NAME = re.compile(r"^[A-Za-z]*(?:Str|String|Type|Field|Model|Input|Hash|Provider|Schema|Callback|Handler)$")
_SPEAKS_OF_IT = re.compile(
    r"passw|secret|pin code|phrase|credential|please|enter|must|required|invalid|wrong|login", re.I
)


def password(value: str) -> bool | None:
    """A quoted password, guessable or not: no placeholder, and no sentence or field name that speaks of passwords."""
    text = value.strip()
    if len(text) < 3 or stands_for_nothing(text) or _TYPE_NAME.match(text):
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


def password_said(value: str) -> bool | None:
    """A password told in a sentence: a digit or symbol beside letters, or upper case within; else it is a word."""
    if password(value) is False or _CALL_PATH.match(value) or value.startswith("/"):
        return False
    letters = any(c.isalpha() for c in value)
    mixed = (
        any(c.isdigit() for c in value)
        or _MARK.search(value)
        or (any(c.isupper() for c in value[1:]) and not value.isupper())
    )
    return None if mixed and (letters or len(value) >= 6) else False


_MARK = re.compile(r"[!@#$%^&*?~+=|\\]")
_USERLESS = frozenset(
    ["admin", "root", "guest", "anonymous", "get_user", "username", "user_name", "char", "varchar", "text", "input"]
)


def username(value: str) -> bool | None:
    """A person's name on a system: no word of a schema or of code."""
    text = value.lower()
    if stands_for_nothing(value) or text in _USERLESS or _CALL_PATH.match(value):
        return False
    return None if any(c.isdigit() for c in text) or "." in text or "-" in text else False


def entropy(value: str) -> float:
    """Shannon entropy in bits a character."""
    n = len(value)
    return -sum(c / n * math.log2(c / n) for c in Counter(value).values()) if n else 0.0


def _identifier(value: str) -> bool:
    """Words, each with at most two digits behind it, joined by separators: a name, a path, an attribute."""
    return all(_WORD.match(piece) for piece in _BETWEEN.split(value))


def random_token(value: str) -> bool | None:
    """What a machine made: long enough, varied enough, neither words nor an identifier nor a path. Shannon 1948."""
    if len(value) < 10 or stands_for_nothing(value) or _identifier(value):
        return False
    if "://" in value or not any(c.isdigit() for c in value) or not any(c.isalpha() for c in value):
        return False
    return None if entropy(value) >= (2.8 if len(value) < 20 else 3.0) else False


def vendor_key(value: str) -> bool | None:
    """The part behind a vendor's prefix: no documentation example, no run of one character."""
    return False if stands_for_nothing(value) or entropy(value[-20:]) < 2.0 else None


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
        "placeholder": placeholder,
        "url_password": url_password,
        "password": password,
        "password_literal": password_literal,
        "password_bare": password_bare,
        "password_said": password_said,
        "username": username,
        "random_token": random_token,
        "vendor_key": vendor_key,
        "jwt": jwt,
        "private_key": private_key,
        "http_basic": http_basic,
    }
)
"""Validators of this module, by the names that catalogue entries use."""
