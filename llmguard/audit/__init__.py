"""The audit log: a Merkle tree over canonical entries, signed checkpoints that leave the host, an offline verifier.

``append`` in the transaction of what is spoken of; ``Checkpointer`` beside the traffic; ``verify`` anywhere.
"""

from llmguard.audit.checkpoint import Checkpoint, Checkpointer, checkpoint, covering
from llmguard.audit.checkpoint import last as checkpoint_last
from llmguard.audit.entry import verify_entry
from llmguard.audit.evidence import verify_evidence
from llmguard.audit.log import (
    LoggedEntry,
    about,
    append,
    consistency,
    entries,
    entries_of,
    inclusion,
    leaf_hash_at,
    search,
    size,
)
from llmguard.audit.note import Head, Verifier
from llmguard.audit.publication import CHECKPOINTS
from llmguard.audit.verify import Report, verify

__all__ = [
    "CHECKPOINTS",
    "Checkpoint",
    "Checkpointer",
    "Head",
    "LoggedEntry",
    "Report",
    "Verifier",
    "about",
    "append",
    "checkpoint",
    "checkpoint_last",
    "consistency",
    "covering",
    "entries",
    "entries_of",
    "inclusion",
    "leaf_hash_at",
    "search",
    "size",
    "verify",
    "verify_entry",
    "verify_evidence",
]
