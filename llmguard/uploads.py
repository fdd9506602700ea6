"""Uploads: files that come in parts (``/uploads``). The guard answers for the provider until the file is whole.

Parts lie sealed in the spool, each bound to its upload and caller, until ``complete`` names them in order: only then is
there a file, which goes through the pipeline like any other and is sent anew in parts of our own. Size and MD5 are
checked before anything is looked at. What is not completed in a day is wiped.

Never does: send, or believe a part's id of another upload. Source: OpenAI's description of the Uploads API.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from llmguard import audit, spool
from llmguard.approvals import contents
from llmguard.effects import Assembled
from llmguard.errors import Conflict, GuardUnavailable, InvalidRequest, LLMGuardError, NotFound, RequestTooLarge
from llmguard.model import AuditEntry, Call, FormField, Payload, Principal, pieces_of
from llmguard.payload import multipart
from llmguard.payload.json import Number
from llmguard.store import Store, Transaction
from llmguard.vault import Vault

LIFETIME = 86400 * 1000
"""Milliseconds until what is not completed is wiped."""
MAX_OPEN = 100
"""Uploads that one caller may have open."""
MAX_PARTS = 10_000
PART = 64 * 1024 * 1024
"""Bytes of a part, at most."""
_PURPOSE = "upload"
_LONGEST = 512
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


class Uploads:
    """Uploads of one installation."""

    def __init__(self, vault: Vault, store: Store, largest: int) -> None:
        """``largest``: bytes of a whole file."""
        self._vault, self._store, self._largest = vault, store, largest

    def step(self, call: Call, document: Any) -> Mapping[str, Any] | Assembled:
        """One call of the Uploads API: its answer, or of ``complete`` the whole file.

        Raises InvalidRequest, NotFound, RequestTooLarge, GuardUnavailable.
        """
        id_ = dict(call.path_params).get("upload_id", "")
        match call.operation.name:
            case "uploads.create":
                return self._create(call, document)
            case "uploads.parts.create":
                return self._part(call, id_)
            case "uploads.complete":
                return self._complete(call, id_, document)
            case "uploads.cancel":
                return self._end(call, id_, "cancelled")
        raise GuardUnavailable("this is no step of an upload")

    def moved(self, call: Call, stage: Literal["sending", "sent", "back"]) -> None:
        """Where a whole file is on its way; once it was sent, its parts are wiped. Raises Conflict."""
        id_ = dict(call.path_params).get("upload_id", "")
        if stage == "sent":
            self._end(call, id_, "completed", "sending")
            return
        before, after = ("pending", "sending") if stage == "sending" else ("sending", "pending")

        def work(tx: Transaction) -> int:
            return tx.run(
                "UPDATE uploads SET state = ? WHERE tenant = ? AND id = ? AND principal = ? AND state = ?",
                *(after, call.tenant, id_, call.principal.id, before),
            )

        if self._store.transact(work) != 1:
            raise Conflict("this upload is being completed by another request already")

    # ----------------------------------------------------------------- steps

    def _create(self, call: Call, document: Any) -> Mapping[str, Any]:
        told = _asked(document)
        if told["bytes"] > self._largest:
            raise RequestTooLarge(f"the upload is larger than max_upload_bytes ({self._largest})")
        id_ = f"upload_{secrets.token_hex(16)}"

        def work(tx: Transaction) -> Mapping[str, Any]:
            row = tx.one(
                "SELECT count(*) AS n FROM uploads WHERE tenant = ? AND principal = ? AND state = 'pending'",
                *(call.tenant, call.principal.id),
            )
            if row is not None and row["n"] >= MAX_OPEN:
                raise GuardUnavailable(f"{MAX_OPEN} uploads of this caller are open: complete or cancel some first")
            sealed = self._vault.seal(call.tenant, _PURPOSE, id_, json.dumps(told).encode())
            tx.run(
                "INSERT INTO uploads VALUES (?, ?, ?, ?, ?, ?, ?)",
                *(call.tenant, id_, call.principal.id, "pending", sealed, tx.now, tx.now + LIFETIME),
            )
            self._log(tx, call, "upload.created", id_, bytes=told["bytes"], purpose=told["purpose"])
            return _shown(id_, told, "pending", tx.now)

        return self._store.transact(work)

    def _part(self, call: Call, id_: str) -> Mapping[str, Any]:
        content = _data(call.body.fields)
        part = f"part_{secrets.token_hex(16)}"
        self._store.read(lambda tx: self._open(tx, call.principal, id_))  # nothing is kept for what is not there
        spool.keep(content)

        def work(tx: Transaction) -> Mapping[str, Any]:
            row, told = self._open(tx, call.principal, id_)
            sql = "SELECT count(*) AS n, coalesce(sum(size), 0) AS size FROM upload_parts"
            have = tx.one(f"{sql} WHERE tenant = ? AND upload = ?", call.tenant, id_)
            if have is not None and (have["n"] >= MAX_PARTS or have["size"] + len(content) > 2 * told["bytes"] + PART):
                raise InvalidRequest("the parts are more than the upload was announced to have")
            sealed = self._vault.seal(call.tenant, "part", f"{id_}:{part}", contents.pack(content))
            tx.run("INSERT INTO upload_parts VALUES (?, ?, ?, ?, ?)", call.tenant, id_, part, len(content), sealed)
            for one in spool.inside(content):
                tx.run("INSERT INTO spools VALUES (?, ?, ?)", call.tenant, one.id, id_)
            created = tx.now // 1000
            return {"id": part, "object": "upload.part", "created_at": created, "upload_id": row["id"]}

        try:
            return self._store.transact(work)
        except LLMGuardError:
            for one in spool.inside(content):
                spool.drop(self._vault, one.id)
            raise

    def _complete(self, call: Call, id_: str, document: Any) -> Assembled:
        ids, md5 = _named(document)

        def work(tx: Transaction) -> tuple[dict[str, Any], tuple[Payload, ...]]:
            _, told = self._open(tx, call.principal, id_)
            return told, tuple(self._opened(tx, call.tenant, id_, part) for part in ids)

        told, parts = self._store.read(work)
        size = sum(len(p) for p in parts)
        if size != told["bytes"]:
            raise InvalidRequest(f"the parts have {size} bytes together, and {told['bytes']} were announced")
        whole = _joined(parts)
        if md5 and md5.lower() != whole.md5:
            raise InvalidRequest("the MD5 of the parts is not the one that was sent")
        fields = [FormField(name, str(told[name]).encode()) for name in ("purpose", "mime_type")]
        after = told.get("expires_after") or {}
        fields += [FormField(f"expires_after[{k}]", str(v).encode()) for k, v in sorted(after.items())]
        return Assembled(id_, (*fields, FormField("file", whole, told["filename"], told["mime_type"])))

    def _end(self, call: Call, id_: str, state: str, before: str = "pending") -> Mapping[str, Any]:
        def work(tx: Transaction) -> tuple[Mapping[str, Any], list[str]]:
            row, told = self._open(tx, call.principal, id_, before)
            sql = "SELECT id FROM spools WHERE tenant = ? AND approval = ?"
            gone = [str(r["id"]) for r in tx.all(sql, call.tenant, id_)]
            tx.run("DELETE FROM spools WHERE tenant = ? AND approval = ?", call.tenant, id_)
            tx.run("DELETE FROM upload_parts WHERE tenant = ? AND upload = ?", call.tenant, id_)
            tx.run("UPDATE uploads SET state = ? WHERE tenant = ? AND id = ?", state, call.tenant, id_)
            self._log(tx, call, f"upload.{state}", id_)
            return _shown(id_, told, state, row["created"]), gone

        shown, gone = self._store.transact(work)
        for one in gone:
            if not self._store.read(lambda tx, one=one: contents.referred(tx, one)):  # type: ignore[misc]
                spool.drop(self._vault, one)
        return shown

    # ----------------------------------------------------------------- rows

    def _open(
        self, tx: Transaction, principal: Principal, id_: str, state: str = "pending"
    ) -> tuple[Any, dict[str, Any]]:
        """An upload of this caller that is not over, and what was announced. Raises NotFound."""
        row = tx.one(
            "SELECT * FROM uploads WHERE tenant = ? AND id = ? AND principal = ? AND state = ? AND expires > ?",
            *(principal.tenant, id_, principal.id, state, tx.now),
        )
        if row is None:
            raise NotFound("there is no such upload of this caller, or it is over: create another one")
        return row, json.loads(self._vault.open(principal.tenant, _PURPOSE, id_, bytes(row["sealed"])))

    def _opened(self, tx: Transaction, tenant: str, id_: str, part: str) -> Payload:
        row = tx.one("SELECT sealed FROM upload_parts WHERE tenant = ? AND upload = ? AND id = ?", tenant, id_, part)
        if row is None:
            raise InvalidRequest("part_ids names a part that this upload does not have")
        packed = self._vault.open(tenant, "part", f"{id_}:{part}", bytes(row["sealed"]))
        return contents.unpack(self._vault, tenant, packed)

    def _log(self, tx: Transaction, call: Call, kind: str, id_: str, **details: Any) -> None:
        told = {"call": call.id, "principal": call.principal.id, "upload": id_, **details}
        audit.append(tx, [AuditEntry(kind, call.tenant, told)])


def sweep(tx: Transaction) -> None:
    """Forgets the uploads whose time is over; their parts lose what keeps them in the spool."""
    over = "SELECT id FROM uploads WHERE expires <= ?"
    for table, column in (("spools", "approval"), ("upload_parts", "upload")):
        tx.run(f"DELETE FROM {table} WHERE {column} IN ({over})", tx.now)  # noqa: S608  own words
    tx.run("DELETE FROM uploads WHERE expires <= ?", tx.now)


def _asked(document: Any) -> dict[str, Any]:
    """What is announced. Raises InvalidRequest."""
    asked = document if isinstance(document, dict) else {}
    told: dict[str, Any] = {name: asked.get(name) for name in ("filename", "purpose", "mime_type")}
    size = asked.get("bytes")
    if not all(type(v) is str and 0 < len(v) <= _LONGEST for v in told.values()):
        raise InvalidRequest("an upload has filename, purpose and mime_type, each a text")
    if not multipart.is_media_type(told["mime_type"]) or _CONTROLS.search(told["filename"] + told["purpose"]):
        raise InvalidRequest("mime_type is a media type; filename and purpose hold no control characters")
    if type(size) is not Number or not size.isdecimal() or len(size) > 15:
        raise InvalidRequest("bytes is the size of the file, a whole number")
    after = asked.get("expires_after")
    if after is not None:
        if not isinstance(after, dict) or not {*after} <= {"anchor", "seconds"}:
            raise InvalidRequest("expires_after has an anchor and seconds")
        told["expires_after"] = {k: str(v)[:_LONGEST] for k, v in after.items()}
    return {**told, "bytes": int(size)}


def _data(fields: Sequence[FormField]) -> Payload:
    if len(fields) != 1 or fields[0].name != "data" or len(fields[0].content) > PART:
        raise InvalidRequest("a part is one field, data, of at most 64 MB")
    return fields[0].content


def _named(document: Any) -> tuple[list[str], str]:
    """The parts in their order, and the MD5 if one was sent. Raises InvalidRequest."""
    asked = document if isinstance(document, dict) else {}
    ids, md5 = asked.get("part_ids"), asked.get("md5")
    named = [i for i in ids if type(i) is str] if isinstance(ids, list) else []
    if not 0 < len(named) <= MAX_PARTS or len({*named}) < len(ids or ()) or not (md5 is None or type(md5) is str):
        raise InvalidRequest("part_ids is a list of the parts in their order, each once; md5 is text")
    return named, md5 or ""


def _joined(parts: tuple[Payload, ...]) -> spool.Joined:
    sha, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    for part in parts:
        for piece in pieces_of(part):
            sha.update(piece)
            md5.update(piece)
    return spool.Joined(parts, sha.hexdigest(), md5.hexdigest())


def _shown(id_: str, told: Mapping[str, Any], state: str, created: int) -> Mapping[str, Any]:
    return {
        "id": id_,
        "object": "upload",
        "bytes": told["bytes"],
        "created_at": created // 1000,
        "expires_at": (created + LIFETIME) // 1000,
        "filename": told["filename"],
        "purpose": told["purpose"],
        "status": state,
        "file": None,
    }
