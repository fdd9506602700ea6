"""How a person is reached: phone numbers and e-mail addresses.

Invariant: True means proved by a checksum or a parser, False drops the finding, None cannot say. Each is linear in the
length of its value, and raises nothing on any text.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import NamedTuple

import re2

from llmguard.validators.base import DATE, Validator, digits_of


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


def phone_national(value: str) -> bool | None:
    """A number without its country: 7-13 digits, not a date, not one repeated digit. It takes context to believe it."""
    digits = digits_of(value)
    if not 7 <= len(digits) <= 13 or len(set(digits)) == 1 or DATE.match(value):
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


VALIDATORS: Mapping[str, Validator] = MappingProxyType(
    {
        "phone": phone,
        "phone_national": phone_national,
        "email": email,
    }
)
"""Validators of this module, by the names that catalogue entries use."""
