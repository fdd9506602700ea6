"""Folders, patterns and URLs as one data set: the same as file by file, and nobody of one file stands in another."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmguard.config import Settings
from llmguard.dataset.job import Job
from llmguard.dataset.places import Several, free, put, shown
from llmguard.dataset.run import Summary, rehearse, sanitize
from llmguard.dataset.task import Done, Numbered, Task
from llmguard.errors import ConfigError, DatasetError
from llmguard.testing import Fakes

Cleaning = Callable[..., Summary]


class Here:
    """The engine's work in this process, which starts sooner."""

    def run(self, task: Task, blocks: Iterable[Numbered]) -> Iterator[Done]:
        return map(task.opened(), blocks)


@pytest.fixture
def here(tmp_path: Path, compiled_detectors: Path) -> Settings:
    return Settings(data=tmp_path / "state", names=False, cache=compiled_detectors)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files below a folder, one of them empty, and what is no data."""
    fakes, root = Fakes(51), tmp_path / "in"
    (root / "more").mkdir(parents=True)
    for name, lines in {"a.jsonl": 40, "more/b.jsonl": 25, "c.jsonl": 0}.items():
        text = "".join(json.dumps({"n": i, "text": f"{fakes.email()} {fakes.card()}"}) + "\n" for i in range(lines))
        (root / name).write_text(text)
    (root / "_SUCCESS").write_text("")
    (root / ".hidden").write_text("x")
    return root


@pytest.fixture
def clean(here: Settings) -> Cleaning:
    def cleaned(source: Path | str, output: Path, **changes: Any) -> Summary:
        given = source if isinstance(source, Path) and source.is_file() else Several.of(str(source))
        engine = changes.pop("engine", Here())
        return sanitize(Job(here, given, output, size=512, **changes), engine, lambda _: None)

    return cleaned


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_folder_becomes_a_folder_with_each_file_as_by_itself(folder: Path, clean: Cleaning, tmp_path: Path) -> None:
    summary = clean(folder, tmp_path / "out")
    assert list(contents(tmp_path / "out")) == ["a.jsonl", "c.jsonl", "more/b.jsonl"]
    for name, data in contents(tmp_path / "out").items():
        clean(folder / name, tmp_path / "alone", overwrite=True)
        assert (tmp_path / "alone").read_bytes() == data, name
    assert (summary.tally.records, summary.tally.changed) == (65, 65)
    assert not list(tmp_path.glob(".out*")), "nothing else is left"


def test_pattern_takes_what_matches_below_its_first_fixed_folder(folder: Path, clean: Cleaning, tmp_path: Path) -> None:
    clean(f"{folder}/**/b.*", tmp_path / "out")
    assert list(contents(tmp_path / "out")) == ["more/b.jsonl"]


def test_compressed_files_stay_compressed(folder: Path, clean: Cleaning, tmp_path: Path) -> None:
    plain = clean(folder, tmp_path / "plain")
    for path in folder.rglob("*.jsonl"):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert clean(folder, tmp_path / "out").tally == plain.tally
    unpacked = {name.removesuffix(".gz"): gzip.decompress(d) for name, d in contents(tmp_path / "out").items()}
    assert unpacked == contents(tmp_path / "plain")


def test_files_of_two_kinds_are_refused_by_name(folder: Path, clean: Cleaning, tmp_path: Path) -> None:
    (folder / "notes.txt").write_text("x\n")
    with pytest.raises(DatasetError, match=r"a\.jsonl and notes\.txt are not of one kind"):
        clean(folder, tmp_path / "out")


@pytest.mark.parametrize("output", ["in", ".", "in/a.jsonl"])
def test_output_that_holds_the_input_is_refused(folder: Path, clean: Cleaning, tmp_path: Path, output: str) -> None:
    before = contents(folder)
    with pytest.raises(DatasetError):
        clean(folder, tmp_path / output, overwrite=True)
    assert contents(folder) == before


def test_folder_that_is_there_is_replaced_only_if_wanted(folder: Path, clean: Cleaning, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("x")
    with pytest.raises(DatasetError, match="--overwrite"):
        clean(folder, tmp_path / "out")
    clean(folder, tmp_path / "out", overwrite=True)
    assert "old" not in contents(tmp_path / "out")


class Stops(Here):
    """It stops after some blocks."""

    def __init__(self, blocks: int) -> None:
        self._blocks = blocks

    def run(self, task: Task, blocks: Iterable[Numbered]) -> Iterator[Done]:
        for i, done in enumerate(super().run(task, blocks)):
            if i == self._blocks:
                raise DatasetError("stopped")
            yield done


def test_run_that_was_stopped_goes_on_in_the_file_where_it_was(
    folder: Path, clean: Cleaning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmguard.dataset.run.EVERY", 0.0)
    clean(folder, tmp_path / "whole")
    with pytest.raises(DatasetError, match="stopped"):
        clean(folder, tmp_path / "out", engine=Stops(8))
    assert not (tmp_path / "out").exists()
    assert clean(folder, tmp_path / "out").resumed == 8
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_surrogate_of_one_file_is_no_value_of_another(folder: Path, clean: Cleaning, tmp_path: Path) -> None:
    """The other file names whom the first one's surrogates would have been."""
    clean(folder / "a.jsonl", tmp_path / "alone")
    (folder / "z.jsonl").write_bytes((tmp_path / "alone").read_bytes())
    clean(folder, tmp_path / "out")
    values = {json.loads(line)["text"] for line in (folder / "z.jsonl").read_text().splitlines()}
    emails = {text.split()[0] for text in values}
    assert not emails & {json.loads(t)["text"].split()[0] for t in (tmp_path / "out/a.jsonl").read_text().splitlines()}


def test_bad_record_is_told_with_its_file(folder: Path, clean: Cleaning, tmp_path: Path) -> None:
    with open(folder / "more" / "b.jsonl", "a") as file:
        file.write("no json\n")
    [problem] = clean(folder, tmp_path / "out").problems
    assert problem.record == 25
    assert problem.reason.startswith("more/b.jsonl: ")


def test_tables_of_a_folder_keep_their_types(clean: Cleaning, tmp_path: Path) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "in").mkdir()
    email = Fakes(52).email()
    for name, rows in {"a": 3, "b": 0}.items():
        made = pa.table({"n": pa.array(range(rows), pa.int16()), "text": pa.array([email] * rows, pa.string())})
        parquet.write_table(made, tmp_path / "in" / f"{name}.parquet")
    clean(tmp_path / "in", tmp_path / "out")
    table = parquet.read_table(tmp_path / "out" / "a.parquet")
    assert table.schema.types == [pa.int16(), pa.string()]
    assert email not in table["text"].to_pylist()
    assert parquet.read_table(tmp_path / "out" / "b.parquet").num_rows == 0


def test_files_at_a_url_are_those_of_a_folder(folder: Path, clean: Cleaning, tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    clean(folder, tmp_path / "local")
    memory = fsspec.filesystem("memory")
    memory.put(f"{folder}/", "memory://set/", recursive=True)
    try:
        clean("memory://set/", tmp_path / "out")
        assert contents(tmp_path / "out") == contents(tmp_path / "local")
        clean("memory://set/a.jsonl", tmp_path / "one.jsonl")
        assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "local" / "a.jsonl").read_bytes()
        assert free("memory://clean")
        put(tmp_path / "out", "memory://clean")
        assert not free("memory://clean")
        assert memory.cat_file("/clean/more/b.jsonl") == (tmp_path / "local" / "more" / "b.jsonl").read_bytes()
    finally:
        memory.store.clear()
        memory.pseudo_dirs[:] = [""]


def test_file_at_a_url_that_changes_meanwhile_is_refused(here: Settings, tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/set/a.jsonl", b'{"a": "b"}\n' * 100)

    class Changes(Here):
        def run(self, task: Task, blocks: Iterable[Numbered]) -> Iterator[Done]:
            for done in super().run(task, blocks):
                memory.pipe_file("/set/a.jsonl", b'{"a": "c"}\n' * 100)
                yield done

    try:
        with pytest.raises(DatasetError, match="changed while it was read"):
            rehearse(Job(here, Several.of("memory://set/a.jsonl"), tmp_path / "o", size=64), Changes(), lambda _: None)
    finally:
        memory.store.clear()


def test_url_is_shown_without_credentials_and_query() -> None:
    assert shown("ftp://me:pass@host/a/b.jsonl?sig=x") == "ftp://host/a/b.jsonl"
    given = Several("https://me:pass@host/x.jsonl?sig=x", folder=False)
    assert "pass" not in f"{given} {given!r} {given.name} {given.identity}"


def test_protocol_that_is_not_there_is_said(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(ConfigError, match="no such protocol"):
        Several.of("nothing-of-the-kind://host/x")
    with pytest.raises(DatasetError, match="no file"):
        Several.of(str(tmp_path / "*.gone"))
