"""Limits: an edited body fits its operation's schema as it did before."""

from __future__ import annotations

import gzip
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.egress import limits as made_by
from benchmarks.egress.describe import DATA
from llmguard.errors import UnscannableRequest
from llmguard.model import Finding
from llmguard.payload import limits
from llmguard.payload.extract import Extract, extract
from llmguard.payload.operations import TABLE, find
from llmguard.redaction import Redaction, Restorer, redact
from llmguard.vault import Keyring, Vault
from tests.payload.test_extract import call

VAULT = Vault(Keyring.generate())
DESCRIPTION = json.loads(gzip.decompress(DATA.read_bytes()))


def test_committed_data_is_what_the_description_gives() -> None:
    """Else: ``python -m benchmarks.egress.limits``."""
    assert limits.DATA.read_text() == limits.written(made_by.made(DESCRIPTION))


def test_every_operation_of_the_description_is_in_the_table_with_its_body() -> None:
    for described in DESCRIPTION["operations"]:
        found = find(described["method"], re.sub(r"[{}]", "", described["path"]))
        assert found is not None, described["path"]
        row, media = found[0], set(described["bodies"])
        wanted = {"json"} if "application/json" in media else {"multipart", "other"} if media else {"none", "json"}
        assert row.body in wanted, described["path"]
        assert row.kind != "unknown"


def test_the_table_names_nothing_else() -> None:
    known = {(o["method"], o["path"]) for o in DESCRIPTION["operations"]}
    ours = {(row.method, limits.described(row.path)) for row in TABLE if "**" not in row.path}
    assert ours == {pair for pair in known if not pair[1].startswith(("/organization", "/projects"))}


def redacted(found: Extract, secret: str) -> Redaction:
    findings = tuple(
        tuple(Finding(m.start(), m.end(), "US_SSN", "pii", 1.0, "x") for m in re.finditer(re.escape(secret), p.text))
        for p in found.parts
    )
    return redact(VAULT, "default", found.parts, findings, misfits=found.misfits)


def edited(path: str, body: Any, secret: str = "123-45-6789") -> tuple[Any, Redaction]:
    found = extract(call(body, path))
    redaction = redacted(found, secret)
    return json.loads(found.rebuild(redaction.texts)), redaction


def test_names_of_functions_get_placeholders_that_fit() -> None:
    tool = {"type": "function", "function": {"name": "123-45-6789", "parameters": {}}}
    body, redaction = edited("/chat/completions", {"model": "gpt-4o", "tools": [tool]})
    name = body["tools"][0]["function"]["name"]
    assert re.fullmatch(r"US_SSN_[a-z2-7]{10}", name)
    assert Restorer(redaction.entries).text(name) == "123-45-6789"
    assert redaction.exposed == ()


def test_what_would_not_come_back_is_left_and_reported() -> None:
    tool = {"type": "function", "name": "get_123-45-6789_now", "parameters": {}}
    body, redaction = edited("/responses", {"tools": [tool]})
    assert body["tools"][0]["name"] == "get_123-45-6789_now"
    [(part, finding)] = redaction.exposed
    assert (part.redactable, finding.type) == (False, "US_SSN")
    assert len(redaction.unfit) == 1


@pytest.mark.parametrize(("value", "fits"), [("x" * 480 + " 123-45-6789", True), ("x" * 501 + "123-45-6789", False)])
@pytest.mark.parametrize("path", ["/responses", "/chat/completions", "/threads"])
def test_metadata_keeps_to_its_lengths(value: str, fits: bool, path: str) -> None:
    body, redaction = edited(path, {"metadata": {"note": value}})
    assert ("123-45-6789" in body["metadata"]["note"]) is not fits
    assert bool(redaction.unfit) is not fits
    key = "k" * 50 + " 123-45-6789"
    body, redaction = edited(path, {"metadata": {key: "x"}})
    assert (body["metadata"], len(redaction.unfit)) == ({key: "x"}, 1)


def test_json_in_a_limited_string_counts_as_a_whole() -> None:
    value = json.dumps({"a": "123-45-6789", "b": "x" * 460, "c": "123-45-6789"})
    assert len(value) < 512
    body, redaction = edited("/responses", {"metadata": {"note": value}})
    assert body["metadata"]["note"] == value
    assert len(redaction.unfit) == 2


def test_a_limit_that_was_broken_before_binds_nobody() -> None:
    body, redaction = edited("/responses", {"safety_identifier": "x" * 70 + " 123-45-6789"})
    assert "123-45-6789" not in body["safety_identifier"]
    assert not redaction.unfit


PATTERNED = st.text("ab_-", max_size=8)
SECRET = "123-45-6789"


@given(
    st.sampled_from(sorted(name for name in limits.data()["operations"] if name.startswith("POST "))),
    st.lists(st.tuples(PATTERNED, PATTERNED), min_size=1, max_size=3),
    st.integers(0, 70),
    st.data(),
)
@settings(max_examples=300, deadline=None)
def test_an_edited_body_fits_as_it_did(operation: str, around: Any, filler: int, data: Any) -> None:
    """Strings with a value in them, at places that the description limits: whatever held before holds after."""
    path = operation.removeprefix("POST ")
    start = limits.data()["operations"][operation]
    body: dict[str, Any] = {}
    for before, after in around:
        place(body, start, before + "-" * filler + SECRET + after, data)
    concrete = re.sub(r"[{}]", "", path)
    try:
        after_body, _ = edited(concrete, body)
    except UnscannableRequest:
        return
    bounds = limits.of("POST", path)
    for address, old, new in pairs(body, after_body, ""):
        assert limits.fits(bounds.at(address), old, new), address


def place(body: dict[str, Any], state: int, text: str, data: Any) -> None:
    """Puts a string where the automaton, followed at random, says that there is a limit."""
    here: Any = body
    while True:
        steps = {name: to for name, to in limits.data()["states"][state][0].items() if name != limits.ITEM}
        if not steps:
            return
        name = data.draw(st.sampled_from(sorted(steps)))
        key, state = ("own key" if name == limits.OTHER else name), steps[name]
        lists = 0
        while limits.ITEM in limits.data()["states"][state][0] and lists < 2:
            state, lists = limits.data()["states"][state][0][limits.ITEM], lists + 1
        limited = len(limits.data()["states"][state]) > 1
        if limited and (data.draw(st.booleans()) or not limits.data()["states"][state][0]):
            value: Any = text
            for _ in range(lists):
                value = [value]
            here[key] = value
            return
        if len(json.dumps(body)) > 2000:
            return
        inner: dict[str, Any] = {}
        value = inner
        for _ in range(lists):
            value = [value]
        here[key] = value
        here = inner


def pairs(old: Any, new: Any, address: str) -> Any:
    assert type(old) is type(new)
    if isinstance(old, dict):
        assert len(old) == len(new)
        for (key, one), (other, two) in zip(old.items(), new.items(), strict=True):
            assert key == other or SECRET in key
            yield from pairs(one, two, f"{address}/{key}")
    elif isinstance(old, list):
        for i, (one, two) in enumerate(zip(old, new, strict=True)):
            yield from pairs(one, two, f"{address}/{i}")
    elif isinstance(old, str):
        yield address, old, new
    else:
        assert old == new
