"""Entries become canonical leaves in the transaction of what they speak of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard import audit
from llmguard.audit import log, merkle
from llmguard.errors import AuditError
from llmguard.model import AuditEntry
from llmguard.store import Transaction

if TYPE_CHECKING:
    from tests.audit.conftest import Installation

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**53) + 1, max_value=2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=10,
)


@settings(max_examples=60, deadline=None)
@given(details=st.dictionaries(st.text(st.characters(max_codepoint=127)), JSON))
def test_leaves_are_always_canonical(details: dict[str, Any]) -> None:
    leaf = log._leaf("01JD0000000000000000000000", 1, AuditEntry("kind", "default", details))
    content = {"v": 1, "id": "01JD0000000000000000000000", "time": 1, "tenant": "default", "kind": "kind"}
    assert leaf == rfc8785.dumps({**content, "details": details})


def test_a_leaf_reads_as_documented(guard: Installation) -> None:
    first = guard.store.read(lambda tx: audit.entries(tx, 0, 1))[0]
    assert first.details == {"number": 0, "verdict": "redact"}
    assert first.leaf.decode() == (
        f'{{"details":{{"number":0,"verdict":"redact"}},"id":"{first.id}","kind":"decision",'
        f'"tenant":"default","time":{first.time},"v":1}}'
    )


@pytest.mark.parametrize("value", [2**53, float("nan"), b"canary", {1: "canary"}, object(), "\ud800canary"])
def test_what_has_no_canonical_form_is_refused_without_showing_it(guard: Installation, value: object) -> None:
    with pytest.raises(AuditError, match="kind decision") as caught:
        guard.store.transact(lambda tx: audit.append(tx, [AuditEntry("decision", "default", {"x": value})]))
    assert "canary" not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert guard.store.read(audit.size) == 12


def test_entries_fall_with_the_transaction_that_they_speak_of(guard: Installation) -> None:
    def work(tx: Transaction) -> None:
        audit.append(tx, [AuditEntry("decision", "default", {})])
        audit.append(tx, [AuditEntry("outcome", "default", {})])
        assert audit.size(tx) == 14
        raise LookupError

    with pytest.raises(LookupError):
        guard.store.transact(work)
    assert guard.store.read(audit.size) == 12


def test_appending_nothing_changes_nothing(guard: Installation) -> None:
    guard.store.transact(lambda tx: audit.append(tx, []))
    assert guard.store.read(audit.size) == 12


def test_proofs_hold_before_and_after_nodes_are_filled(guard: Installation) -> None:
    guard.append(9)  # 9 entries without stored nodes
    for _ in range(2):

        def check(tx: Transaction) -> None:
            for size in (1, 5, 12, 16, 21):
                head = log.root(tx, size)
                for index in range(size):
                    leaf = merkle.leaf_hash(audit.entries(tx, index, index + 1)[0].leaf)
                    assert merkle.includes(leaf, index, size, audit.inclusion(tx, index, size), head)
                proof = audit.consistency(tx, size, 21)
                assert merkle.extends(size, 21, head, log.root(tx, 21), proof)

        guard.store.read(check)
        guard.checkpoint()


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(st.integers(min_value=1, max_value=9), max_size=6), limit=st.sampled_from([2, 4, 6, 1000]))
def test_filled_nodes_are_the_tree_however_it_grew(
    tmp_path_factory: pytest.TempPathFactory, forgeable: Installation, steps: list[int], limit: int
) -> None:
    grown = type(forgeable).at(tmp_path_factory.mktemp("grown"))
    frontier = merkle.Frontier()
    for step in steps:
        grown.append(step)
        while grown.store.transact(lambda tx: log.fill(tx, limit)) < grown.written:
            pass
    for e in grown.store.read(lambda tx: audit.entries(tx, 0, 100)):
        frontier.push(merkle.leaf_hash(e.leaf))
    count = grown.store.read(lambda tx: tx.all("SELECT level, idx FROM audit_nodes"))
    assert grown.store.read(lambda tx: log.root(tx, grown.written)) == frontier.root()
    assert len(count) == sum(grown.written >> level for level in range(1, 10))
    grown.store.close()


@pytest.mark.parametrize(("index", "size"), [(12, 12), (-1, 5), (0, 13), (0, 0)])
def test_proofs_outside_of_the_log_are_refused(guard: Installation, index: int, size: int) -> None:
    with pytest.raises(AuditError, match="holds 12 entries"):
        guard.store.read(lambda tx: audit.inclusion(tx, index, size))
