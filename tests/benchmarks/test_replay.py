from __future__ import annotations

from argparse import Namespace

import pytest

from benchmarks import replay


def test_every_policy_is_replayed_and_keeping_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "CALLS", 40)
    monkeypatch.setattr(replay, "BATCH", 2)
    replays, kept = replay.run(Namespace(seconds=0.01)).values()
    assert [row["compared with"] for row in replays] == list(replay.others())
    assert {row["calls"] for row in replays} == {40}
    assert replays[0]["newly held"] == 0
    assert [row["rows"] for row in kept] == [1, 5, 21, 101]
