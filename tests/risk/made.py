"""Facts of any kind, and weights that a policy may name, for properties."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from hypothesis import strategies as st

from llmguard.facts import Facts, Found
from llmguard.model import EVASION, Kind, Severity, Trust
from llmguard.risk import weights

TRUSTS = st.sampled_from(get_args(Trust))
KINDS = st.sampled_from(get_args(Kind))
SIGN = "planted"
"""In every identity: no text may hold it."""
_IDENTITIES = st.sampled_from([f"{SIGN}-{letter}" for letter in "abcdefgh"])
_TYPES = {"PERSON": "pii", "EMAIL": "pii", "CREDIT_CARD": "pii", "DATE_OF_BIRTH": "pii", "AI_KEY": "secret"}
_TYPES |= {"INTERNAL_HOST": "internal", EVASION: "internal"}
FOUND = st.builds(
    lambda type_, **more: Found(type_, _TYPES[type_], **more),  # type: ignore[arg-type]
    st.sampled_from(sorted(_TYPES)),
    severity=st.sampled_from(get_args(Severity)),
    confidence=st.floats(0, 1),
    redactable=st.booleans(),
    identity=_IDENTITIES,
    record=st.integers(0, 3),
    row=st.integers(0, 9),
    person=st.sampled_from(["", "", f"{SIGN}-a", f"{SIGN}-b"]),
    times=st.sampled_from([1, 1, 1, 2, 30]),
)
FINDINGS = st.lists(FOUND, max_size=20).map(tuple)
FACTS = st.builds(
    Facts,
    operation=st.just("op"),
    kind=KINDS,
    trust=TRUSTS,
    found=FINDINGS,
    unscanned=st.lists(st.sampled_from(["image", "names", "encrypted"]), max_size=3).map(tuple),
    characters=st.sampled_from([0, 1, 5_000, 1_000_000]),
)
_ORDERED = {
    "severity": ("low", "medium", "high", "critical"),
    "trust": ("internal", "contract", "public"),
    "use": ("inference", "stored", "training"),
    "left": ("drop", "surrogate", "placeholder", "hash", "mask"),
}


@st.composite
def _tables(draw: st.DrawFn) -> Mapping[str, Any]:
    """Overrides that are valid: worse is never less, redaction leaves a share."""
    made: dict[str, Any] = {"scale": draw(st.floats(1, 500))}
    for name, order in _ORDERED.items():
        figures = draw(st.lists(st.floats(0, 1 if name == "left" else 50), min_size=len(order), max_size=len(order)))
        made[name] = dict(zip(order, sorted(figures), strict=True))
    made["terms"] = draw(st.dictionaries(st.sampled_from(sorted(weights().terms)), st.floats(0, 50)))
    made["bits"] = draw(st.dictionaries(st.sampled_from(sorted(_TYPES)), st.floats(0, 40)))
    return made


OVERRIDES = st.one_of(st.just({}), _tables())
WEIGHTS = OVERRIDES.map(weights)
