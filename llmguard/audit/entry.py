"""The offline verifier of one entry: a document with its leaf, against the signed log that it quotes. Pure."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from llmguard.audit import merkle
from llmguard.audit.note import Head, Verifier
from llmguard.audit.note import verify as verify_note
from llmguard.audit.publication import parse_keys
from llmguard.audit.verify import Report
from llmguard.errors import AuditError

KIND = "llmguard entry"
VERSION = 1
_MEMBERS = frozenset(("kind", "version", "index", "leaf", "proof", "checkpoint", "key"))


def document(index: int, leaf: str, proof: Sequence[str], checkpoint: str, key: str) -> dict[str, Any]:
    """What ``verify_entry`` reads. ``proof`` is in base64, ``checkpoint`` a signed note."""
    told = {"kind": KIND, "version": VERSION, "index": index, "leaf": leaf, "proof": list(proof)}
    return told | {"checkpoint": checkpoint, "key": key}


def verify_entry(told: Any, keys: str, notes: Sequence[str] = ()) -> Report:
    """Whether the signed log holds the entry. ``keys``: verifier keys, one a line, as they were noted down.

    ``notes`` are checkpoints that left the host; without the document's among them the entry counts as unwitnessed.
    Raises ConfigError for keys that are none.
    """
    verifiers = parse_keys(keys)
    problem, witnessed = "", False
    try:
        head = _proven(told, verifiers)
        outside = {h.size: h.root for h in _outside(notes, verifiers)}
        witnessed = outside.get(head.size) == head.root
        if head.size in outside and not witnessed:
            problem = "checkpoint: one of this size left the host, and it is another one."
    except AuditError as e:
        problem = e.message
    return Report(1, int(not problem), int(not witnessed), (problem,) if problem else ())


def _proven(told: Any, verifiers: tuple[Verifier, ...]) -> Head:
    """The head that the entry is proven under. Raises AuditError."""
    if not isinstance(told, Mapping) or set(told) != _MEMBERS or (told["kind"], told["version"]) != (KIND, VERSION):
        raise AuditError(f"this is no entry of a log: its members are {', '.join(sorted(_MEMBERS))}.")
    if told["key"] not in {str(v) for v in verifiers}:
        raise AuditError("key: the document names another key of the log than the one that was given.")
    try:
        head = verify_note(told["checkpoint"], verifiers)
        leaf = told["leaf"].encode()
        proof = [base64.b64decode(step, validate=True) for step in told["proof"]]
        index = told["index"] if type(told["index"]) is int else -1
        json.loads(leaf)
    except AuditError as e:
        raise AuditError(f"checkpoint: {e.message}.") from None
    except (TypeError, AttributeError, ValueError, binascii.Error) as e:
        raise AuditError(f"this is not of the form of an entry ({type(e).__name__}).") from None
    if not merkle.includes(merkle.leaf_hash(leaf), index, head.size, proof, head.root):
        raise AuditError("leaf, index or proof were altered: the signed log does not hold it there.")
    return head


def _outside(notes: Sequence[str], verifiers: tuple[Verifier, ...]) -> list[Head]:
    heads = []
    for note in notes:
        with suppress(AuditError):  # what another key signed witnesses nothing
            heads.append(verify_note(note, verifiers))
    return heads
