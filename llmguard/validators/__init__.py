"""Validators: checksums and formats by name, pure functions of the matched text.

Owns: what a value must satisfy beyond its pattern, each with its source. Never does: searching, I/O, keeping a value.
Invariant: True means proved by a checksum or a parser, False drops the finding, None cannot say. Each is linear in the
length of its value, and raises nothing on any text.
"""

from __future__ import annotations

from collections.abc import Mapping

from llmguard.validators import (
    contact,
    financial,
    national,
    network,
    passwords,
    placeholders,
    records,
    secrets,
    vendors,
    wallets,
)
from llmguard.validators.base import Validator, merged

VALIDATORS: Mapping[str, Validator] = merged(
    financial.VALIDATORS,
    national.VALIDATORS,
    contact.VALIDATORS,
    network.VALIDATORS,
    records.VALIDATORS,
    passwords.VALIDATORS,
    placeholders.VALIDATORS,
    secrets.VALIDATORS,
    vendors.VALIDATORS,
    wallets.VALIDATORS,
)
"""Every validator that a catalogue entry may name."""

__all__ = ["VALIDATORS", "Validator"]
