from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import growth, peers
from benchmarks.hotpath import VALUES, ours, texts
from benchmarks.plot import lines
from llmguard import catalogue
from llmguard.detection import Engine


def test_growth_has_a_row_for_every_hostile_text_and_draws_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(catalogue.load()[:5])
    monkeypatch.setattr(growth, "LENGTHS", (1_000, 2_000))
    made = growth.tables(engine, texts(2_000), VALUES, Namespace(seconds=0.001, plot=tmp_path))
    assert [row["text"] for row in made["hostile texts"]] == list(growth.HOSTILE)
    assert "polyline" in (tmp_path / "hostile.svg").read_text()


def test_a_peer_that_is_not_installed_is_left_out() -> None:
    def absent() -> peers.Count:
        raise ImportError

    assert list(peers.installed({"there": lambda: ours(Engine(())), "absent": absent})) == ["there"]


def test_a_plot_is_well_formed_and_escapes_names() -> None:
    made = lines("a < b", {"<x>": [(1, 1), (10, 100)], "y": [(1, 2), (10, 2)]}, "n", "ms")
    root = ET.fromstring(made)
    assert len(root.findall("{http://www.w3.org/2000/svg}polyline")) == 2
    assert "<x>" not in made
