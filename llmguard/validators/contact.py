"""How a person is reached: phone numbers and e-mail addresses.

Invariant: True means proved by a checksum or a parser, False drops the finding, None cannot say. Each is linear in the
length of its value, and raises nothing on any text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

import re2

from llmguard.validators.base import DATE, Validator

_WHOLE = re2._Anchor.ANCHOR_BOTH
_NO_DIGITS = bytes(set(range(256)) - set(b"0123456789"))


def _digits(value: str) -> bytes:
    """The digits of a number as it is written, without its extension (``x12``, ``ext. 12``)."""
    return value.partition("x")[0].encode("ascii", "ignore").translate(None, _NO_DIGITS)


class _Plan(NamedTuple):
    """What libphonenumber knows of a country calling code."""

    match: Callable[[Any, bytes, int, int], Sequence[tuple[int, int]]]
    """RE2 of any national number that is in use, over all regions of the code."""
    lengths: frozenset[int]
    trunk: tuple[bytes, ...]
    """Prefixes that are dialled inside the country only, as in ``+44 (0)20``."""

    def valid(self, national: bytes) -> bool:
        return self.match(_WHOLE, national, 0, len(national))[0][0] == 0


@cache
def _plan(code: bytes) -> _Plan | None:
    """The numbering plan behind ``+code``, or None if there is none. 1-5 ms, once a code."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata  # 54 ms: paid at the first candidate only

    number = int(code)
    regions = COUNTRY_CODE_TO_REGION_CODE.get(number, ())
    plans = [PhoneMetadata.metadata_for_region_or_calling_code(number, region) for region in regions]
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
    trunk = frozenset(plan.national_prefix.encode() for plan in known if plan.national_prefix)
    in_use = re2.compile("|".join(f"(?:{p})" for p in sorted(patterns)).encode())
    return _Plan(in_use._regexp.Match, lengths, tuple(trunk))  # the wrapper around it costs three times the match


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
    digits = _digits(value)
    if value.startswith("00"):
        digits = digits[2:]
    if not 7 <= len(digits) <= 17 or digits[:1] == b"0" or digits.count(digits[:1]) == len(digits):
        return False
    for n in (2, 1, 3):  # no code is the start of another
        plan = _plan(digits[:n])
        if plan is not None:
            return _in_plan(plan, digits[n:])
    return False


def _in_plan(plan: _Plan, national: bytes) -> bool | None:
    if plan.valid(national):
        return True
    inside = next((national[len(t) :] for t in plan.trunk if national.startswith(t)), b"")
    if inside and plan.valid(inside):
        return True
    return None if {len(national), len(inside)} & plan.lengths else False


_NO_PHONE = re.compile(
    DATE.pattern + r"|(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])$"  # a date without separators
    r"|(?:19|20)\d\d\W{1,3}(?:19|20)\d\d$"  # years
    r"|\d+\.\d+$|\d{1,2}(?:\.\d{3})+$"  # decimals and thousands
)


def phone_national(value: str) -> bool | None:
    """A number without its country: 7-13 digits, or more behind ``00`` if in use; no date, no decimal, not one repeated
    digit. It takes context or grouping to believe it. ITU-T E.164 §6.
    """
    digits = _digits(value)
    if value.startswith("00"):
        return bool(phone(value))
    if not 7 <= len(digits) <= 13 or digits.count(digits[:1]) == len(digits) or _NO_PHONE.match(value):
        return False
    return None


_ENDINGS = """
png jpg jpeg gif svg webp bmp ico avif pdf css scss less js jsx mjs tsx html htm json xml yml yaml toml txt log csv
zip gz tgz exe dll so lock sum mean reshape transpose dot conj copy astype inv flatten detach numpy shape setter getter
deleter
"""
_NO_DOMAINS = frozenset(_ENDINGS.split())
"""File name endings that are no top-level domains anybody has mail in, and what follows a product of matrices."""
_REMOTE_USERS = frozenset({"git", "hg", "svn"})


def email(value: str) -> bool | None:
    """A plausible address: no SSH remote's user, file name (``icon@2x.png``) or version. RFC 5321 §4.1.2."""
    local, _, domain = value.rpartition("@")
    name, _, top = domain.rpartition(".")
    if domain[:1] == "[":
        return None
    if local in _REMOTE_USERS or top.lower() in _NO_DOMAINS or not name or len(top) < 2 or len(domain) > 253:
        return False
    if ".." in local or local[:1] == "." or local[-1:] == ".":
        return False
    return False if name.replace(".", "").isdigit() else None


VALIDATORS: Mapping[str, Validator] = MappingProxyType(
    {
        "phone": phone,
        "phone_national": phone_national,
        "email": email,
    }
)
"""Validators of this module, by the names that catalogue entries use."""
