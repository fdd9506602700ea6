"""Passwords and codes that people chose: told from field names, labels, types, paths and code.

Invariant: True means proved by a checksum or a parser, False drops the finding, None cannot say. Each is linear in the
length of its value, and raises nothing on any text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from llmguard.validators.base import Validator
from llmguard.validators.placeholders import stands_for_nothing

_LONGEST = 256
"""Characters. What is longer was not chosen by a person."""
_TYPE_NAME = re.compile(r"^[A-Za-z]*(?:Str|String|Type|Field|Model|Input|Hash|Provider|Schema|Callback|Handler)$")
_SPEAKS_OF_IT = re.compile(
    r"passw|passphr|secret|pin code|credential|please|enter|must|required|invalid|wrong|login|kennwort|contrase|senha"
    r"|wachtwoord|mot de passe|forgot|密码|密碼|パスワード|비밀번호|парол",
    re.I,
)
_FIELD = re.compile(r"^[#.$@]?[A-Za-z]+(?:[_.:\-\[\]][A-Za-z]+)*$")
_FIELD_WORD = re.compile(r"pass|pwd|passwd|secret|token|login|credential|senha|kennwort|contrase", re.I)
_EXPRESSION = re.compile(r"\(\?[=!:]|\[a-z|\\[dws][+*{]|\{\d+,\d*\}|</?[a-z]+[ />]|[!=]=|&&|\|\||=>|\$\(")
_PATH = re.compile(r"^(?:~|\.{1,2}|[A-Za-z]:)?[/\\][\w.@-]+(?:[/\\][\w.@-]+)+/?$|^(?:https?|file)://[^@\s]*$")


def password(value: str) -> bool | None:
    """A quoted password, guessable or not: no placeholder, and no sentence or field name that speaks of passwords."""
    text = value.strip()
    if not 3 <= len(text) <= _LONGEST or stands_for_nothing(text) or _TYPE_NAME.match(text):
        return False
    if (_FIELD.match(text) and _FIELD_WORD.search(text)) or _EXPRESSION.search(text) or _PATH.match(text):
        return False
    return False if not any(map(str.isalnum, text)) or _sentence(text) else None


def _sentence(text: str) -> bool:
    """Whether a text is a label or a message, not a value."""
    if not text.isascii() and _SPEAKS_OF_IT.search(text):
        return True
    if " " not in text:
        return False
    told = text[0].isupper() and not any(map(str.isdigit, text))
    return told or bool(_SPEAKS_OF_IT.search(text)) or text[-1] in ":?"


_CALL_PATH = re.compile(r"^[A-Za-z_$][\w$]*(?:(?:\.|->|::)[A-Za-z_$][\w$]*)+$")
_CODE = re.compile(
    r"^[A-Za-z_][\w.$:>-]{2,}\(|\)[;,]?$|^[\w.]+\[|[{;,(]$|^(?:new|await|function|return)\b|^[@&*!]\w+$|^-{1,2}[a-z]"
    r"|^[^A-Za-z0-9]+\\[nrt]"
)
_NAME = re.compile(r"^_*[a-z]+(?:[_-]+[a-z]+)+\d?$|^[a-z]+(?:[A-Z][a-z]+)+\d?$|^[A-Z]+(?:_[A-Z]+)+$")
_NAMING = re.compile(
    r"pass|pwd|secret|user|token|key|get|self|arg|conf|input|env|field|type|form|new|old|value|param|var|text|hash|login"
    r"|str|admin|default|data|name|option|set|read|load|prompt",
    re.I,
)
_SYMBOL = re.compile(r"[0-9!@#$%^&*?~+=|\\]")
_MARK = re.compile(r"[!@#$%^&*?~+=|\\]")


def password_literal(value: str) -> bool | None:
    """A password without quotes where only a literal can stand (``.env``, YAML): not a path, type or attribute."""
    if password(value) is False or _CALL_PATH.match(value) or _CODE.search(value) or value.startswith("/"):
        return False
    return False if _NAME.match(value) and _NAMING.search(value) else None


def password_bare(value: str) -> bool | None:
    """A password without quotes where code or prose may stand too: it must have a digit or a symbol beside letters."""
    if password_literal(value) is False or not _SYMBOL.search(value) or _NAME.match(value):
        return False
    if any(map(str.isalpha, value)):
        return None
    return None if len(value) >= 6 and any(map(str.isdigit, value)) else False


_POINTER = re.compile(r"^[&*]+[A-Za-z_]+$")
_GUESSED_WORDS = """
letmein qwerty qwertz azerty qwertyuiop asdfgh asdfghjkl zxcvbn iloveyou trustno hunter monkey dragon sunshine
princess football baseball superman batman welcome shadow master passw admin root guest toor hallo schatz
passwort soleil doudou loulou bonjour chouchou teamo amigos juventus ciao amore benfica welkom geheim
"""
_GUESSED = frozenset(_GUESSED_WORDS.split())
"""Words that people take for passwords and hardly ever say of them. From published lists of the most used."""


def password_said(value: str) -> bool | None:
    """A password told in a sentence: a digit or symbol beside letters, or upper case within; else it is a word."""
    if password(value) is False or _CALL_PATH.match(value) or _POINTER.match(value) or value.startswith("/"):
        return False
    if value.lower() in _GUESSED:
        return None
    mixed = (
        any(map(str.isdigit, value))
        or _MARK.search(value)
        or (any(map(str.isupper, value[1:])) and not value.isupper())
    )
    return None if mixed and (any(map(str.isalpha, value)) or len(value) >= 4) else False


def code(value: str) -> bool | None:
    """A PIN or a code for one time or one door: digits, or letters with digits; no year, no price, no range."""
    if stands_for_nothing(value) or not any(map(str.isdigit, value)):
        return False
    return False if _YEAR.match(value) else None


_YEAR = re.compile(r"^(?:19|20)\d\d-(?:19|20)?\d\d$")
_USERLESS = frozenset(
    ["admin", "root", "guest", "anonymous", "get_user", "username", "user_name", "char", "varchar", "text", "input"]
)


def username(value: str) -> bool | None:
    """A person's name on a system: no word of a schema or of code."""
    text = value.lower()
    if stands_for_nothing(value) or text in _USERLESS or _CALL_PATH.match(value):
        return False
    return None if any(map(str.isdigit, text)) or "." in text or "-" in text else False


VALIDATORS: Mapping[str, Validator] = MappingProxyType(
    {
        "password": password,
        "password_literal": password_literal,
        "password_bare": password_bare,
        "password_said": password_said,
        "code": code,
        "username": username,
    }
)
"""Validators of this module, by the names that catalogue entries use."""
