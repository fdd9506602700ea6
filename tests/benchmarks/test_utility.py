from __future__ import annotations

import shutil
from argparse import Namespace
from collections import Counter

import pytest

from benchmarks.utility import INSTALL, Score, Task, _judge, _rewritten, run, tasks, wilson
from llmguard.model import Finding


def test_forty_tasks_of_four_kinds_each_with_something_that_a_right_answer_says() -> None:
    assert Counter(t.kind for t in tasks()) == {"extract": 10, "question": 10, "rewrite": 10, "reply": 10}
    for task in tasks():
        assert task.values or task.facts
        assert all(value.casefold() in task.prompt.casefold() for value in task.values)
        assert task.prompt.count("Answer:") == 3
        assert task.wrong
        assert not set(task.wrong) & set(task.values)


def judged(text: str) -> dict[str, tuple[int, int]]:
    score = Score()
    task = Task("reply", "", values=("Jane Doe",), facts=("12",), wrong=("Bob Ray",))
    _judge(score, task, text, lambda value: {"Jane Doe": "Robin Hale", "Bob Ray": "Kim Frost"}[value])
    return {what: (score.told[what], score.of[what]) for what in score.of}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Dear **Jane  Doe**, 12.", {"facts", "values", "stands for"}),
        ("Dear Robin Hale, 12.", {"facts", "stands for"}),
        ("Dear Kim Frost", {"wrong"}),
        ("I'm sorry, I cannot.", {"refused"}),
    ],
)
def test_an_answer_is_judged_by_what_it_names(text: str, told: set[str]) -> None:
    assert {what for what, (yes, _) in judged(text).items() if yes} == told


def test_pieces_stand_where_the_findings_stood() -> None:
    found = [Finding(s, e, "X", "pii", 1.0, "x") for s, e in ((2, 4), (5, 6))]
    assert _rewritten("a bb c d", found, ["xyz", ""]) == ("a xyz  d", [(2, 5), (6, 6)])


def test_interval_of_a_share() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert [round(x, 2) for x in wilson(8, 10)] == [0.49, 0.94]


def test_without_the_model_it_says_what_to_install() -> None:
    with pytest.raises(RuntimeError, match="pip install") as refused:
        run(Namespace(data=None, python=shutil.which("false"), show=False))
    assert str(refused.value) == INSTALL
