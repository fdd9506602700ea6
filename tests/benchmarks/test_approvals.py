from __future__ import annotations

from pathlib import Path

from benchmarks import approvals
from benchmarks.approvals import Office
from benchmarks.site import Site
from llmguard.testing import EchoUpstream


def test_every_operation_is_measured_and_as_many_wait_afterwards(tmp_path: Path) -> None:
    with Site(approvals._settings(tmp_path, "http://127.0.0.1:9")) as site:
        office = Office(site, 3)
        office.fill(105)
        rows = [
            *approvals._looking(office, approvals.Clock({"waiting": 105}, 0.01)),
            *approvals._deciding(office, approvals.Clock({"waiting": 105}, 0.01)),
        ]
        assert {"list, first page", "show", "hold, new", "hold, joins", "vote", "claim", "settle", "sweep"} <= {
            row["operation"] for row in rows
        }
        assert site.pending() == 105


def test_calls_held_at_once_are_all_answered_once(tmp_path: Path) -> None:
    with EchoUpstream() as upstream, Site(approvals._settings(tmp_path, upstream.url)) as site:
        figures = approvals.held_at_once(Office(site, 1), upstream, 5, watch=0.1)
    assert (figures["answered 200"], figures["arrived upstream"]) == ("5", "5")
