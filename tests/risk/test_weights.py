"""Weights: shipped with their sources, overridable within reason, refused with what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from llmguard.errors import ConfigError
from llmguard.risk import TERMS, weights
from llmguard.risk.weights import sources


def test_every_table_and_term_has_a_source() -> None:
    told = sources()
    assert set(told) == {"scale", "severity", "trust", "use", "left", "bits", *weights().terms}
    assert all(told.values())


def test_every_term_but_what_severities_weigh_has_a_weight() -> None:
    assert set(weights().terms) == set(TERMS) - {"what", "evasion"}


def test_an_override_changes_what_it_names_alone() -> None:
    changed, shipped = weights({"severity": {"low": 1}, "bits": {"EMPLOYEE_ID": 30}, "scale": 80}), weights()
    assert (changed.severity["low"], changed.bits["EMPLOYEE_ID"], changed.scale) == (1.0, 30.0, 80.0)
    assert changed.severity["high"] == shipped.severity["high"]
    assert changed.bits["EMAIL"] == shipped.bits["EMAIL"]
    assert "EMPLOYEE_ID" not in shipped.bits


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"severities": {}}, "no 'severities'; there are bits, left, scale"),
        ({"sources": {"scale": "us"}}, "no 'sources'"),
        ({"severity": 5}, "severity is a table of numbers"),
        ({"severity": {"huge": 5}}, "severity has no 'huge'; it has critical, high, low, medium"),
        ({"severity": {"low": 26}}, "severity never falls from low to critical"),
        ({"severity": {"low": -1}}, "severity.low is a number from 0 to 1000000"),
        ({"severity": {"low": True}}, "severity.low is a number"),
        ({"severity": {"low": "4"}}, "severity.low is a number"),
        ({"severity": {"low": float("nan")}}, "severity.low is a number"),
        ({"trust": {"public": 0.1}}, "trust never falls from internal to public"),
        ({"use": {"training": 1}}, "use never falls from inference to training"),
        ({"left": {"mask": 1.5}}, "left is a share, 0 to 1"),
        ({"left": {"placeholder": 0.5}}, "left never falls from drop to mask"),
        ({"scale": 0}, "scale is at least 1"),
        ({"scale": "60"}, "scale is a number"),
        ({"scale": float("inf")}, "scale is a number"),
        ({"terms": {"what": 1}}, "terms has no 'what'"),
        ({"bits": {"EMAIL": -3}}, "bits.EMAIL is a number"),
    ],
)
def test_a_wrong_override_is_refused_by_name(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match="weights: ") as refused:
        weights(overrides)
    assert message in refused.value.message
