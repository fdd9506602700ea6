"""Canaries are found in plain text, and by whoever looks for them: so what arrives was not looked at."""

from __future__ import annotations

import base64
import json
from random import Random
from urllib.parse import quote

import pytest

from benchmarks.egress.calls import Sent, found
from benchmarks.egress.canaries import FORMS, KINDS, Canary, Kind, core
from benchmarks.egress.description import description
from benchmarks.egress.lookout import seen
from benchmarks.egress.planting import planted
from llmguard import catalogue
from llmguard.detection import Engine
from llmguard.model import TextPart
from llmguard.testing import Fakes


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(catalogue.load(()))


def _left(engine: Engine, part: TextPart) -> str:
    text = part.text
    for f in reversed(engine.scan([part])[0]):
        text = f"{text[: f.start]} {text[f.end :]}"
    return text


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
def test_every_kind_is_found_in_every_form_and_wording(kind: Kind, engine: Engine) -> None:
    random = Random(11)
    for form in kind.forms:
        for told in (*kind.told, *(["{}"] if kind.known else [])):
            value = kind.make(random, Fakes(random.getrandbits(32)))
            written = FORMS[form](random, value)
            left = _left(engine, TextPart(told.format(written), "", "user", "", "body"))
            assert seen([Canary(kind.name, written, core(value), form)], {"text": left}) == [], (form, told)
        labelled = TextPart(written, "", "user", kind.label, "body")
        assert engine.scan([labelled])[0], (form, kind.label)


@pytest.mark.parametrize(
    ("text", "way"),
    [
        ("mail jane.roe@example.org", "raw"),
        ("JANE.ROE @ EXAMPLE.ORG", "raw"),
        (quote("jane.roe@example.org", safe=""), "percent"),
        (quote(quote("jane.roe@example.org", safe=""), safe=""), "percent > percent"),
        ("jane&period;roe&commat;example&period;org", "html"),
        ("jane\\u002eroe\\u0040example.org", "escape"),
        (base64.b64encode(b"mail jane.roe@example.org").decode(), "base64"),
        (base64.urlsafe_b64encode(b"<jane.roe@example.org>?>").decode().rstrip("="), "base64"),
        (json.dumps({"jane.roe@\u0065xample.org": 1}).replace("roe", "r\\u006fe"), "json"),
        (json.dumps({"a": json.dumps([json.dumps({"b": "jane.roe@example.org".replace("@", "\\u0040")})])}), ""),
        ("jane.roe@examp", "raw"),
    ],
)
def test_a_value_is_seen_through(text: str, way: str) -> None:
    value = "jane.roe@example.org"
    results = seen([Canary("email", value, core(value), "plain")], {"text": text})
    assert len(results) == 1
    assert not way or results[0][2] == way


@pytest.mark.parametrize(
    "text", ["", "mail [EMAIL_k7q2m4x9ab]", "jane.doe@example.com", '{"a": "example.org"}', "[1, 2"]
)
def test_what_is_not_there_is_not_seen(text: str) -> None:
    value = "jane.roe@example.org"
    assert seen([Canary("email", value, core(value), "plain")], {"text": text}) == []


def test_without_a_guard_every_canary_arrives() -> None:
    for operation in description().operations.values():
        for number in range(2):
            call = planted(operation, 1, number)
            request = call.request
            query = f"?{request.query}" if request.query else ""
            arrived = found(call.plants, Sent(request.path + query, request.headers, request.body))
            assert {id(plant) for plant, _ in arrived} == {id(plant) for plant in call.plants}, (operation.id, number)
