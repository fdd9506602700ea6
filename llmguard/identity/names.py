"""Names of people and groups: one spelling each, so that two look-alikes are never two people."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from llmguard.errors import InvalidRequest

_EMAIL = re.compile(r"[a-z0-9._%+'-]{1,64}@[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
_GROUP = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def normal_email(text: str) -> str:
    """The one spelling of an address: NFKC, lower case, ASCII only, so that two look-alikes are never two people.

    Raises InvalidRequest.
    """
    email = unicodedata.normalize("NFKC", text.strip()).lower()
    if len(email) > 254 or not _EMAIL.fullmatch(email):
        raise InvalidRequest("not an e-mail address that can be used: ASCII letters, one @, at most 254 characters")
    return email


def mailbox(email: str) -> str:
    """The address without ``+tag``: who is compared when one person must not act as two."""
    local, _, domain = email.partition("@")
    return f"{local.partition('+')[0] or local}@{domain}"


def same_human(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and mailbox(one) == mailbox(other)


def normal_groups(groups: Sequence[str]) -> tuple[str, ...]:
    """Sorted, distinct group names. Raises InvalidRequest."""
    names = tuple(sorted({g.strip().lower() for g in groups}))
    if len(names) > 32 or not all(_GROUP.fullmatch(g) for g in names):
        raise InvalidRequest("a group's name has up to 64 of a-z, 0-9, - and _; a person has up to 32 groups")
    return names
