"""Signed notes: the C2SP formats ``signed-note`` and ``tlog-checkpoint``, with Ed25519. Pure functions.

A checkpoint is ``origin\\nsize\\nbase64(root)\\n``, perhaps with extension lines, then a blank line, then signature
lines ``— name base64(key id ‖ signature)``. The signature is over the text up to and with its last newline.
https://c2sp.org/signed-note, https://c2sp.org/tlog-checkpoint
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from llmguard.errors import AuditError, ConfigError

_ED25519 = b"\x01"
_SIGNATURE = "\N{EM DASH} "
_NAME = re.compile(r"[^\s+]+")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
MAX_NOTE = 1_000_000
"""Characters of a note that is read."""
MAX_SIGNATURES = 100


@dataclass(frozen=True, slots=True)
class Verifier:
    """A key that checkpoints are checked with; as text ``name+hex(key id)+base64(0x01 ‖ public key)``."""

    name: str
    public: bytes

    @classmethod
    def parse(cls, text: str) -> Verifier:
        """Raises ConfigError."""
        try:
            name, id_, key = text.strip().split("+", 2)
            raw = base64.b64decode(key, validate=True)
        except (ValueError, binascii.Error):
            raise ConfigError("a verifier key reads name+hash+key; copy it whole from log.vkey") from None
        found = cls(name, raw[1:])
        if raw[:1] != _ED25519 or len(raw) != 33 or not _NAME.fullmatch(name) or id_.lower() != found.id.hex():
            raise ConfigError(f"the verifier key of {name!r} is damaged; copy it whole from log.vkey")
        return found

    @classmethod
    def of(cls, name: str, key: Ed25519PrivateKey) -> Verifier:
        if not _NAME.fullmatch(name):
            raise ConfigError("the name of a log has neither spaces nor plus signs")
        return cls(name, key.public_key().public_bytes_raw())

    @property
    def id(self) -> bytes:
        """Key id: the first 4 bytes of SHA-256(name ‖ newline ‖ 0x01 ‖ public key)."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"


@dataclass(frozen=True, slots=True)
class Head:
    """What a checkpoint says: the log ``origin`` had ``size`` entries and this root."""

    origin: str
    size: int
    root: bytes


def sign(head: Head, key: Ed25519PrivateKey) -> str:
    """The signed note of a head. The key's name is the origin."""
    verifier = Verifier.of(head.origin, key)
    text = f"{head.origin}\n{head.size}\n{base64.b64encode(head.root).decode()}\n"
    signature = base64.b64encode(verifier.id + key.sign(text.encode())).decode()
    return f"{text}\n{_SIGNATURE}{head.origin} {signature}\n"


def read(note: str) -> Head:
    """The head of a note, whoever signed it. Raises AuditError if it is not a checkpoint."""
    text, _ = _parts(note)
    return _head(text)


def verify(note: str, verifiers: tuple[Verifier, ...]) -> Head:
    """The head of a note that one of ``verifiers`` signed. Signatures of unknown keys are passed over, as C2SP asks.

    Raises AuditError if none is known or a known one is wrong.
    """
    text, signatures = _parts(note)
    head = _head(text)
    known = [(v, s) for v in verifiers for name, s in signatures if v.name == name and v.id == s[:4]]
    if not known:
        raise AuditError("it is not signed with the key that was given")
    for verifier, signature in known:
        try:
            Ed25519PublicKey.from_public_bytes(verifier.public).verify(signature[4:], text.encode())
        except (InvalidSignature, ValueError):
            raise AuditError("its signature is wrong: it was altered or forged") from None
    if head.origin not in {verifier.name for verifier, _ in known}:
        raise AuditError("it speaks of another log than the key that signed it")
    return head


def _parts(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    text, separator, tail = note.rpartition("\n\n")
    lines = tail.split("\n")
    if len(note) > MAX_NOTE or not separator or lines.pop() != "" or not 0 < len(lines) <= MAX_SIGNATURES:
        raise AuditError("it is not a signed note, or a part of one")
    return text + "\n", [_signature(line) for line in lines]


def _signature(line: str) -> tuple[str, bytes]:
    fields = line.removeprefix(_SIGNATURE).split(" ")
    if not line.startswith(_SIGNATURE) or len(fields) != 2 or not _NAME.fullmatch(fields[0]):
        raise AuditError("it has a line that is no signature")
    return fields[0], _decoded(fields[1], "a signature")


def _head(text: str) -> Head:
    lines = text.removesuffix("\n").split("\n")
    if len(lines) < 3 or not all(lines) or not _SIZE.fullmatch(lines[1]):
        raise AuditError("it is a signed note, but not a checkpoint")
    origin, size, root = lines[:3]
    digest = _decoded(root, "the root")
    if len(digest) != 32:
        raise AuditError("its root is not a SHA-256 hash")
    return Head(origin, int(size), digest)


def _decoded(text: str, what: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise AuditError(f"{what} in it is not base64") from None
    if base64.b64encode(raw).decode() != text:  # one spelling only, so that no bit of a note is free
        raise AuditError(f"{what} in it is not base64 in its one form")
    return raw
