"""Checkpoints are signed, stored first, published after, and continue what was published."""

from __future__ import annotations

import logging
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from llmguard import audit
from llmguard.audit import log
from llmguard.audit.note import Head, Verifier, read, sign, verify
from llmguard.errors import AuditError, ConfigError, LLMGuardError
from llmguard.vault import Keyring

if TYPE_CHECKING:
    from tests.audit.conftest import Installation


def test_a_note_is_laid_out_as_c2sp_says(guard: Installation) -> None:
    made = guard.checkpoint()
    lines = made.note.split("\n")
    assert lines[:2] == ["llmguard.example/log", "12"]
    assert lines[3] == ""
    assert lines[4].startswith("— llmguard.example/log ")
    assert lines[5:] == [""]
    assert verify(made.note, (Verifier.parse(guard.key),)) == Head(guard.origin, 12, made.root)


def test_without_news_the_last_checkpoint_is_returned(guard: Installation) -> None:
    before = guard.checkpoints.read_bytes()
    assert guard.checkpoint() == guard.checkpoint()
    assert guard.checkpoints.read_bytes() == before


def test_earlier_notes_are_never_rewritten(guard: Installation) -> None:
    before = guard.checkpoints.read_bytes()
    guard.append(1)
    made = guard.checkpoint()
    assert made.size == 13
    assert made.published is not None
    assert guard.checkpoints.read_bytes() == before + made.note.encode() + b"\n"


def test_published_files_are_private(guard: Installation) -> None:
    assert guard.outside.stat().st_mode & 0o777 == 0o700
    assert {p.stat().st_mode & 0o777 for p in guard.outside.iterdir()} == {0o600}


def test_an_empty_log_has_a_checkpoint(tmp_path: Path, forgeable: Installation) -> None:
    empty = type(forgeable).at(tmp_path)
    assert empty.checkpoint().size == 0
    empty.append(1)
    assert empty.checkpoint().size == 1
    assert empty.verify() == audit.Report(1, 2, 0, ())
    empty.store.close()


def test_the_data_folder_is_no_place_for_checkpoints(guard: Installation) -> None:
    for folder in (guard.database.parent, guard.database.parent / "notes"):
        with pytest.raises(ConfigError, match="leave the data folder"):
            audit.checkpoint(guard.store, guard.keyring, guard.origin, folder)


def test_a_failed_publication_is_stored_and_goes_out_later(guard: Installation) -> None:
    away = guard.outside.with_name("away")
    guard.outside.rename(away)
    guard.outside.touch()  # a file where the folder should be
    for expected in (13, 14):
        guard.append(1)
        with pytest.raises(AuditError, match=f"{expected} entries could not be published"):
            guard.checkpoint()
    newest = guard.store.read(audit.checkpoint_last)
    assert newest is not None
    assert (newest.size, newest.published) == (14, None)
    guard.outside.unlink()
    away.rename(guard.outside)
    assert guard.checkpoint().published is not None
    assert guard.verify() == audit.Report(entries=14, checkpoints=4, unwitnessed=0, problems=())


def test_a_note_that_a_crash_cut_off_is_written_again(guard: Installation) -> None:
    whole = guard.checkpoints.read_bytes()
    for cut in (1, 2, 30, 150):
        guard.checkpoints.write_bytes(whole[:-cut])
        guard.sql("UPDATE checkpoints SET published = NULL WHERE size = 12")
        assert guard.checkpoint().published is not None
        assert guard.checkpoints.read_bytes() == whole


def test_a_crash_between_publishing_and_marking_publishes_once(guard: Installation) -> None:
    whole = guard.checkpoints.read_bytes()
    guard.sql("UPDATE checkpoints SET published = NULL WHERE size = 12")
    assert guard.checkpoint().published is not None
    assert guard.checkpoints.read_bytes() == whole


@pytest.mark.parametrize(
    ("defect", "words"),
    [
        ("DELETE FROM audit_entries WHERE idx >= 9", "its end was cut off"),
        ("UPDATE audit_nodes SET hash = zeroblob(32) WHERE level = 3 AND idx = 0", "does not continue"),
        ("UPDATE audit_entries SET hash = zeroblob(32) WHERE idx = 4", "does not"),
    ],
)
def test_a_log_that_does_not_continue_is_not_signed(guard: Installation, defect: str, words: str) -> None:
    before = guard.checkpoints.read_bytes()
    guard.sql(defect)
    if "entries SET" in defect:
        guard.sql("DELETE FROM audit_nodes")
    guard.append(2)
    with pytest.raises(AuditError, match=words):
        guard.checkpoint()
    assert guard.checkpoints.read_bytes() == before
    newest = guard.store.read(audit.checkpoint_last)
    assert newest is not None
    assert newest.size == 12


def test_a_stored_checkpoint_that_was_forged_is_not_published(guard: Installation) -> None:
    guard.append(3)
    audit.checkpoint(guard.store, guard.keyring, guard.origin)
    guard.append(1)
    guard.sql("UPDATE checkpoints SET root = zeroblob(32) WHERE size = 15")
    with pytest.raises(AuditError, match="15 entries does not fit"):
        guard.checkpoint()


def test_a_foreign_file_is_not_written_to(guard: Installation) -> None:
    for content, words in ((b"a diary\n", "no checkpoint"), (_foreign_note(), "not ours")):
        guard.checkpoints.write_bytes(content)
        with pytest.raises(AuditError, match=words):
            guard.checkpoint()
        assert guard.checkpoints.read_bytes() == content


def _foreign_note() -> bytes:
    return (sign(Head("other/log", 3, bytes(32)), Keyring.generate().signer()) + "\n").encode()


def test_a_long_log_is_filled_step_by_step(guard: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["llmguard.audit.checkpoint"], "_FILL", 8)
    guard.append(100)
    assert guard.checkpoint().root == guard.store.read(lambda tx: log.root(tx, 112))
    assert guard.verify().ok


class TestCheckpointer:
    def test_it_checkpoints_by_itself_and_at_the_end(self, guard: Installation) -> None:
        guard.append(1)
        done = threading.Event()
        with audit.Checkpointer(guard.store, guard.keyring, guard.origin, guard.outside, interval=0.01):
            for _ in range(500):
                if guard.verify().unwitnessed == 0:
                    done.set()
                    break
            guard.append(5)
        assert done.is_set()
        assert guard.verify().unwitnessed == 0

    def test_what_fails_surfaces_and_does_not_end_it(
        self, guard: Installation, caplog: pytest.LogCaptureFixture
    ) -> None:
        errors: list[LLMGuardError] = []
        again = threading.Event()

        def failed(error: LLMGuardError) -> None:
            errors.append(error)
            if len(errors) == 2:
                again.set()

        guard.sql("DELETE FROM audit_entries WHERE idx >= 9")
        maker = audit.Checkpointer(
            guard.store, guard.keyring, guard.origin, guard.outside, interval=0.01, failed=failed
        )
        with caplog.at_level(logging.ERROR), maker:
            assert again.wait(10)
        assert all(isinstance(e, AuditError) and "cut off" in e.message for e in errors)
        assert "cut off" in caplog.text

    def test_closing_before_starting_still_checkpoints(self, guard: Installation) -> None:
        guard.append(1)
        maker = audit.Checkpointer(guard.store, guard.keyring, guard.origin, guard.outside)
        maker.close()
        maker.close()
        assert guard.verify().unwitnessed == 0


class TestNotes:
    KEY = Keyring.generate().signer()
    HEAD = Head("example/log", 7, bytes(range(32)))

    def verifier(self) -> Verifier:
        return Verifier.of("example/log", self.KEY)

    def test_a_verifier_key_survives_its_text(self) -> None:
        assert Verifier.parse(str(self.verifier())) == self.verifier()

    @pytest.mark.parametrize("text", ["", "a+b", "example/log+00000000+AQ==", "a b+00000000+AQ=="])
    def test_damaged_keys_are_refused(self, text: str) -> None:
        with pytest.raises(ConfigError):
            Verifier.parse(text)

    @pytest.mark.parametrize("name", ["", "two words", "a+b", "line\nbreak"])
    def test_names_that_a_note_cannot_hold_are_refused(self, name: str) -> None:
        with pytest.raises(ConfigError):
            Verifier.of(name, self.KEY)

    def test_signatures_of_others_are_passed_over_but_one_must_be_known(self) -> None:
        note = sign(self.HEAD, self.KEY)
        other = sign(Head("witness", 7, bytes(32)), Keyring.generate().signer()).split("\n\n")[1]
        assert verify(note + other, (self.verifier(),)) == self.HEAD
        with pytest.raises(AuditError, match="not signed with the key"):
            verify(note, (Verifier.of("example/log", Keyring.generate().signer()),))

    def test_extension_lines_are_allowed(self) -> None:
        text = sign(self.HEAD, self.KEY).replace("\n\n", "\nan extension\n\n")
        assert read(text) == self.HEAD
        with pytest.raises(AuditError, match="altered"):
            verify(text, (self.verifier(),))

    @pytest.mark.parametrize(
        ("old", "new"),
        [("\n7\n", "\n07\n"), ("\n7\n", "\n-7\n"), ("\n7\n", "\n٧\n"), ("=\n", "\n"), ("\n\n", "\n"), ("— ", "- ")],
    )
    def test_other_spellings_are_no_checkpoints(self, old: str, new: str) -> None:
        with pytest.raises(AuditError):
            read(sign(self.HEAD, self.KEY).replace(old, new, 1))

    @pytest.mark.parametrize("note", ["", "\n", "\n\n", "a\n\n", "a\n1\n\n— a b\n", "x" * 2_000_000 + "\n\n— a b\n"])
    def test_what_is_no_note_is_refused(self, note: str) -> None:
        with pytest.raises(AuditError):
            read(note)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_destination_leaves_no_half_note(guard: Installation, tmp_path: Path) -> None:
    from llmguard.audit import publication

    fd = os.open("/dev/full", os.O_RDWR)
    with pytest.raises(OSError, match=r"No space left|Invalid argument"):
        publication._append(fd, b"note")
    os.close(fd)
