"""The vault's cryptography: tags, seals, attestations and the keys behind them. No storage, no I/O but the key files.

Four kinds of keys live in a private folder, one file each, and rotate independently:

* ``tag``: HMAC keys of placeholders and digests, by epoch; old epochs stay readable.
* ``seal``: AES-256-GCM keys of everything stored; a ciphertext names its key and is bound to tenant, purpose and row.
* ``log``: the Ed25519 key that signs checkpoints.
* ``session``: HMAC key of sessions, one-time codes and attested rows (votes, people, keys of the data plane).

Invariant: nothing here returns an original value without the tenant, purpose and row that it was sealed for.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import secrets
import tempfile
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from llmguard.errors import ConfigError, GuardUnavailable

KINDS = ("tag", "seal", "log", "session")
TAG_LENGTH = 10
"""Base32 characters of a placeholder's tag: 50 bits."""
MAX_TAG_LENGTH = 26


class Keyring:
    """The four kinds of keys of one installation. ``open(folder)`` creates what is missing."""

    def __init__(self, keys: Mapping[str, tuple[bytes, ...]], folder: Path | None = None) -> None:
        """``folder``: where they lie, if they do."""
        self.folder = folder
        if set(keys) != set(KINDS) or not all(keys.values()):
            raise ConfigError(f"a keyring needs keys of the kinds {', '.join(KINDS)}")
        self._keys = {kind: tuple(values) for kind, values in keys.items()}

    @classmethod
    def generate(cls) -> Keyring:
        """Fresh keys that live in memory only."""
        return cls({kind: (secrets.token_bytes(32),) for kind in KINDS})

    @classmethod
    def open(cls, folder: Path) -> Keyring:
        """Reads ``folder``/KIND.json; missing files are made (0600). Raises ConfigError."""
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # mkdir gives its mode to the last folder alone
        folder.mkdir(mode=0o700, exist_ok=True)
        return cls({kind: _read_or_create(folder / f"{kind}.json") for kind in KINDS}, folder)

    def match(self, tenant: str) -> tuple[bytes, ...]:
        """What the tenant's match files are built and read under: of the newest tag key, then of older ones."""
        return tuple(self._derive("tag", i, tenant, "match") for i in reversed(range(self.epochs())))

    def epochs(self) -> int:
        return len(self._keys["tag"])

    def _derive(self, kind: str, index: int, *info: str) -> bytes:
        material = self._keys[kind][index]
        return _derived(material, "\x1f".join((kind, *info)))

    def tag(self, tenant: str, epoch: int = -1) -> bytes:
        return self._derive("tag", epoch, tenant)

    def seal(self, tenant: str, index: int) -> bytes:
        return self._derive("seal", index, tenant)

    def newest_seal(self) -> int:
        return len(self._keys["seal"]) - 1

    def session(self) -> bytes:
        return self._keys["session"][-1]

    def signer(self) -> Ed25519PrivateKey:
        """The key that signs checkpoints."""
        return Ed25519PrivateKey.from_private_bytes(self._keys["log"][-1])

    def log_id(self) -> str:
        """Eight hex digits that tell this installation's log from others: the beginning of its public key's SHA-256."""
        return hashlib.sha256(self.signer().public_key().public_bytes_raw()).hexdigest()[:8]


@lru_cache(maxsize=4096)
def _derived(material: bytes, info: str) -> bytes:
    return hmac.digest(material, b"llmguard derive v1\x1f" + info.encode(), "sha256")


def _read_or_create(path: Path) -> tuple[bytes, ...]:
    if not path.exists():
        make_key(path)
    return read_keys(path)


def make_key(path: Path) -> None:
    """A key file with a fresh key (0600). One that is there stays as it is."""
    _create(path, {"keys": [base64.b64encode(secrets.token_bytes(32)).decode()]})


def read_keys(path: Path) -> tuple[bytes, ...]:
    """The keys of a file, oldest first. Raises ConfigError if there is none, or if others can read it."""
    if not path.is_file():
        raise ConfigError(f"{path} is no key file")
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"{path} can be read by others; run: chmod 600 {path}")
    try:
        keys = tuple(base64.b64decode(k, validate=True) for k in json.loads(path.read_text())["keys"])
    except (ValueError, KeyError, TypeError) as e:
        raise ConfigError(f"{path} is not a key file; restore it from your backup") from e
    if not keys or any(len(k) != 32 for k in keys):
        raise ConfigError(f"{path} holds a key of the wrong length; restore it from your backup")
    return keys


def _create(path: Path, content: Mapping[str, object]) -> None:
    """Writes the file whole or not at all; of two processes that try, one wins and both read the winner's."""
    fd, temporary = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(fd, "w") as f:
            json.dump(content, f)
            f.flush()
            os.fsync(f.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        os.unlink(temporary)


class Vault:
    """Placeholders of values, and seals over what is stored."""

    def __init__(self, keyring: Keyring) -> None:
        self.keyring = keyring

    def digest(self, tenant: str, type_: str, value: str) -> bytes:
        """32 bytes that name a value of a tenant without revealing it (HMAC-SHA256 under the newest tag key)."""
        return hmac.digest(self.keyring.tag(tenant), f"{type_}\x00{value}".encode(), "sha256")

    def digests(self, tenant: str, type_: str, value: str) -> list[bytes]:
        """The same under every tag key, the newest first: what the value was named by at any time."""
        named = f"{type_}\x00{value}".encode()
        epochs = reversed(range(self.keyring.epochs()))
        return [hmac.digest(self.keyring.tag(tenant, epoch), named, "sha256") for epoch in epochs]

    def placeholder(self, tenant: str, type_: str, value: str, length: int = TAG_LENGTH) -> str:
        """``[TYPE_tag]``: the same value, the same placeholder. A longer ``length`` evades a collision."""
        if not TAG_LENGTH <= length <= MAX_TAG_LENGTH:
            raise GuardUnavailable("a placeholder could not be made unique; send the call without look-alikes")
        tag = base64.b32encode(self.digest(tenant, type_, value)).decode().lower()
        return f"[{type_}_{tag[:length]}]"

    def exception(self, tenant: str, type_: str, value: str) -> str:
        """64 hex digits that name a value of a type, for exceptions alone: nothing else is named so."""
        return self.digest(tenant, f"exception\x1f{type_}", value).hex()

    def request_key(self, tenant: str, pieces: Iterable[bytes]) -> str:
        """A keyed digest over length-prefixed pieces; it joins retries of one request and says nothing else."""
        h = hmac.new(self.keyring.tag(tenant, 0), b"request key v1", "sha256")
        for piece in pieces:
            h.update(len(piece).to_bytes(8, "big"))
            h.update(piece)
        return h.hexdigest()

    def seal(self, tenant: str, purpose: str, row: str, plaintext: bytes) -> bytes:
        """Ciphertext that opens only for the same tenant, purpose and row."""
        index = self.keyring.newest_seal()
        nonce = secrets.token_bytes(12)
        cipher = AESGCM(self.keyring.seal(tenant, index))
        return index.to_bytes(2, "big") + nonce + cipher.encrypt(nonce, plaintext, _bound(tenant, purpose, row))

    def open(self, tenant: str, purpose: str, row: str, sealed: bytes) -> bytes:
        """Raises GuardUnavailable if the ciphertext is not the one that was sealed for this place."""
        try:
            cipher = AESGCM(self.keyring.seal(tenant, int.from_bytes(sealed[:2], "big")))
            return cipher.decrypt(sealed[2:14], sealed[14:], _bound(tenant, purpose, row))
        except (InvalidTag, IndexError, ValueError):
            raise GuardUnavailable(f"a sealed {purpose} does not open: wrong key, or altered") from None

    def attest(self, purpose: str, *fields: str) -> str:
        """A MAC that ties a stored row to this installation: who writes the database alone cannot forge it."""
        h = hmac.new(self.keyring.session(), f"llmguard attest v1\x1f{purpose}".encode(), "sha256")
        for f in fields:
            encoded = f.encode()
            h.update(len(encoded).to_bytes(8, "big"))
            h.update(encoded)
        return h.hexdigest()

    def attested(self, attestation: str, purpose: str, *fields: str) -> bool:
        """Constant-time check of ``attest``."""
        return hmac.compare_digest(attestation.encode(), self.attest(purpose, *fields).encode())


def _bound(tenant: str, purpose: str, row: str) -> bytes:
    return "\x1f".join((tenant, purpose, row)).encode()


def commitment(salt: bytes, content: bytes) -> str:
    """SHA-256(salt ‖ content): what the log says of content. Erasing the salt erases the link."""
    return hashlib.sha256(salt + content).hexdigest()
