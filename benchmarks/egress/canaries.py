"""Canaries: values that a guard has to find, made for one call and recognised wherever they turn up.

Owns the kinds, each with the words that a text has around such a value, and its written forms. Nothing is anybody's,
and nothing is committed: all come from a seed. ``Canary.core`` is what is left of a value without separators and case.
"""

from __future__ import annotations

import base64
import json
import re
import string
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from llmguard.testing import Fakes

_SEPARATORS = re.compile(r"[\W_]+")
_ALNUM = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class Canary:
    """One planted value as it is written. ``bare``: neither what is around it nor its shape says what it is."""

    kind: str
    value: str = field(repr=False)
    core: str = field(repr=False)
    form: str
    bare: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of value. ``label`` is a key that says what it is; ``told`` are texts around it, ``{}`` the value.

    ``known``: found without any of that. ``number``: may be a JSON number. ``word``: letters, digits, ``-_``.
    """

    name: str
    make: Callable[[Random, Fakes], str]
    label: str
    told: tuple[str, ...]
    known: bool = False
    number: bool = False
    word: bool = False
    forms: tuple[str, ...] = ("plain",)


def core(text: str) -> str:
    """Letters and digits in one case."""
    return _SEPARATORS.sub("", text).casefold()


def canary(random: Random, kind: Kind, *, plain: bool = False) -> Canary:
    """A new value of a kind, in one of its forms."""
    value = kind.make(random, Fakes(random.getrandbits(64)))
    form = "plain" if plain else random.choice(kind.forms)
    return Canary(kind.name, FORMS[form](random, value), core(value), form)


def _digits(random: Random, count: int) -> str:
    return "".join(random.choices(string.digits, k=count))


def _some(random: Random, alphabet: str, count: int) -> str:
    return "".join(random.choices(alphabet, k=count))


# --------------------------------------------------------------------------- values


def _iban(random: Random, _: Fakes) -> str:
    """German, with its check digits (ISO 13616)."""
    account = _digits(random, 18)
    check = 98 - int(account + "131400") % 97
    return f"DE{check:02}{account}"


def _phone(random: Random, _: Fakes) -> str:
    """A mobile number of a country whose numbering plan takes any digits here."""
    return random.choice(("+49171" + _digits(random, 7), "+336" + _digits(random, 8), "+447911" + _digits(random, 6)))


def _ssn(random: Random, _: Fakes) -> str:
    return f"{random.randint(100, 665)}-{random.randint(10, 99)}-{random.randint(1000, 9999)}"


def _pesel(random: Random, _: Fakes) -> str:
    """Poland's, with its check digit."""
    digits = f"{random.randint(50, 99)}{random.randint(1, 12):02}{random.randint(1, 28):02}{_digits(random, 4)}"
    total = sum(int(d) * w for d, w in zip(digits, (1, 3, 7, 9) * 3, strict=False))
    return digits + str(-total % 10)


def _cpf(random: Random, _: Fakes) -> str:
    """Brazil's, with its two check digits."""
    digits = [random.randint(0, 9) for _ in range(9)]
    for weight in (10, 11):
        rest = sum(d * w for d, w in zip(digits, range(weight, 1, -1), strict=True)) * 10 % 11
        digits.append(rest % 10)
    text = "".join(map(str, digits))
    return f"{text[:3]}.{text[3:6]}.{text[6:9]}-{text[9:]}"


def _nhs(random: Random, fakes: Fakes) -> str:
    """The United Kingdom's health service's, with its check digit modulo 11."""
    digits = "9" + _digits(random, 8)
    check = -sum(int(d) * w for d, w in zip(digits, range(10, 1, -1), strict=True)) % 11
    return digits + str(check) if check < 10 else _nhs(random, fakes)


def _jwt(random: Random, _: Fakes) -> str:
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")
    claims = json.dumps({"sub": _digits(random, 10), "iat": 1_700_000_000 + random.randint(0, 10**7)})
    body = base64.urlsafe_b64encode(claims.encode()).decode().rstrip("=")
    return f"{head}.{body}.{_some(random, _ALNUM, 42)}7"


def _after(prefix: str, count: int, alphabet: str = _ALNUM) -> Callable[[Random, Fakes], str]:
    return lambda random, _: prefix + _some(random, alphabet, count - 2) + "7k"


def _password(random: Random, _: Fakes) -> str:
    return f"Zq8{_some(random, _ALNUM, 9)}4x"


# --------------------------------------------------------------------------- forms


def _grouped(value: str, by: str) -> str:
    return by.join(value[i : i + 4] for i in range(0, len(value), 4))


def _mixed(random: Random, value: str) -> str:
    return "".join(c.upper() if random.random() < 0.5 else c.lower() for c in value)


def _spoken(random: Random, value: str) -> str:
    """A phone number with blanks or brackets."""
    return (
        f"{value[:3]} {value[3:6]} {value[6:9]} {value[9:]}"
        if random.random() < 0.5
        else f"{value[:3]}-{value[3:6]}-{value[6:]}"
    )


FORMS: dict[str, Callable[[Random, str], str]] = {
    "plain": lambda _, value: value,
    "blanks": lambda _, value: _grouped(value, " "),
    "dashes": lambda _, value: _grouped(value, "-"),
    "mixed case": _mixed,
    "swapped case": lambda _, value: value.swapcase(),
    "spoken": _spoken,
}

KINDS: tuple[Kind, ...] = (
    Kind(
        "email",
        lambda _, fakes: fakes.email(),
        "email",
        ("mail me at {}", "contact: {}", "From: Jane <{}>", "{} wrote yesterday that it works", "mailto:{}"),
        known=True,
        forms=("plain", "plain", "mixed case", "swapped case"),
    ),
    Kind(
        "card",
        lambda _, fakes: fakes.card(),
        "card_number",
        ("my credit card is {}", "please charge card {} today", "card: {}"),
        known=True,
        number=True,
        word=True,
        forms=("plain", "blanks", "dashes"),
    ),
    Kind(
        "iban",
        _iban,
        "iban",
        ("pay to IBAN {} please", "IBAN: {}", "my bank account is {}"),
        known=True,
        word=True,
        forms=("plain", "blanks", "swapped case"),
    ),
    Kind("phone", _phone, "phone", ("call me on {}", "phone: {}", "Tel. {} (mobile)"), forms=("plain", "spoken")),
    Kind("ssn", _ssn, "ssn", ("my SSN is {}", "social security number {}"), known=True),
    Kind("pesel", _pesel, "pesel", ("PESEL {}", "my PESEL is {}"), number=True, word=True),
    Kind("cpf", _cpf, "cpf", ("CPF {}", "meu CPF: {}"), known=True),
    Kind("nhs", _nhs, "nhs_number", ("NHS number {}", "patient, nhs: {}"), number=True, word=True),
    Kind(
        "cloud key",
        lambda _, fakes: fakes.cloud_key(),
        "aws_access_key_id",
        ("aws_access_key_id = {}", "use the key {} for it"),
        known=True,
        word=True,
    ),
    Kind("token", lambda _, fakes: fakes.token(), "github_token", ("push with {}", "token: {}"), known=True, word=True),
    Kind(
        "openai key", _after("sk-proj-", 48), "api_key", ("OPENAI_API_KEY={}", "our key is {}"), known=True, word=True
    ),
    Kind(
        "stripe key",
        _after("sk_live_", 24),
        "stripe_key",
        ("stripe.api_key = '{}'", "pay with {}"),
        known=True,
        word=True,
    ),
    Kind("google key", _after("AIza", 35), "google_key", ("maps with key={}", "the key {}"), known=True, word=True),
    Kind(
        "gitlab token",
        _after("glpat-", 20),
        "gitlab_token",
        ("PRIVATE-TOKEN: {}", "{} is the token"),
        known=True,
        word=True,
    ),
    Kind("jwt", _jwt, "access_token", ("Authorization: Bearer {}", "session {}"), known=True),
    Kind(
        "password",
        _password,
        "password",
        ("my password is {}", "DB_PASSWORD={}", "postgres://app:{}@db.example.com/app"),
        word=True,
    ),
)
