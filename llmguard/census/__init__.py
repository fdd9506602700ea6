"""Census: the risk of a data set, in figures, a sample and a report.

A ``Watch`` in each worker looks on while blocks are sifted, a ``Census`` is the sum over all of them, a ``Report``
what is told of it.
"""

from __future__ import annotations

from llmguard.census.bounds import Bound, Looked, bounds, rule_of_three, upper
from llmguard.census.census import STRATA, Census, Limits, Sampled, Watch, key_of
from llmguard.census.figures import facts_of, report
from llmguard.census.lowest import Estimate
from llmguard.census.report import Report

__all__ = [
    "STRATA", "Bound", "Census", "Estimate", "Limits", "Looked", "Report", "Sampled", "Watch", "bounds", "facts_of",
    "key_of", "report", "rule_of_three", "upper",
]  # fmt: skip
