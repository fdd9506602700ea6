from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import hyperscan
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard import catalogue
from llmguard.detection import Engine
from llmguard.detection.automaton import Automaton, by_demand, compiled, compiled_words, packed
from llmguard.errors import ConfigError
from llmguard.model import TextPart

ANCHORS = (b"cat", b"d[o0]g")
PLANTS = ((0, b"a cat"), (1, b"a d0g"))


def _automaton(folder: Path) -> Automaton:
    return Automaton(ANCHORS, PLANTS, folder)


def _file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def _forge(path: Path, blob: bytes) -> None:
    path.write_bytes(hashlib.sha256(blob).digest() + blob)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    assert not _automaton(folder).from_cache
    return folder


def test_second_start_reads_the_cache_and_finds_the_same(folder: Path) -> None:
    again = _automaton(folder)
    assert again.from_cache
    assert again.scan(b"cat and d0g") == Automaton(ANCHORS).scan(b"cat and d0g") == {0: [3, 3], 1: [11, 11]}


def test_cache_is_private(folder: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(_file(folder).stat().st_mode) == 0o600


def test_other_anchors_have_another_file(folder: Path) -> None:
    assert not Automaton((b"cat", b"bird"), ((0, b"cat"), (1, b"bird")), folder).from_cache
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b[:40] + bytes([b[40] ^ 1]) + b[41:], lambda b: b""])
def test_damaged_file_is_compiled_again_and_repaired(folder: Path, damage: object) -> None:
    path = _file(folder)
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    again = _automaton(folder)
    assert not again.from_cache
    assert again.scan(b"cat") == {0: [3, 3]}
    assert _automaton(folder).from_cache


@pytest.mark.parametrize("others", [(b"nothing", b"never"), (b"cat",), (b"cat", b"d[o0]g", b"."), (b"d[o0]g", b"cat")])
def test_valid_database_of_other_patterns_is_not_believed(folder: Path, others: tuple[bytes, ...]) -> None:
    _forge(
        _file(folder), packed(*map(hyperscan.dumpb, (*by_demand(others), compiled_words(()), compiled((b"never",)))))
    )
    again = _automaton(folder)
    assert not again.from_cache
    assert again.scan(b"cat d0g") == {0: [3, 3], 1: [7, 7]}


def test_not_a_database_is_not_believed(folder: Path) -> None:
    _forge(_file(folder), b"\x00" * 500)
    assert not _automaton(folder).from_cache


def test_file_that_others_can_read_or_write_is_not_believed(folder: Path) -> None:
    _file(folder).chmod(0o622)
    assert not _automaton(folder).from_cache


def test_symbolic_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    path = _file(folder)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert not _automaton(folder).from_cache


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_file_of_somebody_else_is_not_believed(folder: Path) -> None:
    os.chown(_file(folder), 12345, -1)
    assert not _automaton(folder).from_cache


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_folder_of_somebody_else_is_not_used(folder: Path) -> None:
    os.chown(folder, 12345, -1)
    assert not _automaton(folder).from_cache


def test_folder_that_others_can_enter_is_not_used(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o755)
    assert not _automaton(folder).from_cache
    assert list(folder.iterdir()) == []


def test_without_a_plant_for_every_anchor_nothing_is_cached(tmp_path: Path) -> None:
    Automaton(ANCHORS, PLANTS[:1], tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


WORDS = {b"kitten": (0,), b"puppy": (1, 0)}


def test_words_hit_their_anchors_in_any_case(tmp_path: Path) -> None:
    plants = (*PLANTS, (0, b"kitten"), (1, b"puppy"))
    for _ in range(2):
        made = Automaton(ANCHORS, plants, tmp_path / "cache", words=WORDS)
        assert made.scan(b"a KITTEN") == {0: [8, 8]}
        assert made.scan(b"a Puppy") == {1: [7, 7], 0: [7, 7]}
    assert made.from_cache


def test_a_short_word_wants_a_boundary_or_a_change_of_case(tmp_path: Path) -> None:
    made = Automaton((b"", b""), words={b"nit": (0,), b"ni": (1,)})
    assert made.scan(b"a unit and an initial") == {}
    assert made.scan(b"NIT") == {0: [3, 3], 1: [2, 2]}
    assert made.scan(b"theNit") == {0: [6, 6], 1: [5, 5]}
    assert made.scan("身ni".encode()) == {1: [5, 5]}
    assert made.scan(b"a\0ni") == {1: [4, 4]}


TRIGGERED = (rb"\d{4}-\d{2}", rb"[A-F]{6}[a-z]{8}", "grüße|plain".encode(), rb"cat|\d{16}")


def test_what_demands_digits_length_or_other_letters_is_found_where_they_are() -> None:
    made = Automaton(TRIGGERED)
    assert made.scan(b"nothing of it, cat") == {3: [18, 18]}
    assert made.scan(b"in 2024-05") == {0: [10, 10]}
    assert made.scan(b"ABCDEFabcdefgh") == {1: [14, 14]}
    assert made.scan("viele grüße".encode()) == {2: [13, 13]}
    assert made.scan(b"plain 1234567890123456") == {2: [5, 5], 3: [22, 22]}


@given(st.text("ab01-. é\n", max_size=40))
def test_demands_change_nothing_of_what_is_found(text: str) -> None:
    anchors = (rb"a\d\d[b-]?\d\d", rb"(?:[ab]{6}|0{12})[.]", "é|b1|[01]{4}".encode(), rb"(?i)A.{0,3}0(?:0|1b){2}")
    plain = compiled(anchors)
    expected: set[int] = set()
    plain.scan(text.encode(), match_event_handler=lambda i, *_: expected.add(i))
    assert set(Automaton(anchors).scan(text.encode())) == expected


def test_cached_words_that_others_swapped_are_not_believed(tmp_path: Path) -> None:
    plants = (*PLANTS, (0, b"kitten"), (1, b"puppy"))
    Automaton(ANCHORS, plants, tmp_path / "cache", words=WORDS)
    for others in ((b"puppy", b"kitten"), (b"kitten",), (b"kitten", b"puppy", b"t")):
        databases = (*by_demand(ANCHORS), compiled_words([(w, True) for w in others]), compiled((b"never",)))
        _forge(_file(tmp_path / "cache"), packed(*map(hyperscan.dumpb, databases)))
        assert not Automaton(ANCHORS, plants, tmp_path / "cache", words=WORDS).from_cache


def test_a_cache_folder_that_cannot_be_made_costs_the_cache_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert Automaton(ANCHORS, PLANTS, tmp_path / "file" / "cache").scan(b"cat") == {0: [3, 3]}


def test_anchor_that_does_not_compile_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="Hyperscan rejects"):
        Automaton((b"(?=x)y",))


def test_close_hits_are_one_run() -> None:
    assert Automaton((b"1",)).scan(b"1" * 5000) == {0: [1, 5000]}
    assert Automaton((b"1",)).scan(b"1" + b" " * 99 + b"1") == {0: [1, 1, 101, 101]}


def test_whole_catalogue_is_the_same_from_the_cache(tmp_path: Path) -> None:
    detectors = catalogue.load()
    part = TextPart("mail a@example.org, ssn 536-22-8745", "")
    first, second = Engine(detectors, tmp_path / "c"), Engine(detectors, tmp_path / "c")
    assert second.automaton.from_cache
    assert first.scan([part]) == second.scan([part])
