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
from functools import cache
from importlib import import_module
from operator import mul
from types import MappingProxyType
from typing import NamedTuple

import re2

Validator = Callable[[str], bool | None]

_SEPARATORS = dict.fromkeys(map(ord, " .-/()+,:\u00a0\t"))


def digits_of(value: str) -> str:
    """``value`` without what people put between digits."""
    return value.translate(_SEPARATORS)


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


_DOUBLED = str.maketrans("0123456789", "0246813579")


def luhn_sum(digits: str) -> int:
    """The sum whose last digit is 0 in a valid number. ISO/IEC 7812-1 Annex B."""
    return sum(map(int, digits[::-2])) + sum(map(int, digits[-2::-2].translate(_DOUBLED)))


def luhn(value: str) -> bool | None:
    """A payment card: check digit, then issuer range and length. An unknown issuer cannot be said. ISO/IEC 7812-1."""
    digits = digits_of(value)
    if (
        not 12 <= len(digits) <= 19
        or not (digits.isascii() and digits.isdigit())
        or len(set(digits)) == 1
        or luhn_sum(digits) % 10
    ):
        return False
    prefix = int(digits[:6])
    return True if any(low <= prefix <= high and len(digits) in n for low, high, n in _ISSUERS) else None


_BASE36 = {ord(c): str(i) for i, c in enumerate("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")}


@cache
def _iban_shape(country: str) -> re.Pattern[str] | None:
    """The registered structure of a country's account numbers, or None if it has none."""
    from stdnum import numdb  # the registry: read at the first candidate only

    known = next((facts.get("bban") for part, facts in numdb.get("iban").info(country) if part == country), None)
    if known is None:
        return None
    kinds = {"n": "[0-9]", "a": "[A-Z]", "c": "[A-Z0-9]"}
    return re.compile("".join(f"{kinds[k]}{{{n}}}" for n, k in re.findall(r"(\d+)!([nac])", known)))


def iban(value: str) -> bool | None:
    """Check digits (mod 97-10), country, length and structure. ISO 13616, with python-stdnum's registry."""
    account = value.replace(" ", "").replace("-", "").upper()
    if (
        not 15 <= len(account) <= 34
        or not account.isascii()
        or not account.isalnum()
        or not account[2:4].isdigit()
        or not account[:2].isalpha()
    ):
        return False
    if int((account[4:] + account[:4]).translate(_BASE36)) % 97 != 1:
        return False
    shape = _iban_shape(account[:2])
    return shape is not None and shape.fullmatch(account, 4) is not None


# --------------------------------------------------------------------------- national

_PUBLISHED_SSN = frozenset({"078051120", "219099999"})
"""Numbers that were printed in advertisements and are void. SSA, "Social Security Cards Issued by Woolworth"."""


def us_ssn(value: str) -> bool | None:
    """Never issued: areas 000, 666 and 9xx, group 00, serial 0000. SSA, "SSN Randomization". No check digit exists."""
    digits = digits_of(value)
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    if len(digits) != 9 or area in {"000", "666"} or area[0] == "9" or group == "00" or serial == "0000":
        return False
    return False if digits in _PUBLISHED_SSN or len(set(digits)) == 1 else None


@cache
def _registry(name: str) -> Callable[[str], bool]:
    """``is_valid`` of a module of python-stdnum: a format and a check digit, each with its source in its docstring."""
    module = import_module(f"stdnum.{name}")  # a few ms each: paid at the first candidate only
    valid: Callable[[str], bool] = module.is_valid
    return valid


def _any_of(value: str, names: tuple[str, ...]) -> bool:
    return any(_registry(name)(value) for name in names)


def _stdnum(*names: str) -> Validator:
    """A validator that believes what one of the named modules of python-stdnum accepts."""

    def check(value: str) -> bool | None:
        return len(set(digits_of(value))) > 2 and _any_of(value, names)

    return check


def uk_nino(value: str) -> bool | None:
    """Prefixes that are never given. HMRC, National Insurance Manual NIM39110. It has no check digit."""
    return False if value[:2] in {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"} else None


def _date(digits: str) -> bool:
    """Whether six digits are a year, month and day (of any century)."""
    return 1 <= int(digits[2:4]) <= 12 and 1 <= int(digits[4:6]) <= 31


_WEIGHTS_KVNR = (1, 2, 1, 2, 1, 2, 1, 2, 1, 2)
_WEIGHTS_RVNR = (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1)


def _cross(digits: str, weights: tuple[int, ...]) -> int:
    """Sum of the digit sums of weighted digits."""
    return sum(n // 10 + n % 10 for n in (int(d) * w for d, w in zip(digits, weights, strict=False)))


def _de_health(value: str) -> bool:
    """Health insurance number: a letter as two digits, eight digits, check. § 290 SGB V."""
    digits = f"{ord(value[0]) - 64:02}{value[1:]}"
    return _cross(digits[:10], _WEIGHTS_KVNR) % 10 == int(digits[10])


def _de_pension(value: str) -> bool:
    """Pension insurance number: area, birthday, letter as two digits, serial, check. § 147 SGB VI, VKVV § 2."""
    digits = f"{value[:8]}{ord(value[8]) - 64:02}{value[9:]}"
    day, month = int(value[2:4]), int(value[4:6])
    return (
        (1 <= day <= 31 or 51 <= day <= 81)
        and 1 <= month <= 12
        and _cross(digits[:12], _WEIGHTS_RVNR) % 10 == int(digits[12])
    )


_SG_LETTERS = {"S": "JZIHGFEDCBA", "T": "GFEDCBAJZIH", "F": "XWUTRQPNMLK", "G": "RQPNMLKXWUT", "M": "XWUTRQPNJLK"}


def _sg_nric(value: str) -> bool:
    """Singapore's NRIC and FIN: weights 2 7 6 5 4 3 2, a table of letters for each first letter. ICA."""
    total = sum(int(d) * w for d, w in zip(value[1:8], (2, 7, 6, 5, 4, 3, 2), strict=True))
    total += {"T": 4, "G": 4, "M": 3}.get(value[0], 0)
    letters = _SG_LETTERS[value[0]]
    return value[8] == (letters[10 - total % 11] if value[0] == "M" else letters[total % 11])


def national_lettered(value: str) -> bool | None:
    """Numbers with letters that prove themselves, by their shape."""
    if not _LETTERED.fullmatch(value):
        return False
    bare = value.replace("-", "") if value[0] in "XYZ" or len(value) < 11 else value
    if len(bare) == 9 and bare[0] in "STFGM" and bare[1:8].isdigit():
        return _sg_nric(bare)
    if len(bare) == 10 and bare[0].isalpha() and bare[1:].isdigit():
        return None if _de_health(bare) else False  # one digit proves too little without a word for it
    if len(bare) == 12 and (bare[:8] + bare[9:]).isdigit() and bare[8].isalpha():
        return _de_pension(bare)
    if len(bare) in (8, 9):
        return _any_of(bare.rjust(9, "0"), ("es.nif", "es.nie"))
    return _any_of(value, ("fi.hetu", "it.codicefiscale", "mx.curp"))


_LETTERED = re.compile(r"[0-9A-Z][0-9A-Z+-]{7,17}")


def fr_nir(value: str) -> bool | None:
    """97 minus the number modulo 97, with Corsica's departments as numbers. INSEE."""
    return _registry("fr.nir")(value)


def national_formatted(value: str) -> bool | None:
    """Numbers whose separators say what they may be, and whose check proves it."""
    digits = digits_of(value)
    if len(set(digits)) < 2 or not (digits.isascii() and digits.isdigit()):
        return False
    if "." in value:
        return _any_of(value, ("br.cpf", "br.cnpj", "ch.ssn", "be.nn"))
    if len(digits) == 13:  # Korea: since 2020 the last six digits are random
        return _date(digits)
    if value[4:5] in " -" and len(digits) == 12 and value[9:10] == value[4]:
        return _registry("in_.aadhaar")(digits)
    return _any_of(value, ("se.personnummer", "se.orgnr")) or (_registry("dk.cpr")(value) and None)


def _mod_11_10(digits: list[int]) -> bool:
    """ISO/IEC 7064, MOD 11,10."""
    check = 5
    for d in digits:
        check = (((check or 10) * 2) % 11 + d) % 10
    return check == 1


_ELEVEN: tuple[tuple[str, tuple[int, ...], int, tuple[int, ...]], ...] = (
    ("pl.pesel", (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1), 10, (0,)),
    ("tr.tckimlik", (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 9), 10, (0,)),
    ("br.cpf", (10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0), 11, (0, 1)),
    ("no.fodselsnummer", (3, 7, 6, 1, 8, 9, 4, 5, 2, 1, 0), 11, (0,)),
)
"""Module of python-stdnum; a sum of its check that is cheap and necessary: weights, modulus, remainders."""


def national_eleven(value: str) -> bool | None:
    """Eleven digits that one of eight countries could have given. One in twelve by chance: no proof."""
    text = digits_of(value)
    if len(text) != 11 or not (text.isascii() and text.isdigit()) or len(set(text)) < 3:
        return False
    digits = list(map(int, text))
    likely = [n for n, weights, m, rest in _ELEVEN if sum(map(mul, digits, weights)) % m in rest]
    if _mod_11_10(digits):
        likely += ["de.idnr", "hr.oib"]
    if 0 < digits[0] < 9 and _date(text[1:7]):
        likely += ["ee.ik", "lt.asmens"]
    return None if _any_of(text, tuple(likely)) else False


def national_thirteen(value: str) -> bool | None:
    """Twelve or thirteen digits of South Africa, Romania, Thailand, South Korea, the Balkans, India or Japan."""
    digits = digits_of(value)
    names = ("in_.aadhaar", "jp.in_") if len(digits) == 12 else ("za.idnr", "ro.cnp", "th.pin", "kr.rrn", "si.emso")
    if len(set(digits)) < 3:
        return False
    return _any_of(digits, names)


_SHORT: Mapping[int, tuple[str, ...]] = {
    7: ("ie.pps",),
    8: ("nz.ird", "au.tfn"),
    9: ("nl.bsn", "ca.sin", "au.tfn", "au.acn", "pt.nif", "nz.ird", "cz.rc"),
    10: ("se.personnummer", "se.orgnr", "dk.cpr", "bg.egn", "cz.rc", "gb.utr", "kr.brn"),
    11: ("au.abn", "gr.amka", "ar.cuit"),
}
"""Modules of python-stdnum by number of digits."""


def national_short(value: str) -> bool | None:
    """Seven to eleven digits that a country could have given; believed beside a word for them only."""
    text = value.replace(" ", "")
    return len(set(digits_of(value))) > 1 and _any_of(text, _SHORT.get(sum(c.isdigit() for c in text), ()))


def some_digits(value: str) -> bool | None:
    """At least three digits that are not a year or a date: what may be a number of a document."""
    digits = [c for c in value if c.isdigit()]
    return False if len(digits) < 3 or _YEAR.fullmatch(value) or _DATE.fullmatch(value) else None


def record_number(value: str) -> bool | None:
    """At least five characters, four of them digits, and no date: what may be the number of a customer or policy."""
    digits = sum(c.isdigit() for c in value)
    return False if digits < 4 or len(value) < 5 or _DATE.fullmatch(value) else None


_YEAR = re.compile(r"(?:19|20)\d\d")

# --------------------------------------------------------------------------- vehicles and wallets

_VIN = {
    c: v for v, letters in enumerate(("", "AJ", "BKS", "CLT", "DMU", "ENV", "FW", "GPX", "HY", "RZ")) for c in letters
}
_VIN_SHAPE = re.compile(r"[A-HJ-NPR-Z0-9]{13}[0-9]{4}")
_VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)


def vin(value: str) -> bool | None:
    """Letters and digits, with the check digit of North America; elsewhere it cannot say. ISO 3779, 49 CFR 565.15."""
    if not _VIN_SHAPE.fullmatch(value) or value.isdigit():
        return False
    total = sum((int(c) if c.isdigit() else _VIN[c]) * w for c, w in zip(value, _VIN_WEIGHTS, strict=True))
    proved = value[8] == ("X" if total % 11 == 10 else str(total % 11))
    return True if proved else False if value[0] in "12345" else None


def wallet(value: str) -> bool | None:
    """A Bitcoin address proved by its checksum. Ethereum's is optional (ERC-55): it cannot say."""
    if value.startswith("0x"):
        return False if len(set(value[2:].lower())) < 8 else None
    return _registry("bitcoin")(value)


def bic(value: str) -> bool | None:
    """A country of the registry in the middle. ISO 9362."""
    return (
        None
        if _iban_shape(value[4:6]) or value[4:6] in {"US", "CA", "AU", "JP", "CN", "HK", "SG", "IN", "ZA"}
        else False
    )


# --------------------------------------------------------------------------- contact


class _Plan(NamedTuple):
    """What libphonenumber knows of a country calling code."""

    valid: re2._Regexp
    """Any national number that is in use, over all regions of the code."""
    lengths: frozenset[int]
    trunk: tuple[str, ...]
    """Prefixes that are dialled inside the country only, as in ``+44 (0)20``."""


@cache
def _plan(code: int) -> _Plan | None:
    """The numbering plan behind ``+code``, or None if there is none. 1-5 ms, once a code."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata  # 54 ms: paid at the first candidate only

    regions = COUNTRY_CODE_TO_REGION_CODE.get(code, ())
    plans = [PhoneMetadata.metadata_for_region_or_calling_code(code, region) for region in regions]
    known = [plan for plan in plans if plan is not None]
    if not known:
        return None
    patterns = {
        kind.national_number_pattern
        for plan in known
        for kind in (getattr(plan, name) for name in _PHONE_KINDS)
        if kind is not None and kind.national_number_pattern
    }
    general = [plan.general_desc for plan in known if plan.general_desc is not None]
    lengths = frozenset(n for g in general for n in (*g.possible_length, *g.possible_length_local_only))
    trunk = frozenset(plan.national_prefix for plan in known if plan.national_prefix)
    return _Plan(re2.compile("|".join(f"(?:{p})" for p in sorted(patterns)).encode()), lengths, tuple(trunk))


_PHONE_KINDS = (
    "fixed_line",
    "mobile",
    "toll_free",
    "premium_rate",
    "shared_cost",
    "personal_number",
    "voip",
    "pager",
    "uan",
    "voicemail",
)


def phone(value: str) -> bool | None:
    """An international number (``+`` or ``00``): in use, merely of a possible length, or neither. ITU-T E.164.

    The numbering plans are libphonenumber's; its parser is not used, it costs ten times as much.
    """
    digits = digits_of(value)
    if value.lstrip().startswith("00"):
        digits = digits[2:]
    if not 7 <= len(digits) <= 17 or not (digits.isascii() and digits.isdigit()) or len(set(digits)) == 1:
        return False
    for n in (1, 2, 3):
        plan = _plan(int(digits[:n])) if digits[0] != "0" else None
        if plan is not None:
            return _in_plan(plan, digits[n:])
    return False


def _in_plan(plan: _Plan, national: str) -> bool | None:
    if plan.valid.fullmatch(national.encode()):
        return True
    inside = next((national[len(t) :] for t in plan.trunk if national.startswith(t)), "")
    if inside and plan.valid.fullmatch(inside.encode()):
        return True
    return None if {len(national), len(inside)} & plan.lengths else False


_DATE = re.compile(r"(?:19|20)\d\d[-./ ]\d{1,2}[-./ ]\d{1,2}|\d{1,2}[-./ ]\d{1,2}[-./ ](?:19|20)\d\d")


def phone_national(value: str) -> bool | None:
    """A number without its country: 7-13 digits, not a date, not one repeated digit. It takes context to believe it."""
    digits = digits_of(value)
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


def mac_address(value: str) -> bool | None:
    """A station's address: not all zeros or ones, and not a row of clock times. IEEE 802-2014 §8.1."""
    digits = re.sub("[^0-9a-f]", "", value.lower())
    if len(set(digits)) < 3 or (digits.isdigit() and ":" in value and len(set(digits)) < 5):
        return False
    return None


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
    if _stands_for_nothing(value) or text in _USERLESS or _CALL_PATH.match(value):
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
        "uk_nino": uk_nino,
        "nhs": _stdnum("gb.nhs"),
        "fr_nir": fr_nir,
        "national_lettered": national_lettered,
        "national_formatted": national_formatted,
        "national_eleven": national_eleven,
        "national_thirteen": national_thirteen,
        "national_short": national_short,
        "some_digits": some_digits,
        "record_number": record_number,
        "vin": vin,
        "wallet": wallet,
        "bic": bic,
        "phone": phone,
        "phone_national": phone_national,
        "email": email,
        "ip_address": ip_address,
        "mac_address": mac_address,
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
"""Every validator that a catalogue entry may name."""
