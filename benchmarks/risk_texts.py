"""Labelled documents of our own for the risk benchmark, where no others are given: templates, filled from a seed.

Labels are those of the slots, so they do not come from anything that was found.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Callable, Iterator

from benchmarks.rubric import Span
from llmguard.testing import Fakes

TEMPLATES = (
    "Could you ask {person} to send the slides before noon?",
    "Minutes: {person} opened the meeting, {person} presented the budget, {person} objected.",
    "Write a friendly answer to {person}, who asks where the parcel to {street} is.",
    "Reply to {email} that the invoice was paid last week.",
    "Call {phone} and ask whether the room is free on Friday.",
    "Name: {person}\nMail: {email}\nPhone: {phone}\nAddress: {street}\nWants a refund.",
    "Refund card {card} with the last amount, please.",
    "Customer {person} wants to change the account to {iban}.",
    "The applicant {person} has the social security number {us_ssn}, is that format right?",
    'curl -H "Authorization: Bearer {token}" https://api.example.com/v1/items',
    "AWS_ACCESS_KEY_ID={cloud_key_secret}\nREGION=eu-central-1\n",
    "connect with password={password} and show the tables",
    "Compare these mails for tone: {email} wrote politely, {email} did not.",
    "The server at {ip_address} answers slowly since Monday, what can I measure?",
    "Sort by city:\n{rows}",
    "Explain the difference between a mutex and a semaphore in two sentences.",
    "A baker sells {number} rolls on Monday and twice as many on Tuesday. How many in all?",
    "def total(items):\n    return sum(item.price * item.count for item in items)  # build {number}",
    "Translate into French: the meeting was moved to the {number}th of March.",
    "Order {long_number} was shipped with tracking {long_number}, summarise the delay.",
    "Rewrite this commit message: fix off-by-one in page {number} of the report",
    "What does the error code 0x{hexed} mean in build {long_number}?",
)
_GIVEN = ("Jane", "Omar", "Lucia", "Peter", "Mei", "Anna", "Tom", "Ravi", "Elena", "Noah", "Ivan", "Sofia")
_SURNAMES = ("Doe", "Haddad", "Marin", "Novak", "Chen", "Schmidt", "Okafor", "Iyer", "Rossi", "Berg", "Petrov", "Silva")
_STREETS = ("Mill Lane", "Station Road", "Park Avenue", "Church Street", "High Street", "Elm Drive")
_SLOT = re.compile(r"\{(\w+)\}")


def documents(each: int, seed: int) -> Iterator[tuple[str, str, list[Span]]]:
    """``each`` of every template: the template's name, the text and its labelled spans."""
    maker = _Maker(seed)
    for number, template in enumerate(TEMPLATES):
        for _ in range(each):
            whole = template.replace("{rows}", "\n".join(["{person};{email};{phone}"] * maker.chance.randint(1, 12)))
            yield f"template {number}", *_filled(whole, maker)


def _filled(template: str, maker: _Maker) -> tuple[str, list[Span]]:
    text, spans, end = "", [], 0
    for slot in _SLOT.finditer(template):
        text += template[end : slot.start()]
        value, label = maker.slots[slot[1]](), slot[1].upper()
        if slot[1] not in ("number", "long_number", "hexed"):
            spans.append((len(text), len(text) + len(value), label))
        text, end = text + value, slot.end()
    return text + template[end:], spans


class _Maker:
    """Values by slot, from a seed."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = random.Random(seed)
        fakes = Fakes(seed)
        self.slots: dict[str, Callable[[], str]] = {
            "person": lambda: f"{chance.choice(_GIVEN)} {chance.choice(_SURNAMES)}",
            "email": fakes.email,
            "phone": lambda: f"+1 212 555 {chance.randint(100, 9999):04d}",
            "street": lambda: f"{chance.randint(2, 99)} {chance.choice(_STREETS)}, Springfield, IL 62704",
            "card": fakes.card,
            "iban": lambda: self._iban("".join(chance.choices(string.digits, k=18))),
            "us_ssn": lambda: f"{chance.randint(101, 665)}-{chance.randint(11, 99)}-{chance.randint(1001, 9999)}",
            "token": fakes.token,
            "cloud_key_secret": fakes.cloud_key,
            "password": lambda: "".join(chance.choices(string.ascii_letters + string.digits + "#%!", k=14)),
            "ip_address": lambda: ".".join(str(chance.randint(11, 200)) for _ in range(4)),
            "number": lambda: str(chance.randint(2, 28)),
            "long_number": lambda: str(chance.randint(10**7, 10**8)),
            "hexed": lambda: f"{chance.randint(0, 2**32):08x}",
        }

    def _iban(self, account: str) -> str:
        """A German one with the right check digits (ISO 7064)."""
        return f"DE{98 - int(account + '131400') % 97:02d}{account}"
