"""Makers: which type is drawn how, and when two spellings are one value.

Types are drawn as their own format wants (``MAKERS``), others by character: a letter for a letter, a digit for a digit.
People have makers of their own (``people``), since a person has several names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from llmguard.model import Category
from llmguard.redaction.surrogates import contact, dates, numbers, places, secrets
from llmguard.redaction.surrogates.draw import Draw, bare

Digest = Callable[[str, str], bytes]
"""A keyed digest of (type, value) of one tenant."""
Maker = Callable[[str, Draw], str]
TRIES = 64
"""Draws for a value, until one is nobody's."""
INVENTED = 48
"""Draws of a person with common names; then with words that nobody is called."""
_RUN = re.compile(r"[^\W_]+")


def _other(value: str, draw: Draw) -> str:
    """Words that can be spoken for words, and characters of the same kind for codes."""

    def run(match: re.Match[str]) -> str:
        word = match[0]
        if word.isalpha() and (len(word) > 2 or not word.isupper()):
            return draw.word(word)
        return numbers.hexed(word, draw)

    return _RUN.sub(run, value)


MAKERS: Mapping[str, Maker] = MappingProxyType(
    {
        "EMAIL": contact.email,
        "PHONE": contact.phone,
        "IP_ADDRESS": contact.ip_address,
        "MAC_ADDRESS": contact.mac_address,
        "INTERNAL_HOST": contact.host,
        "USERNAME": contact.username,
        "BANK_UPI": contact.payment_address,
        "CREDIT_CARD": numbers.card,
        "CREDIT_CARD_EXPIRY": numbers.expiry,
        "IBAN": numbers.iban,
        "BIC": numbers.bic,
        "BANK_ROUTING": numbers.routing,
        "US_SSN": numbers.social,
        "US_ITIN": numbers.social,
        "UK_NINO": numbers.nino,
        "NHS_NUMBER": numbers.nhs,
        "NATIONAL_ID": numbers.national,
        "TAX_ID": numbers.national,
        "DEVICE_ID": numbers.device,
        "VEHICLE_ID": numbers.vehicle,
        "CRYPTO_WALLET": numbers.wallet,
        "DATE_OF_BIRTH": dates.date_of_birth,
        "ADDRESS": places.address,
        "COORDINATES": places.coordinates,
    }
)
"""By type. Secrets have a maker of their own, as a category."""


_NUMBERS = """
PHONE CREDIT_CARD IBAN BANK_ACCOUNT BANK_ROUTING US_SSN US_ITIN UK_NINO NHS_NUMBER NATIONAL_ID TAX_ID MAC_ADDRESS
DEVICE_ID
"""
_BARE = frozenset(_NUMBERS.split())
"""Types whose values are the same with and without separators."""


def maker(type_: str, category: Category) -> Maker:
    """What draws a value of a type that is no person."""
    return secrets.secret if category == "secret" else MAKERS.get(type_, _other)


def same(type_: str, category: Category, value: str) -> str:
    """What a value is drawn from: equal for spellings that are one value."""
    return value if category == "secret" else bare(value).casefold() if type_ in _BARE else value.casefold()


def drawing(digest: Digest, type_: str, value: str, attempt: int) -> Draw:
    """The draws of an attempt. They follow from the key, the type and the value alone."""
    return Draw(digest(f"surrogate\x1f{type_}", f"{attempt}\x1f{value}"))
