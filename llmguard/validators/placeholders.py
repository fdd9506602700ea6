"""Placeholders: what stands where a secret will, and what only speaks of one.

Invariant: True means proved by a checksum or a parser, False drops the finding, None cannot say. Each is linear in the
length of its value, and raises nothing on any text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from llmguard.validators.base import Validator
from llmguard.validators.shape import machine_made

_EMPTY_WORDS = """
none null nil undefined nan true false yes no on off empty str string text int integer float bool boolean bytes byte
char varchar any object array list dict map optional required unknown hidden secret secretstr password passwd pwd pass
passphrase passcode token key apikey api_key username user test testing sample demo foo bar baz foobar value default
disabled enabled auto prompt stdin input self this private public protected static const final invalid valid incorrect
correct wrong missing expired set unset changed reset removed omitted masked not the and must should is was are can
forgotten securestring securestr plaintext credential credentials pem base64 md5 sha256 bcrypt interactive never always
passwort kennwort contraseña contrasena clave senha wachtwoord parola hasło lösenord adgangskode passord salasana jelszó
heslo şifre lozinka geslo parool slaptažodis пароль парола 密码 密碼 パスワード 비밀번호 암호
"""
_NOTHING = frozenset(_EMPTY_WORDS.split())
_PLACEHOLDER = re.compile(
    r"""^[$%@&\#]?[{(<\[]{2}[^\n]*[})>\]]{2}$         # {{ var }} ${{ var }} <<key>>
      | ^[$%@&\#][{(<\[][^\n]*[})>\]]$ | ^<[^\n]*>$   # ${VAR} $(cmd) %(var) #{var} <your-key>
      | ^\$[A-Za-z_][\w:.]*-?$ | ^%[A-Za-z_]+%?$ | ^%\([a-z_]+\)s$ | ^\$[{(] | ^\{\{ | ^<
      | \$\{[\w.:-]+\} | \$\{\{ | \{\{[^}\n]*\}\} | <%=? | \#\{[^}\n]*\}
      | (?:^|[^%\w])%[sdrvq](?:$|\W)
      | ^\[[A-Z][A-Z0-9_]*_[a-z0-9]{10,26}\]$        # our own
      | ^!(?:Ref|Sub|GetAtt|vault|ImportValue)\b | ^ENC[(\[] | ^\$ANSIBLE_VAULT
      | (?:^|[^a-z])(?:process\.env|os\.environ|getenv|import\.meta\.env|secrets\.|vault:|arn:aws|env\[|env\.
        |data:[a-z]+/)
      | ^(?:op|vault|ssm|secret|awssm|gcpsm|akv|keyvault|file|env|ref)://? | ^(?:sha\d{1,3}|md5)[-:=]
      | (?:^|[^a-z])(?:example|placeholder|redacted|masked|elided|dummy|change[_-]?(?:it|me)|replace[_-]?(?:it|me)|todo
        |fixme|sample|fake|tbd)(?:$|[^a-z])
      | (?:^|[^a-z])(?:your[_-]?|my[_-])(?:own[_-]?)?(?:api|secret|access|auth|bot|app)?[_-]?(?:key|token|secret
        |password|pass|pwd|passwd|here|value|credential)
      | (?:^|[^a-z])your[_-] | (?:^|[_-])here$ | ^(?:insert|enter|replace|put|add|use|paste|fill)[_ -]
      | \.\.$ | x{6,} | \*{3,} | \.{3} | … | \#{4,} | •{3,} | _{4,} | \?{3,}""",
    re.VERBOSE | re.IGNORECASE,
)
_REPEATED = re.compile(r"^(.)(?:\1|[ _.:-])*$", re.DOTALL)
_BRACED = re.compile(r"^[{(\[]([^\n]*)[})\]]$")


def stands_for_nothing(value: str) -> bool:
    text = value.strip()
    bare = text.strip("\"'`<>[](){}*_-.:;,!?").lower()
    if not bare or bare in _NOTHING or _PLACEHOLDER.search(text) or _REPEATED.match(text):
        return True
    inner = _BRACED.match(text)
    return bool(inner) and not (any(c.isdigit() for c in text) and machine_made(inner[1] if inner else ""))


def placeholder(value: str) -> bool | None:
    """Drops what stands where a secret will: ``changeme``, ``xxxxxx``, ``<key>``, ``${VAR}``, look-ups, types."""
    return False if stands_for_nothing(value) else None


VALIDATORS: Mapping[str, Validator] = MappingProxyType({"placeholder": placeholder})
"""Validators of this module, by the names that catalogue entries use."""
