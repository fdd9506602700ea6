"""What a risk says of a call in a reviewer's words: ``CREDIT_CARD`` is a card number, two are card numbers.

It knows types, kinds and counts, so nothing that it says can hold a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from llmguard.model import EVASION

_WORDS = {
    "PERSON": ("name", "names"),
    "ADDRESS": ("postal address", "postal addresses"),
    "AI_KEY": ("key of an AI provider", "keys of AI providers"),
    "AUTH_TOKEN": ("access token", "access tokens"),
    "BANK_ACCOUNT": ("bank account number", "bank account numbers"),
    "BANK_CREDITOR_ID": ("SEPA creditor identifier", "SEPA creditor identifiers"),
    "BANK_ROUTING": ("bank routing number", "bank routing numbers"),
    "BANK_UPI": ("UPI payment address", "UPI payment addresses"),
    "BIC": ("bank identifier (BIC)", "bank identifiers (BIC)"),
    "CLOUD_TOKEN": ("token of a cloud provider", "tokens of cloud providers"),
    "CODE_TOKEN": ("token of a code host or registry", "tokens of code hosts or registries"),
    "COMPANY_ID": ("company number", "company numbers"),
    "COORDINATES": ("place on the map", "places on the map"),
    "CREDIT_CARD": ("card number", "card numbers"),
    "CREDIT_CARD_EXPIRY": ("card expiry date", "card expiry dates"),
    "CRYPTO_WALLET": ("wallet address", "wallet addresses"),
    "CUSTOMER_ID": ("customer number", "customer numbers"),
    "DATE_OF_BIRTH": ("date of birth", "dates of birth"),
    "DEVICE_ID": ("device number", "device numbers"),
    "DRIVER_LICENSE": ("driving licence number", "driving licence numbers"),
    "EMAIL": ("e-mail address", "e-mail addresses"),
    EVASION: ("text hidden too deep to read", "texts hidden too deep to read"),
    "GOOGLE_KEY_ID": ("Google key identifier", "Google key identifiers"),
    "INTERNAL_HOST": ("internal host name", "internal host names"),
    "IP_ADDRESS": ("IP address", "IP addresses"),
    "JWT": ("signed token (JWT)", "signed tokens (JWT)"),
    "LICENSE_PLATE": ("licence plate", "licence plates"),
    "MAC_ADDRESS": ("network card address", "network card addresses"),
    "MEDICAL_ID": ("health insurance number", "health insurance numbers"),
    "MEDICAL_RECORD": ("medical record number", "medical record numbers"),
    "MESSAGE_TOKEN": ("token of a messaging service", "tokens of messaging services"),
    "MONITORING_KEY": ("key of a monitoring service", "keys of monitoring services"),
    "NATIONAL_ID": ("national identity number", "national identity numbers"),
    "NHS_NUMBER": ("NHS number", "NHS numbers"),
    "OTP_SEED": ("one-time password seed", "one-time password seeds"),
    "PAYMENT_KEY": ("key of a payment service", "keys of payment services"),
    "PHONE": ("phone number", "phone numbers"),
    "POSTAL_CODE": ("post code", "post codes"),
    "PRACTITIONER_ID": ("health practitioner's number", "health practitioners' numbers"),
    "SEED_PHRASE": ("wallet recovery phrase", "wallet recovery phrases"),
    "SESSION": ("session cookie or token", "session cookies or tokens"),
    "TAX_ID": ("tax number", "tax numbers"),
    "UK_NINO": ("UK national insurance number", "UK national insurance numbers"),
    "US_ITIN": ("US taxpayer number", "US taxpayer numbers"),
    "US_SSN": ("US social security number", "US social security numbers"),
    "USERNAME": ("user name", "user names"),
    "VEHICLE_ID": ("vehicle number", "vehicle numbers"),
    "WEBHOOK": ("webhook address with its secret", "webhook addresses with their secrets"),
}
"""Types whose own words would mislead; the others speak for themselves: ``STRIPE_KEY`` is a Stripe key."""
_CAPITAL = frozenset(("AI", "API", "AWS", "IBAN", "ID", "IP", "MAC", "OTP", "PIN", "SSH", "UK", "URL", "US", "VAT"))
_NAMES = {"github": "GitHub", "gitlab": "GitLab", "openai": "OpenAI", "google": "Google", "azure": "Azure"}
_NAMES |= {"anthropic": "Anthropic", "slack": "Slack", "stripe": "Stripe"}
_UNSEEN = {
    "names": "text past the limit was not searched for names",
    "tokens": "text written as token numbers of an unknown model was not read",
    "nesting": "JSON inside JSON inside JSON was not read to its end",
    "encrypted": "content that the provider had encrypted was not read",
    "image": "an image was not looked at",
    "unknown_file": "a model learns from a file that did not pass this guard",
    "audio": "a sound recording was not listened to",
    "video": "a video was not watched",
    "file": "a file was not opened",
    "archive": "not all of an archive was opened",
    "pdf": "a PDF, or a part of it, was not read",
}
WHERE = {"internal": "an internal model", "contract": "a provider under contract", "public": "a public provider"}
USES = {
    "inference": "it is answered, and not meant to be kept",
    "stored": "it is kept there",
    "training": "a model is trained on it",
    "administration": "it administers the account there",
    "action": "it is carried out",
    "unknown": "nobody knows what is done with it there",
}
_THAT = {
    "stored": " that stores it",
    "training": " that trains a model on it",
    "unknown": ", for a use that is not known",
}


@lru_cache(1024)
def named(type_: str, count: int = 1) -> str:
    """``count`` findings of a type in words, without the number; its name's words where it has none of its own."""
    if type_ in _WORDS:
        return _WORDS[type_][count != 1]
    words = [w if w in _CAPITAL else _NAMES.get(w.lower(), w.lower()) for w in type_.split("_") if w]
    one = " ".join(words) or "finding"
    return one if count == 1 else _plural(one)


def _plural(one: str) -> str:
    if one.endswith("y") and one[-2:-1] not in "aeiou":
        return f"{one[:-1]}ies"
    return f"{one}es" if one.endswith(("s", "x", "ch", "sh")) else f"{one}s"


@lru_cache(1024)
def counted(type_: str, count: int) -> str:
    """``3 card numbers``."""
    return f"{count:,} {named(type_, min(count, 2))}"


def unseen(kind: str) -> str:
    """What nobody looked into."""
    return _UNSEEN.get(kind, f"{kind}: a part that was not looked into")


def listed(words: Sequence[str]) -> str:
    """``a, b and c``."""
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)


def repeated(most: int) -> str:
    """What speaks for values that would be learnt by heart."""
    return f"a value comes back up to {most:,} times, and models learn repeats by heart"


@lru_cache(256)
def told(types: Sequence[str]) -> str:
    """What tells who somebody is. ``types`` is a tuple."""
    return f"tells who somebody is: {listed([named(t) for t in types])}"


@lru_cache(64)
def destined(trust: str, kind: str = "") -> str:
    """``to a public provider that stores it``."""
    return f"to {WHERE[trust]}{_THAT.get(kind, '')}"


@lru_cache(1024)
def sized(tokens: int) -> str:
    """``about 1,200 tokens of text (estimated)``."""
    return f"about {tokens:,} token{'s' * (tokens > 1)} of text (estimated)"


class Count(NamedTuple):
    """How many distinct values of a type, how severe they are, and whether they are a person's."""

    type: str
    values: int
    severity: int
    personal: bool


@lru_cache(1024)
def summary(counts: Sequence[Count], people: int, unscanned: Sequence[str], destination: str, leaving: str) -> str:
    """One sentence for whoever decides. ``counts`` is a tuple; ``people`` how many at least; ``leaving``: how."""
    ordered = sorted(counts, key=lambda c: (-c.severity, -c.values, c.type))
    named_too = any(c.type == "PERSON" for c in counts)
    of_people = [c for c in ordered if c.personal and c.type != "PERSON"] if named_too else []
    others = [c for c in ordered if c not in of_people and not (of_people and c.type == "PERSON")]
    said = _told(others)
    if of_people:
        said.append(f"{people:,} {'people' if people > 1 else 'person'} with {listed(_told(of_people))}")
    blind = "".join([f"; {unseen(kind)}" for kind in unscanned])
    return f"{listed(said) or 'nothing found'}, {destination}{leaving}{blind}"


def _told(counts: Sequence[Count]) -> list[str]:
    """The three that come first, and how many more there are."""
    told = [counted(c.type, c.values) for c in counts]
    return told if len(told) < 5 else [*told[:3], f"{len(told) - 3} more kinds of data"]
