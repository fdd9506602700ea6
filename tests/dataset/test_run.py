"""A data set from its file to its cleaned file: the same bytes whatever happens, whole or not at all."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmguard.audit.log import entries
from llmguard.config import DATABASE
from llmguard.dataset import run
from llmguard.dataset.job import Job
from llmguard.dataset.kinds import zstd
from llmguard.dataset.run import rehearse, sanitize
from llmguard.dataset.work import Work
from llmguard.errors import DatasetError
from llmguard.store import Store

MAIL = "jane.doe@mail-of-many.net"
LINES = "".join(json.dumps({"prompt": f"{i}: mail {MAIL}" if i % 3 else f"{i}: hello"}) + "\n" for i in range(60))
ROWS = "id,text\n" + "".join(f"{i},mail {MAIL if i % 3 else 'nobody'}\n" for i in range(60))
Cleaned = Callable[..., tuple[bytes, Any]]


class Killed(BaseException):
    """What ends a run at once, as a signal does."""


def killed(one: Job, here: Any, at: int) -> None:
    """Ends a run before the block of this number."""

    def kill(number: int) -> None:
        if number == at:
            raise Killed

    here.between = kill
    with pytest.raises(Killed):
        sanitize(one, here, lambda _: None)
    here.between = lambda _: None


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block is committed."""
    monkeypatch.setattr(run, "EVERY", -1.0)


@pytest.mark.parametrize(
    ("name", "output", "unpack"),
    [
        ("in.jsonl", "out.jsonl", bytes),
        ("in.jsonl", "out.jsonl.gz", gzip.decompress),
        ("in.jsonl", "out.jsonl.zst", lambda data: zstd().decompress(data)),
        ("in.txt", "out.txt", bytes),
        ("in.csv", "out.csv", bytes),
    ],
)
def test_what_was_found_is_replaced_and_the_rest_is_as_it_was(
    cleaned: Cleaned, name: str, output: str, unpack: Callable[[bytes], bytes]
) -> None:
    content = LINES if name == "in.jsonl" else ROWS
    data, summary = cleaned(content, name, output, style="drop")
    assert unpack(data).decode().replace("\\u2026", "…") == content.replace(MAIL, "…")
    assert summary.tally.counts == {"EMAIL": 40}
    assert (summary.input, summary.output) == (
        hashlib.sha256(content.encode()).hexdigest(),
        hashlib.sha256(data).hexdigest(),
    )


@pytest.mark.parametrize("pack", [gzip.compress, lambda data: zstd().compress(data)], ids=["gzip", "zstd"])
def test_compressed_input_gives_the_same(cleaned: Cleaned, pack: Callable[[bytes], bytes]) -> None:
    plain, _ = cleaned(LINES)
    packed, _ = cleaned(pack(LINES.encode()), "in.jsonl.x", "out.jsonl")
    assert packed == plain


@pytest.mark.parametrize("output", ["out.jsonl", "out.jsonl.gz", "out.jsonl.zst"])
def test_an_empty_file_gives_an_empty_file(cleaned: Cleaned, output: str) -> None:
    data, summary = cleaned("", "in.jsonl", output)
    unpacked = {"gz": gzip.decompress, "zst": lambda d: zstd().decompress(d)}.get(output.rpartition(".")[2], bytes)
    assert unpacked(data) == b""
    assert summary.tally.records == 0


@pytest.mark.parametrize("size", [1, 100, 1 << 20])
@pytest.mark.parametrize("style", ["surrogate", "placeholder"])
def test_bytes_do_not_depend_on_the_size_of_blocks(cleaned: Cleaned, size: int, style: str) -> None:
    first, _ = cleaned(LINES, output="a.jsonl", style=style)
    other, _ = cleaned(LINES, output="b.jsonl", style=style, size=size)
    assert other == first
    assert MAIL.encode() not in first


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("output", ["out.jsonl", "out.jsonl.gz"])
def test_a_run_that_was_ended_goes_on_where_it_stopped(job: Callable[..., Job], here: Any, output: str) -> None:
    one = job(LINES, output=output, size=100, census=True)
    whole = replace(one, output=one.output.with_name(f"whole-{output}"))
    summary = sanitize(whole, here, lambda _: None)
    said: list[str] = []
    for at in (0, 1, 7, 7, 25):
        killed(one, here, at)
        assert not one.output.exists()
    here.between = lambda number: said.append(f"done again: {number}") if number < 25 else None
    again = sanitize(one, here, said.append)
    assert said == []
    assert one.output.read_bytes() == whole.output.read_bytes()
    assert again.resumed == 25
    assert (again.tally, again.census) == (summary.tally, summary.census)
    assert sorted(p.name for p in one.output.parent.iterdir() if p.name.startswith(".")) == []


@pytest.mark.usefixtures("often")
def test_what_was_written_after_the_last_commit_does_not_count(job: Callable[..., Job], here: Any) -> None:
    one = job(LINES, size=100)
    killed(one, here, 10)
    folder = one.output.with_name(f".{one.output.name}.sanitizing")
    for name in ("part", "index", "seen", "drawn", "bad"):
        with (folder / name).open("ab") as file:
            file.write(b"half a block")
    whole = replace(one, output=one.output.with_name("whole.jsonl"))
    for each in (one, whole):
        sanitize(each, here, lambda _: None)
    assert one.output.read_bytes() == whole.output.read_bytes()


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: one.source.write_text(LINES.replace("hello", "hullo")) and one, "the input"),
        (lambda one: replace(one, style="drop"), "--style"),
        (lambda one: replace(one, line="prompt"), "--kind"),
        (lambda one: replace(one, size=200), "the block size"),
    ],
    ids=["input", "style", "kind", "size"],
)
def test_another_job_begins_anew_and_says_why(
    job: Callable[..., Job], here: Any, change: Callable[[Job], Job], said: str
) -> None:
    one = job(LINES, size=100)
    killed(one, here, 10)
    other = change(one)
    told: list[str] = []
    sanitize(other, here, told.append)
    [why] = told
    assert why.startswith("begins anew: ")
    assert said in why
    alone = replace(other, output=other.output.with_name("alone.jsonl"))
    sanitize(alone, here, told.append)
    assert other.output.read_bytes() == alone.output.read_bytes()


@pytest.mark.usefixtures("often")
def test_a_change_that_time_and_size_do_not_tell_is_noticed(job: Callable[..., Job], here: Any) -> None:
    import os

    one = job(LINES, size=100)
    killed(one, here, 10)
    before = one.source.stat()
    with one.source.open("r+b") as file:
        file.write(LINES.replace("hello", "hullo").encode())
    os.utime(one.source, ns=(before.st_atime_ns, before.st_mtime_ns))
    told: list[str] = []
    sanitize(one, here, told.append)
    assert told == ["begins anew: the input is not what the run that was interrupted read"]
    assert b"hullo" in one.output.read_bytes()


def test_a_file_that_changes_while_it_is_cleaned_is_not_published(job: Callable[..., Job], here: Any) -> None:
    one = job(LINES, size=100)
    here.between = lambda number: number or one.source.write_text(LINES + LINES)
    with pytest.raises(DatasetError, match="changed while it was read"):
        sanitize(one, here, lambda _: None)
    assert not one.output.exists()


def test_two_runs_on_one_output_are_one_too_many(job: Callable[..., Job], here: Any) -> None:
    one = job(LINES)
    other = Work(one.output)
    with pytest.raises(DatasetError, match="another run is writing"):
        sanitize(one, here, lambda _: None)
    other.leave()
    sanitize(one, here, lambda _: None)
    assert one.output.exists()


def test_an_output_that_is_there_stays(job: Callable[..., Job], here: Any) -> None:
    one = job(LINES)
    one.output.write_text("precious")
    with pytest.raises(DatasetError, match="--overwrite"):
        sanitize(one, here, lambda _: None)
    assert one.output.read_text() == "precious"
    sanitize(replace(one, overwrite=True), here, lambda _: None)
    assert "precious" not in one.output.read_text()


@pytest.mark.usefixtures("often")
def test_a_refused_run_does_not_cost_what_another_left(job: Callable[..., Job], here: Any) -> None:
    one = job(LINES, size=100)
    killed(one, here, 10)
    one.output.write_text("in the way")
    with pytest.raises(DatasetError, match="--overwrite"):
        sanitize(one, here, lambda _: None)
    one.output.unlink()
    assert sanitize(one, here, lambda _: None).resumed == 10


@pytest.mark.parametrize("where", ["the input", "a folder", "no folder"])
def test_places_that_cannot_become_the_output_are_told(job: Callable[..., Job], here: Any, where: str) -> None:
    one = job(LINES)
    output = {
        "the input": one.source,
        "a folder": one.output.parent,
        "no folder": one.output.parent / "none" / "out.jsonl",
    }[where]
    with pytest.raises(DatasetError):
        sanitize(replace(one, output=output, overwrite=True), here, lambda _: None)
    assert Path(one.source).read_text() == LINES


def test_a_folder_of_others_is_not_worked_in(job: Callable[..., Job], here: Any) -> None:
    one = job(LINES)
    one.output.with_name(f".{one.output.name}.sanitizing").mkdir(mode=0o755)
    with pytest.raises(DatasetError, match="ours alone"):
        sanitize(one, here, lambda _: None)


def test_a_killed_end_is_ended_by_the_same_command(job: Callable[..., Job], here: Any) -> None:
    one, told = job(LINES + "not json\n"), []

    def kill(*_: object) -> None:
        raise Killed

    with pytest.raises(Killed):
        sanitize(one, here, lambda _: None, finish=kill)
    whole = one.output.read_bytes()
    here.tasks.clear()
    sanitize(one, here, lambda _: None, finish=lambda summary, bad: told.append((summary.tally.bad, len(list(bad)))))
    assert told == [(1, 1)]
    assert one.output.read_bytes() == whole
    assert here.tasks == []
    assert not any(p.name.startswith(".") for p in one.output.parent.iterdir())


@pytest.mark.usefixtures("often")
def test_no_surrogate_is_a_value_of_the_file(cleaned: Cleaned, job: Callable[..., Job], here: Any) -> None:
    mails = [f"person{i}@mail-of-many.net" for i in range(5)]
    first, _ = cleaned("\n".join(mails), "first.txt")
    taken = first.decode().split("\n")
    assert not {*taken} & {*mails}
    both = "\n".join([*mails, *("nothing",) * 20, *taken])
    whole, summary = cleaned(both, "both.txt", size=60)
    assert summary.redone
    assert not {*whole.decode().split("\n")} & {*mails, *taken}
    one = job(both, "both.txt", "again.txt", size=60)
    passes = []

    def kill(number: int) -> None:
        passes.append(number)
        if len(here.tasks) > done and number:
            raise Killed

    done = len(here.tasks) + 1
    here.between = kill
    for _ in range(8):
        try:
            sanitize(one, here, lambda _: None)
            break
        except Killed:
            done = len(here.tasks)
    here.between = lambda _: None
    sanitize(replace(one, overwrite=True), here, lambda _: None)
    assert one.output.read_bytes() == whole


def test_bad_records_are_left_out_and_told(cleaned: Cleaned) -> None:
    lines = ['{"prompt": "a"}', "nonsense", "", '{"prompt": "b", "prompt": "c"}', '{"prompt": "d"}']
    data, summary = cleaned("\n".join(lines), "in.jsonl")
    assert [json.loads(line) for line in data.splitlines() if line] == [{"prompt": "a"}, {"prompt": "d"}]
    assert [p.record + 1 for p in summary.problems] == [2, 4]
    assert summary.tally.bad == 2


def test_the_log_tells_of_the_file_without_its_content(job: Callable[..., Job], here: Any) -> None:
    one = job(LINES)
    summary = sanitize(one, here, lambda _: None)
    store = Store(one.settings.data / DATABASE)
    [entry] = [e for e in store.read(lambda tx: entries(tx, 0, 100)) if e.kind == "dataset.sanitized"]
    store.close()
    told = json.loads(entry.leaf)["details"]
    assert told["input"] == summary.input
    assert told["output"] == summary.output
    assert told["findings"] == {"EMAIL": 40}
    assert MAIL.encode() not in entry.leaf


def test_a_log_that_cannot_be_written_does_not_cost_the_run(job: Callable[..., Job], here: Any) -> None:
    one = job(LINES)
    (one.settings.data / DATABASE).mkdir(parents=True)
    summary = sanitize(one, here, lambda _: None)
    assert "not in the audit log" in summary.notes[-1]
    assert one.output.exists()


def test_a_rehearsal_writes_nothing(job: Callable[..., Job], here: Any) -> None:
    one, bad = job(LINES + "nonsense\n"), []
    summary = rehearse(one, here, bad.append)
    assert not summary.published
    assert summary.tally.counts == {"EMAIL": 40}
    assert [p.record for p in bad] == [60]
    assert sorted(p.name for p in one.output.parent.iterdir()) == ["data", "in.jsonl"]


def test_placeholders_come_back(cleaned: Cleaned, job: Callable[..., Job]) -> None:
    from llmguard.guard import Guard

    data, _ = cleaned(LINES, style="placeholder")
    with Guard(job("").settings, names=False) as guard:
        assert guard.restore(data.decode(), urls=True) == LINES


def test_progress_is_what_is_done_not_what_is_read(job: Callable[..., Job], here: Any) -> None:
    one, told = job(LINES, size=100), []
    sanitize(one, here, lambda _: None, lambda done, total: told.append((done, total)))
    size = len(LINES.encode())
    assert len(told) > 10
    assert told == sorted(told)
    assert told[-1] == (size, size)
