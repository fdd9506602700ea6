"""Surrogates: values that look like the original and are nobody's. One way: nothing brings the original back.

Drawn from a keyed digest of the value: the same value has the same surrogate in every call of a tenant, and without the
key nothing is told. Owns no state but that of one call. Types are drawn as their own format wants (``MAKERS``), others
by character: a letter for a letter, a digit for a digit.

Invariants: a surrogate is never the original nor any value that the call was told to avoid; two values of a call never
share one. What cannot be drawn so after ``TRIES`` is a hash instead (None). Work is linear in the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from llmguard.model import Category
from llmguard.redaction.surrogates import contact, dates, numbers, people, places, secrets
from llmguard.redaction.surrogates.draw import Draw, bare

__all__ = ["MAKERS", "Digest", "Surrogates", "Value"]

Digest = Callable[[str, str], bytes]
"""A keyed digest of (type, value) of one tenant."""
Value = tuple[str, Category, str]
"""Type, category and the value itself."""
Maker = Callable[[str, Draw], str]
TRIES = 64
_APART = 32
"""Tries in which two people do not share a word of their names."""
_INVENTED = 48
"""Tries with common names."""
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
"""By type. People have makers of their own, since a person has several names; so have secrets, as a category."""


_NUMBERS = """
PHONE CREDIT_CARD IBAN BANK_ACCOUNT BANK_ROUTING US_SSN US_ITIN UK_NINO NHS_NUMBER NATIONAL_ID TAX_ID MAC_ADDRESS
DEVICE_ID
"""
_BARE = frozenset(_NUMBERS.split())
"""Types whose values are the same with and without separators."""


class Surrogates:
    """Surrogates of one call. ``links``: names that are shorter forms, and of which whole name."""

    def __init__(self, digest: Digest, links: Mapping[str, str] | None = None) -> None:
        self._digest, self._links = digest, links or {}
        self._avoid: set[str] = set()
        self._apart: set[str] = set()
        self._taken: dict[str, str] = {}
        self._persons: dict[str, tuple[str, ...]] = {}
        self._drawn: set[tuple[str, ...]] = set()
        self._words: dict[str, str] = {}
        self._made: dict[tuple[str, str], str | None] = {}

    def avoid(self, values: Iterable[Value]) -> None:
        """No surrogate is one of these, nor a word of a person's name one of a person among these."""
        for type_, _, value in values:
            self._avoid.add(_folded(value))
            if type_ == "PERSON":
                self._apart.update(people.spoken(value))

    def of(self, type_: str, category: Category, value: str) -> str | None:
        """The surrogate of a value; None if there is none that could be told from what is to be avoided."""
        key = type_, value
        if key not in self._made:
            self._made[key] = self._person(value) if type_ == "PERSON" else self._value(type_, category, value)
        return self._made[key]

    def ours(self, type_: str, value: str) -> bool:
        """Whether a value is a surrogate that was given out in this call, or a shorter form of such a name."""
        if type_ != "PERSON":
            return _folded(value) in self._taken
        mine = people.spoken(value)
        owner = next((self._words.get(word) for word in mine if len(word) > 1), None)
        return owner is not None and _within(mine, self._persons[owner])

    def _value(self, type_: str, category: Category, value: str) -> str | None:
        maker = secrets.secret if category == "secret" else MAKERS.get(type_, _other)
        same = value if category == "secret" else bare(value).casefold() if type_ in _BARE else value.casefold()
        for attempt in range(TRIES):
            new = maker(value, self._draw(type_, same, attempt))
            folded = _folded(new)
            owner = self._taken.setdefault(folded, same) if folded not in self._avoid else ""
            if owner == same and folded != _folded(value):
                return new
        return None

    def _person(self, value: str) -> str | None:
        whole = self._links.get(value, value)
        name = " ".join(people.spoken(whole))
        if name not in self._persons:
            self._persons[name] = self._named(whole, name)
        new = people.written(value, whole, self._persons[name], self._draw("PERSON", value, TRIES))
        return new if _folded(new) not in self._avoid and _folded(new) != _folded(value) else None

    def _named(self, whole: str, name: str) -> tuple[str, ...]:
        """Words for a person, which nobody else in the call has; after many tries, others may have one of them."""
        drawn: tuple[str, ...] = ()
        for attempt in range(TRIES):
            draw = self._draw("PERSON", name, attempt)
            drawn = tuple(people.drawn(whole, draw, invented=attempt >= _INVENTED))
            folded = {w.casefold() for w in drawn}
            apart = not folded & self._words.keys() or (attempt >= _APART and drawn not in self._drawn)
            if apart and not folded & self._apart and len(folded) == len(drawn):
                break
        self._drawn.add(drawn)
        self._words.update({w.casefold(): name for w in drawn})
        return drawn

    def _draw(self, type_: str, value: str, attempt: int) -> Draw:
        return Draw(self._digest(f"surrogate\x1f{type_}", f"{attempt}\x1f{value}"))


def _folded(value: str) -> str:
    return (bare(value) or value).casefold()


def _within(some: list[str], words: Iterable[str]) -> bool:
    """Whether ``some`` are words of ``words``, or their initials, in order."""
    rest = iter([w.casefold() for w in words])
    return all(any(w == s or (len(s) == 1 and w[:1] == s) for w in rest) for s in some)
