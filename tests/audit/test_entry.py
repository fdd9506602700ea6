"""One entry of the log, verified elsewhere by its document alone; and on the command line."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from llmguard import audit
from llmguard.audit import Verifier, verify_entry
from llmguard.audit.entry import document
from llmguard.cli import main
from llmguard.vault import Keyring
from tests.audit.conftest import Installation, entry


@pytest.fixture
def told(tmp_path: Path) -> dict[str, Any]:
    """An entry in the middle of a witnessed log of seven."""
    log = Installation.at(tmp_path)
    log.store.transact(lambda tx: audit.append(tx, [entry(i) for i in range(7)]))
    made = audit.checkpoint(log.store, log.keyring, log.origin, log.outside)
    [found] = log.store.read(lambda tx: audit.entries(tx, 3, 4))
    proof = log.store.read(lambda tx: audit.inclusion(tx, 3, 7))
    log.store.close()
    steps = [base64.b64encode(step).decode() for step in proof]
    return document(3, found.leaf.decode(), steps, made.note, str(Verifier.of(log.origin, log.keyring.signer())))


def test_it_holds_and_is_witnessed_by_the_checkpoint_outside(told: dict[str, Any]) -> None:
    report = verify_entry(told, told["key"], [told["checkpoint"]])
    assert (report.ok, report.entries, report.unwitnessed) == (True, 1, 0)


@pytest.mark.parametrize("name", ["index", "leaf", "proof", "checkpoint", "kind", "version"])
def test_any_other_member_is_found_out(told: dict[str, Any], name: str) -> None:
    wrong = {"index": 4, "leaf": told["leaf"] + " ", "proof": told["proof"][:-1], "kind": "x", "version": 2}
    wrong["checkpoint"] = told["checkpoint"].replace("\n7\n", "\n6\n")
    report = verify_entry({**told, name: wrong[name]}, told["key"])
    assert not report.ok


def test_another_log_of_the_same_size_does_not_witness_it(told: dict[str, Any], tmp_path: Path) -> None:
    head = audit.note.read(told["checkpoint"])
    other = Keyring.generate().signer()
    forged = audit.note.sign(audit.Head(head.origin, 7, bytes(32)), other)
    assert verify_entry(told, told["key"], [forged]).unwitnessed == 1
    assert not verify_entry(told, str(Verifier.of(head.origin, other))).ok


def test_the_command_verifies_it(told: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "entry-3.json"
    path.write_text(json.dumps(told))
    with pytest.raises(SystemExit) as ended:
        main(
            ["audit", "evidence", "verify", str(path), "--checkpoints", str(tmp_path / "outside"), "--key", told["key"]]
        )
    assert (ended.value.code or 0) == 0
    assert "the entry holds" in capsys.readouterr().out
    path.write_text(json.dumps({**told, "index": 2}))
    with pytest.raises(SystemExit) as ended:
        main(["audit", "evidence", "verify", str(path), "--key", told["key"]])
    assert ended.value.code == 1
