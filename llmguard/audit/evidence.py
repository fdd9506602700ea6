"""The offline verifier of evidence: an approval's document against the signed log that it quotes. Pure functions.

It believes the log's key and nothing else: every fact must be what the entries say, every entry must be in the tree
that the checkpoint signs, every commitment must open. What nobody can prove from here is whether entries were left out
that changed nothing (a vote that was not enough, a look); those that changed something are counted.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from llmguard.audit import merkle
from llmguard.audit.note import Head, Verifier
from llmguard.audit.note import verify as verify_note
from llmguard.audit.verify import Report
from llmguard.errors import AuditError
from llmguard.model import Egress

KIND = "llmguard evidence"
VERSION = 1
CONTROLS: Mapping[str, tuple[str, ...]] = {
    "SOC 2 CC6.1": ("approval.principal", "approval.human", "approval.requirement"),
    "SOC 2 CC6.2": ("votes.human", "votes.authenticated"),
    "SOC 2 CC6.3": ("approval.requirement.groups", "approval.excluded"),
    "SOC 2 CC7.2": ("approval.risk", "approval.findings", "approval.unscanned", "entries"),
    "SOC 2 CC7.3": ("votes.verdict", "votes.reason"),
    "SOC 2 CC8.1": ("approval.digest", "votes.digest", "revisions", "approval.policy_version"),
    "NIST 800-53 AC-3(2)": ("approval.requirement.groups", "votes.human", "votes.digest"),
    "NIST 800-53 AC-5": ("approval.human", "approval.excluded", "votes.human"),
    "NIST 800-53 AU-9": ("checkpoint", "continues", "entries.proof"),
    "NIST 800-53 AU-10": ("votes", "salt", "entries.leaf", "key"),
    "NIST 800-53 CM-3": ("approval.operation", "approval.rule", "approval.policy_version", "revisions"),
}
"""Which field answers which control."""
_MEMBERS = frozenset(
    {
        *("kind", "version", "approval", "votes", "revisions", "salt", "entries", "checkpoint", "continues", "key"),
        "controls",
    }
)
_SAYS = (
    *("principal", "human", "excluded", "call", "subject", "kind", "operation", "destination", "rule"),
    *(
        "policy_version",
        "requirement",
        "risk",
        "findings",
        "unscanned",
        "revises",
        "revision",
        "standing",
        "exceptions",
        "advisory",
    ),
)
"""What the entry of the beginning says of an approval."""
_CHANGES = ("rule", "policy_version", "requirement")
"""What a later entry may say anew."""
_STILL = frozenset(f"approval.{what}" for what in ("vote", "proposal", "evidence", "raw_view", "records", "labels"))
"""Entries that leave an approval as it is."""
_ALSO = frozenset({"approval.break_glass", "approval.late_outcome"})
_FACTS = frozenset({"id", "tenant", "state", "version", "digest", "created", "updated", *_SAYS})
_VOTE = frozenset({"human", "verdict", "reason", "digest", "time", "authenticated"})


class _Wrong(Exception):
    """What the document says at a place does not hold."""


@dataclass(frozen=True, slots=True)
class _Entry:
    index: int
    time: int
    tenant: str
    kind: str
    details: Mapping[str, Any]

    @property
    def moves(self) -> bool:
        """Whether it is a step of the approval, not just about it."""
        return self.kind.startswith("approval.") and self.kind not in _STILL | _ALSO


def verify_evidence(document: Any, key: str, checkpoints: Sequence[str] = ()) -> Report:
    """Checks a document against the log's verifier ``key``, and that it continues the notes that left the host.

    ``key`` comes from whoever watches the log, not from the document. The report counts entries that are proven, and as
    unwitnessed those that are newer than the last of ``checkpoints``. Raises ConfigError for a key that is none.
    """
    verifiers = tuple(Verifier.parse(line) for line in key.split())
    check = _Check(document, verifiers, checkpoints)
    return check.run()


class _Check:
    def __init__(self, document: Any, verifiers: tuple[Verifier, ...], checkpoints: Sequence[str]) -> None:
        self._document = document
        self._verifiers = verifiers
        self._notes = checkpoints
        self._problems: list[str] = []
        self._entries: list[_Entry] = []
        self._witnessed = 0

    def run(self) -> Report:
        if not isinstance(self._document, dict) or self._document.get("kind") != KIND:
            return Report(0, 0, 0, ("kind: this is no evidence of llmguard.",))
        if self._document.get("version") != VERSION:
            return Report(0, 0, 0, (f"version: this verifier reads version {VERSION}.",))
        if missing := _MEMBERS - set(self._document):
            return Report(0, 0, 0, (f"{min(missing)}: it is missing.",))
        if more := set(self._document) - _MEMBERS - {"payload"}:
            self._problems.append(f"{min(more)}: evidence has no such field.")
        head: Head | None = self._attempt("checkpoint", self._checkpoint)
        if head is not None:
            self._attempt("entries", lambda: self._prove(head))
            self._attempt("continues", lambda: self._witness(head))
        if head is not None and self._entries:
            self._attempt("revisions", lambda: self._revisions(head))
            for name, step in self._steps():
                self._attempt(name, step)
        unwitnessed = sum(e.index >= self._witnessed for e in self._entries)
        return Report(len(self._entries), int(head is not None), unwitnessed, tuple(self._problems))

    def _steps(self) -> tuple[tuple[str, Callable[[], None]], ...]:
        """What is compared with the proven entries, and where a document of another form is wrong then."""
        return (
            ("approval", self._facts),
            ("approval.digest, salt", self._open),
            ("entries", self._versions),
            ("votes", self._votes),
            ("votes", self._people),
            ("controls", self._controls),
            ("payload", self._payload),
        )

    def _attempt(self, name: str, step: Callable[[], Any]) -> Any:
        """What is not even of the right shape is wrong, too."""
        try:
            return step()
        except _Wrong as e:
            self._problems.append(str(e))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as e:
            self._problems.append(f"{name}: it is not of the form of evidence ({type(e).__name__}).")
        return None

    # ----------------------------------------------------------------- the log

    def _checkpoint(self) -> Head:
        told = self._document["key"]
        if told not in {str(v) for v in self._verifiers}:
            raise _Wrong("key: the document names another key of the log than the one that was given.")
        try:
            return verify_note(self._document["checkpoint"], self._verifiers)
        except AuditError as e:
            raise _Wrong(f"checkpoint: {e.message}.") from None

    def _prove(self, head: Head) -> None:
        last = -1
        for number, told in enumerate(self._document["entries"]):
            entry = _proven(f"entries[{number}]", told, head)
            if entry.index <= last:
                raise _Wrong(f"entries[{number}].index: entries are in the order of the log, each once.")
            last = entry.index
            if entry.details.get("approval") != self._document["approval"].get("id"):
                raise _Wrong(f"entries[{number}]: it speaks of another approval than approval.id.")
            self._entries.append(entry)
        if not self._entries or self._entries[0].kind != "approval.held":
            self._entries.clear()
            raise _Wrong("entries: the first one is not the approval's beginning (approval.held).")

    def _witness(self, head: Head) -> None:
        """The checkpoint is among those that left the host, or continues one of them."""
        former = self._former(head)
        outside = {h.size: h.root for h in self._outside()}
        for known in (head, former):
            if known is not None and known.size in outside:
                if outside[known.size] != known.root:
                    raise _Wrong("checkpoint: one of this size left the host, and it is another one.")
                self._witnessed = known.size
                return
        if outside:
            raise _Wrong("continues: no checkpoint that left the host is named here; export the evidence again.")

    def _former(self, head: Head) -> Head | None:
        told = self._document["continues"]
        if told is None:
            return None
        if set(told) != {"checkpoint", "proof"}:
            raise _Wrong("continues: it is a checkpoint and a proof.")
        try:
            former = verify_note(told["checkpoint"], self._verifiers)
        except AuditError as e:
            raise _Wrong(f"continues.checkpoint: {e.message}.") from None
        if not merkle.extends(former.size, head.size, former.root, head.root, _steps(told["proof"])):
            raise _Wrong("continues.proof: the log of the checkpoint does not continue the one before.")
        return former

    def _outside(self) -> Iterator[Head]:
        """What left the host, signed with this key; what another key signed, or nobody, witnesses nothing."""
        for note in self._notes:
            with suppress(AuditError):
                yield verify_note(note, self._verifiers)

    # ----------------------------------------------------------------- what the document says

    def _facts(self) -> None:
        approval = self._document["approval"]
        if odd := set(approval) ^ _FACTS:
            self._problems.append(f"approval.{min(odd)}: it is missing, or no fact of an approval.")
        steps = [e for e in self._entries if e.moves]
        said = dict(self._entries[0].details)
        for step in steps:
            said |= {name: step.details[name] for name in _CHANGES if name in step.details}
        last = steps[-1]
        said |= {"id": said["approval"], "tenant": last.tenant, "created": steps[0].time, "updated": last.time}
        said |= {"state": last.details["state"], "version": last.details["version"]}
        for name in sorted(_FACTS - {"digest"}):
            if not _same(approval.get(name), said.get(name)):
                self._problems.append(f"approval.{name}: the entries say something else.")
        if any(e.tenant != last.tenant for e in self._entries):
            self._problems.append("entries: they are of several tenants.")

    def _open(self) -> None:
        """The salt and the digest give the commitment that every entry of the approval holds."""
        digest = bytes.fromhex(self._document["approval"]["digest"])
        told = _blinded(self._salt(), digest)
        if any("egress" in e.details and e.details["egress"] != told for e in self._entries):
            raise _Wrong("approval.digest, salt: they do not open the commitments of the log.")

    def _salt(self) -> bytes:
        salt = self._document["salt"]
        if not isinstance(salt, str) or not re.fullmatch(r"[0-9a-f]{64}", salt):
            raise _Wrong("salt: it has 64 hex digits.")
        return bytes.fromhex(salt)

    def _versions(self) -> None:
        """Every step from the first to the last is here."""
        found = [e.details["version"] for e in self._entries if e.moves]
        if found != list(range(1, len(found) + 1)):
            raise _Wrong("entries: a step of the approval is missing, or there twice.")

    def _votes(self) -> None:
        """Each vote is an entry, and each entry of a vote is one."""
        logged = [e for e in self._entries if e.kind == "approval.vote"]
        votes = self._document["votes"]
        for number, vote in enumerate(votes):
            if set(vote) != _VOTE:
                raise _Wrong(f"votes[{number}]: a vote is {', '.join(sorted(_VOTE))}.")
            entry = next((e for e in logged if e.details["by"] == vote["human"]), None)
            if entry is None:
                raise _Wrong(f"votes[{number}].human: among the entries is no vote of this person.")
            self._vote(f"votes[{number}]", vote, entry)
        if len(votes) != len(logged):
            raise _Wrong("votes: the log has another number of them.")

    def _vote(self, place: str, vote: Mapping[str, Any], entry: _Entry) -> None:
        said = {"verdict": entry.details["verdict"], "time": entry.time, "digest": self._document["approval"]["digest"]}
        said["authenticated"] = entry.details["authenticated"]
        for name, value in said.items():
            if not _same(vote[name], value):
                self._problems.append(f"{place}.{name}: the log says something else.")
        if _blinded(self._salt(), vote["reason"].encode()) != entry.details["reason"]:
            self._problems.append(f"{place}.reason: it does not open the commitment of the log.")

    def _people(self) -> None:
        """Distinct people, none of them behind the request; and as many as were needed if they approved it."""
        approval, votes = self._document["approval"], self._document["votes"]
        boxes = [_mailbox(str(v["human"])) for v in votes]
        if len(set(boxes)) < len(boxes):
            self._problems.append("votes: one person voted twice.")
        barred = {_mailbox(p) for p in (approval["human"], *approval["excluded"]) if p}
        if barred & set(boxes):
            self._problems.append("votes: somebody voted who is behind the request, or gains by it.")
        opened = [e for e in self._entries if e.kind == "approval.approved"]
        alone = approval["standing"] or any(v["verdict"] == "break_glass" for v in votes)
        approving = sum(v["verdict"] == "approve" for v in votes)
        if opened and not alone and approving < sum(self._entries[0].details["requirement"]["groups"].values()):
            self._problems.append("votes: it was approved by fewer people than were needed.")

    def _revisions(self, head: Head) -> None:
        """The beginnings of those before and after it, each naming the one before."""
        revisions, approval = self._document["revisions"], self._document["approval"]
        if set(revisions) != {"before", "after"}:
            raise _Wrong("revisions: they are those before and those after.")
        former, number = "", 1
        for place in ("before", "now", "after"):
            told = [None] if place == "now" else revisions[place]
            for i, one in enumerate(told):
                entry = self._entries[0] if one is None else _proven(f"revisions.{place}[{i}]", one, head)
                said = entry.details
                if entry.kind != "approval.held" or (said["revises"], said["revision"]) != (former, number):
                    where = "approval.revises, revisions" if one is None else f"revisions.{place}[{i}]"
                    raise _Wrong(f"{where}: it does not take the place of the one before it.")
                former, number = said["approval"], number + 1
        if bool(revisions["after"]) != (approval["state"] == "SUPERSEDED"):
            raise _Wrong("revisions.after: what was superseded has a revision after it, and nothing else.")

    def _controls(self) -> None:
        if self._document["controls"] != {control: list(fields) for control, fields in CONTROLS.items()}:
            raise _Wrong("controls: this is not the map that llmguard gives.")

    def _payload(self) -> None:
        if "payload" not in self._document:
            return
        told = dict(self._document["payload"])
        told["headers"] = tuple((name, value) for name, value in told["headers"])
        told["body"] = _told(told)
        if Egress(**told).digest() != self._document["approval"]["digest"]:
            raise _Wrong("payload: it is not what approval.digest names.")


@dataclass(frozen=True, slots=True)
class _Elsewhere:
    """A body that is too large to be told: its digest is."""

    digest: str
    size: int

    def __len__(self) -> int:
        return self.size

    def pieces(self, start: int = 0) -> Iterator[bytes]:
        raise _Wrong("payload: this body is not told.")


def _told(payload: dict[str, Any]) -> bytes | _Elsewhere:
    """Takes the body out of a payload."""
    if "body_digest" not in payload:
        return base64.b64decode(payload["body"], validate=True)
    digest, size = payload.pop("body_digest"), payload.pop("bytes")
    if type(digest) is not str or type(size) is not int:
        raise _Wrong("payload: body_digest is text, bytes a number.")
    return _Elsewhere(digest, size)


def _proven(place: str, told: Mapping[str, Any], head: Head) -> _Entry:
    """An entry that the signed tree holds at its index."""
    if set(told) != {"index", "leaf", "proof"} or type(told["index"]) is not int:
        raise _Wrong(f"{place}: an entry is index, leaf and proof.")
    index, leaf = told["index"], told["leaf"].encode()
    if not merkle.includes(merkle.leaf_hash(leaf), index, head.size, _steps(told["proof"]), head.root):
        raise _Wrong(f"{place}: leaf, index or proof were altered: the signed log does not hold it there.")
    said = json.loads(leaf)
    return _Entry(index, said["time"], said["tenant"], said["kind"], said["details"])


def _same(one: Any, other: Any) -> bool:
    """Equal, and of the same type: 1 is not true."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _blinded(salt: bytes, content: bytes) -> str:
    return hashlib.sha256(salt + content).hexdigest()


def _mailbox(email: str) -> str:
    """An address without ``+tag``. Said here once more: the verifier shares no code with who is verified."""
    local, _, domain = email.partition("@")
    return f"{local.partition('+')[0] or local}@{domain}"


def _steps(told: Sequence[str]) -> list[bytes]:
    try:
        return [base64.b64decode(step, validate=True) for step in told]
    except binascii.Error:
        return []
