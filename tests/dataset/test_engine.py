"""Worker processes: in order, bounded, done again where one died, silent about content."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from llmguard.dataset.engine import AHEAD, LocalEngine
from llmguard.dataset.task import Numbered
from llmguard.errors import ConfigError, DatasetError
from llmguard.sifting import Block

PLANS = '''
import os, signal, sys, time
from dataclasses import dataclass
from pathlib import Path
from llmguard.dataset.task import Done
from llmguard.errors import ConfigError, GuardUnavailable
from llmguard.sifting import Tally

@dataclass(frozen=True)
class Plan:
    """What a worker does with a block, by its content."""
    folder: str
    form: str = "jsonl"

    def opened(self):
        if Path(self.folder, "no keys").exists():
            raise ConfigError("there are no keys")
        return self.do

    def do(self, item):
        data = item.block.data
        print("never among the answers")
        print("nor on the terminal", file=sys.stderr)
        left = Path(self.folder, data.decode().strip())
        if left.exists():
            left.write_text(left.read_text()[1:])
            if not left.read_text():
                left.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        if data.startswith(b"error"):
            raise ValueError(data)
        if data.startswith(b"ours"):
            raise GuardUnavailable("not possible")
        if data.startswith(b"slow"):
            time.sleep(0.2)  # the blocks behind it are done first
        return Done(item.number, item.block.first, 1, data.upper(), Tally())
'''


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A task that workers can import."""
    (tmp_path / "plans_of_a_test.py").write_text(textwrap.dedent(PLANS))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("plans_of_a_test", None)
    import plans_of_a_test  # type: ignore[import-not-found]

    return plans_of_a_test.Plan(str(tmp_path))


def items(*contents: str) -> Iterator[Numbered]:
    for number, content in enumerate(contents):
        yield Numbered(number, Block(number, f"{content}\n".encode()))


def test_what_is_done_comes_in_order_and_little_is_held(plan: Any) -> None:
    contents = [f"{'slow' if i % 5 == 0 else 'fast'}{i}" for i in range(20)]
    given: list[int] = []

    def watched() -> Iterator[Numbered]:
        for item in items(*contents):
            given.append(item.number)
            yield item

    for number, done in enumerate(LocalEngine(2).run(plan, watched())):
        assert done.number == number
        assert done.data == f"{contents[number].upper()}\n".encode()
        assert given[-1] <= number + 2 * AHEAD


def test_a_small_file_has_a_single_worker(plan: Any) -> None:
    engine = LocalEngine(2).run(plan, items("a"))
    assert next(engine).data == b"A\n"
    assert len(children()) == 1
    assert list(engine) == []
    assert children() == []


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_block_whose_worker_died_is_done_by_another(plan: Any, deaths: int) -> None:
    Path(plan.folder, "b").write_text("x" * deaths)
    assert [d.data for d in LocalEngine(2).run(plan, items("a", "b", "c"))] == [b"A\n", b"B\n", b"C\n"]


def test_a_block_that_kills_every_worker_is_told_by_its_records(plan: Any) -> None:
    Path(plan.folder, "secret").write_text("x" * 3)
    with pytest.raises(DatasetError, match="records 2 to 2") as told:
        list(LocalEngine(2).run(plan, items("a", "secret", "c")))
    assert "3 worker processes died" in told.value.message
    assert "secret" not in told.value.message
    assert children() == []


@pytest.mark.parametrize(("content", "said"), [("error secret", "ValueError"), ("ours secret", "not possible")])
def test_an_error_is_told_without_content(
    plan: Any, capfd: pytest.CaptureFixture[str], content: str, said: str
) -> None:
    with pytest.raises(DatasetError, match=said) as told:
        list(LocalEngine(1).run(plan, items("a", content)))
    assert "records 2 to 2" in told.value.message
    assert "secret" not in told.value.message
    assert capfd.readouterr() == ("", "")


def test_a_worker_that_cannot_start_says_why(plan: Any) -> None:
    Path(plan.folder, "no keys").touch()
    with pytest.raises(ConfigError, match="there are no keys"):
        list(LocalEngine(2).run(plan, items("a", "b")))


def test_whoever_stops_listening_leaves_no_process(plan: Any) -> None:
    engine = LocalEngine(2).run(plan, items(*("slow",) * 10))
    next(engine)
    assert children()
    engine.close()  # type: ignore[attr-defined]
    assert children() == []


def test_a_killed_worker_is_replaced(plan: Any) -> None:
    engine = LocalEngine(1).run(plan, items(*("slow",) * 4))
    first = next(engine)
    [worker] = children()
    os.kill(worker, signal.SIGKILL)
    assert [first.number, *(done.number for done in engine)] == [0, 1, 2, 3]


def children() -> list[int]:
    """Workers of this process, whichever thread started them. A thread or process that ends meanwhile has none."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            for pid in (task / "children").read_text().split():
                if b"llmguard.dataset.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(int(pid))
    return found
