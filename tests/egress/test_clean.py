"""Clean traffic: what holds nothing leaves as it came, for every operation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.egress.calls import Outcome, Way, in_process, over_the_wire
from benchmarks.egress.description import Described, description
from benchmarks.egress.planting import clean
from llmguard.request import Request

NOTHING_FOUND = (
    {"name": "nothing found", "when": "size(findings) == 0", "verdict": "redact"},
    {"name": "false alarm", "when": "true", "verdict": "block"},
)
"""Lets everything through that holds no finding: pictures, administration, whatever could not be looked into."""
IN_PARTS = ("createUpload", "completeUpload", "cancelUpload")
"""Answered by the guard itself until there is a whole file."""
ALL = [o for o in description().operations.values() if (o.body is not None or not o.media) and o.id not in IN_PARTS]
EACH = 4
DROPPED = {"host", "content-length", "content-encoding", "authorization", "accept-encoding", "connection"}
"""Headers that are the guard's own on the way to a provider."""


@pytest.fixture(scope="module")
def direct() -> Iterator[Way]:
    with in_process(NOTHING_FOUND) as way:
        yield way


@pytest.fixture(scope="module")
def wire() -> Iterator[Way]:
    with over_the_wire(NOTHING_FOUND) as way:
        yield way


@pytest.mark.parametrize("operation", ALL, ids=lambda o: o.id)
def test_clean_calls_leave_as_they_came(operation: Described, direct: Way) -> None:
    for number in range(EACH):
        request = clean(operation, 5, number)
        _as_it_came(request, direct(request))


def test_clean_calls_leave_as_they_came_over_http(wire: Way) -> None:
    for operation in ALL[::3]:
        request = clean(operation, 6, 0)
        _as_it_came(request, wire(request))


def _as_it_came(request: Request, outcome: Outcome) -> None:
    assert outcome.sent is not None, outcome.code
    query = f"?{request.query}" if request.query else ""
    assert outcome.sent.url == request.path + query
    assert outcome.sent.body == request.body
    kept = tuple(pair for pair in outcome.sent.headers if pair[0] not in DROPPED)
    assert kept == request.headers
