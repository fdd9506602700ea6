"""Contents: how what a held call carries is sealed with its approval. Large files stay in the spool; the seal has their
names, sizes and SHA-256, so that what is read there later is what was looked at, or nothing.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from llmguard import spool
from llmguard.errors import GuardUnavailable
from llmguard.model import FormField, Payload
from llmguard.payload.multipart import Form
from llmguard.store import Transaction
from llmguard.vault import Vault

_PLAIN, _SPOOLED = b"b", b"s"
AFTERWARDS = 86400 * 1000
"""Milliseconds for which an upload is kept when its approval is over."""


def pack(payload: Payload) -> bytes:
    """Bytes as they are; of what is spooled its description."""
    if isinstance(payload, bytes):
        return _PLAIN + payload
    return _SPOOLED + json.dumps(_described(payload)).encode()


def unpack(vault: Vault, tenant: str, packed: bytes) -> Payload:
    """The reverse of ``pack``."""
    kind, rest = packed[:1], packed[1:]
    if kind == _PLAIN:
        return rest
    return _made(vault, tenant, json.loads(rest))


def _described(payload: Payload) -> Any:
    match payload:
        case bytes():
            return {"bytes": base64.b64encode(payload).decode()}
        case spool.Spooled():
            return {"spool": payload.id, "size": payload.size, "sha256": payload.digest}
        case spool.Joined():
            joined = [_described(content) for content in payload.contents]
            return {"joined": joined, "sha256": payload.digest, "md5": payload.md5}
        case Form():
            fields = [[f.name, f.filename, f.media_type, _described(f.content)] for f in payload.fields]
            return {"boundary": payload.boundary, "fields": fields}
    raise GuardUnavailable("a content of this kind cannot be kept")


def _made(vault: Vault, tenant: str, told: Any) -> Payload:
    if "bytes" in told:
        return base64.b64decode(told["bytes"])
    if "spool" in told:
        return spool.kept(vault, tenant, told["spool"], told["size"], told["sha256"])
    if "joined" in told:
        parts = tuple(_made(vault, tenant, content) for content in told["joined"])
        return spool.Joined(parts, told["sha256"], told["md5"])
    fields = [
        FormField(name, _made(vault, tenant, content), filename, media)
        for name, filename, media, content in told["fields"]
    ]
    return Form(told["boundary"], tuple(fields))


def keep(tx: Transaction, tenant: str, approval: str, *payloads: Payload) -> None:
    """Makes the files of these outlive their request, for an approval. Raises GuardUnavailable."""
    ids = {one.id for payload in payloads for one in spool.inside(payload)}
    for payload in payloads:
        spool.keep(payload)
    tx.many("INSERT OR IGNORE INTO spools VALUES (?, ?, ?)", [(tenant, id_, approval) for id_ in sorted(ids)])


def referred(tx: Transaction, id_: str) -> bool:
    """Whether an approval that is open, or was until a day ago, refers to a kept file; or an upload in parts."""
    row = tx.one(
        "SELECT 1 FROM spools s JOIN approvals a ON a.tenant = s.tenant AND a.id = s.approval WHERE s.id = ?"
        " AND (a.state IN ('PENDING', 'APPROVED', 'CHANGES_REQUESTED', 'EXECUTING') OR a.updated > ?)"
        " UNION ALL SELECT 1 FROM spools s JOIN uploads u ON u.tenant = s.tenant AND u.id = s.approval WHERE s.id = ?"
        " LIMIT 1",
        *(id_, tx.now - AFTERWARDS, id_),
    )
    return row is not None
