"""Training: what is sealed with an approval of training data: its report, what people decided of its records, and how
they labelled the sample.

It owns the sealed review and its changes. Never does: sift, vote, or hold a raw value. Invariants: who decided to keep
a record as it was written does not vote on the revision that keeps it; a label is of a record in the sample; everything
that is done here is in the log, in counts.
"""

from __future__ import annotations

import hmac
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from llmguard.approvals import record
from llmguard.approvals.approvals import Approvals
from llmguard.census import Looked, Report
from llmguard.errors import Conflict, InvalidRequest, NotAllowed, NotFound
from llmguard.identity import Person
from llmguard.model import Approval, Egress, Payload
from llmguard.sifting import Decided
from llmguard.sifting.choices import Choice
from llmguard.store import Transaction
from llmguard.vault import Vault

Label = Literal["missed", "fine"]
BY_RECORD = ("jsonl", "csv")
"""Layouts whose records are decided of one by one."""
MAX_LABELS = 300


@dataclass(frozen=True, slots=True)
class Review:
    """What reviewers know and said. ``met``: of how many records each decision was made; ``labels``: by record, from 0,
    what somebody saw there, and who."""

    report: Report
    decided: tuple[Decided, ...] = ()
    met: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[int, tuple[Label, str]] = field(default_factory=dict)

    @property
    def keepers(self) -> tuple[str, ...]:
        """Who decided that something leaves as it was written."""
        return tuple(sorted({d.by for d in self.decided if d.choice == "keep"}))

    @property
    def whole(self) -> Report:
        """The report with the bounds that the labels give."""
        if not self.labels:
            return self.report
        strata = {s.record: s.stratum for s in self.report.sample}
        looked = Counter(strata[n] for n in self.labels if n in strata)
        missed = Counter(strata[n] for n, (label, _) in self.labels.items() if n in strata and label == "missed")
        return self.report.labelled({name: Looked(n, missed[name]) for name, n in looked.items()})

    def as_json(self) -> dict[str, Any]:
        """For people: records are counted from 1."""
        return {
            "report": json.loads(self.whole.to_json()),
            "decisions": [{"records": d.named, "choice": d.choice, "by": d.by} for d in self.decided],
            "decided": dict(self.met),
            "labels": {str(n + 1): {"label": label, "by": by} for n, (label, by) in sorted(self.labels.items())},
        }


def told(decided: Sequence[Decided], labels: Mapping[int, tuple[Label, str]]) -> dict[str, Any]:
    """The part of a sealed review that people said."""
    people = sorted({d.by for d in decided} | {by for _, by in labels.values()})
    return {
        "people": people,
        "decided": [[d.first, d.last, d.choice, people.index(d.by)] for d in decided],
        "labels": {str(n): [label, people.index(by)] for n, (label, by) in labels.items()},
    }


def read(tx: Transaction, vault: Vault, approval: Approval) -> Review:
    """The review of an approval. Raises NotFound for one that has none, or whose payload was erased."""
    kept = record.report(tx, vault, approval)
    if kept is None:
        raise NotFound("this approval has no report: only uploads of training data have one", approval_id=approval.id)
    people = kept.get("people", ())
    decided = tuple(Decided(a, b, cast(Choice, c), people[by]) for a, b, c, by in kept.get("decided", ()))
    labels = {int(n): (cast(Label, label), people[by]) for n, (label, by) in kept.get("labels", {}).items()}
    return Review(Report.of_json(json.dumps(kept["report"])), decided, kept.get("met", {}), labels)


@dataclass(frozen=True, slots=True)
class Former:
    """What a decision about records is made of: the held upload, what it says, and what was written."""

    approval: Approval
    review: Review
    egress: Egress
    original: Payload
    justification: str

    def relabelled(self, gone: Sequence[Decided]) -> Mapping[int, tuple[Label, str]]:
        """The labels, but for those of records about which something else was decided."""
        return {n: label for n, label in self.review.labels.items() if not any(d.first <= n <= d.last for d in gone)}


def decidable(
    tx: Transaction, approvals: Approvals, who: Person, id_: str, *, digest: str, version: int | None
) -> Former:
    """An upload of whose records a person may decide. ``digest`` and ``version``: what was shown.

    Raises NotFound, NotAllowed, Conflict.
    """
    approval = _shown(tx, approvals, who, id_, digest, version)
    review = read(tx, approvals.vault, approval)
    if review.report.layout not in BY_RECORD:
        raise Conflict("this file has no records that can be told apart: approve or deny all of it", approval_id=id_)
    egress, original = approvals.egress(tx, approval), record.original(tx, approvals.vault, approval)
    return Former(approval, review, egress, original, approvals.justification(tx, approval))


def _shown(tx: Transaction, approvals: Approvals, who: Person, id_: str, digest: str, version: int | None) -> Approval:
    """Held training data that a person may vote on, as it was shown. Raises NotFound, NotAllowed, Conflict."""
    approval = approvals.review(tx, who.tenant, id_)
    if not approvals.may_see(tx, approval, who):
        raise NotFound("there is no such approval: llmguard approvals list shows them")
    if approval.subject != "call" or approval.kind != "training":
        raise Conflict("this approval is not about training data", approval_id=id_)
    if approval.state != "PENDING":
        raise Conflict(f"this approval is {approval.state}: nothing is left to decide", approval_id=id_)
    if not approvals.may_vote(tx, approval, who):
        raise NotAllowed("only whoever may vote on it decides about its records", approval_id=id_)
    if version is not None and version != approval.version:
        raise Conflict("the approval has changed since it was shown: look at it again", approval_id=id_)
    if not hmac.compare_digest(digest.encode(), approval.egress_digest.encode()):
        raise Conflict("these decisions are about other bytes: look at the approval again", approval_id=id_)
    return approval


def label(
    tx: Transaction, approvals: Approvals, who: Person, id_: str, digest: str, labels: Mapping[str, str]
) -> Review:
    """What a person saw in records of the sample, by number from 1: ``missed``, ``fine``, or ``none`` again.

    Raises NotFound, NotAllowed, Conflict, InvalidRequest.
    """
    approval = _shown(tx, approvals, who, id_, digest, None)
    review = read(tx, approvals.vault, approval)
    sampled = {s.record for s in review.report.sample}
    now = dict(review.labels)
    for named, said in labels.items():
        number = int(named) - 1 if named.isascii() and named.isdecimal() and len(named) < 12 else -1
        if number not in sampled or said not in ("missed", "fine", "none"):
            raise InvalidRequest("a label is missed, fine or none, of a record in the sample")
        if said == "none":
            now.pop(number, None)
        elif now.get(number, ("", ""))[0] != said:
            now[number] = (cast(Label, said), who.email)
    if now != review.labels:
        kept = record.report(tx, approvals.vault, approval) or {}
        record.keep_report(tx, approvals.vault, approval, {**kept, **told(review.decided, now)})
        counts = Counter(label for label, _ in now.values())
        said_of: dict[str, Any] = {"by": who.email, "missed": counts["missed"], "fine": counts["fine"]}
        said_of["why"] = f"{len(now):,} records, something missed in {counts['missed']:,}"
        record.log(tx, approvals.vault, approval, "approval.labels", said_of)
    return Review(review.report, review.decided, review.met, now)
