"""Styles: what leaves in the place of a value, what is left of it, and what comes back."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard import catalogue
from llmguard.catalogue import fill, spans
from llmguard.config import Settings
from llmguard.detection import Engine
from llmguard.errors import GuardUnavailable, UnscannableRequest
from llmguard.model import Category, Finding, TextPart
from llmguard.payload.extract import extract
from llmguard.policy import STYLES, Policy
from llmguard.redaction import Redaction, Restorer, linked, people, redact
from llmguard.redaction.mint import Mint
from llmguard.redaction.styles import Writer, masked
from llmguard.testing import EchoUpstream, LocalGuard
from llmguard.vault import KINDS, Keyring, Vault
from tests.payload.test_extract import call

VAULT = Vault(Keyring({kind: (b"the same key in every run, always",) for kind in KINDS}))
ONE_WAY = ("surrogate", "mask", "hash", "drop")
SECRETS = frozenset({"TOKEN"})


def styled(styles: Mapping[str, str]) -> Any:
    return lambda type_, category: styles.get(type_) or styles.get(category) or "placeholder"


def part(*pieces: str | tuple[str, str], origin: Any = "user") -> tuple[TextPart, tuple[Finding, ...]]:
    """A text of plain pieces and of (value, type)."""
    text, found = "", []
    for piece in pieces:
        value = piece if isinstance(piece, str) else piece[0]
        if not isinstance(piece, str):
            category: Category = "secret" if piece[1] in SECRETS else "pii"
            found.append(Finding(len(text), len(text) + len(value), piece[1], category, 1.0, "test"))
        text += value
    return TextPart(text, "/0", origin), tuple(found)


def written(*made: tuple[TextPart, tuple[Finding, ...]], style: Any, tenant: str = "default") -> Redaction:
    return redact(VAULT, tenant, [p for p, _ in made], [f for _, f in made], style=style)


def one(value: str, type_: str, style: str, tenant: str = "default") -> str:
    return written(part((value, type_)), style=lambda *_: style, tenant=tenant).texts[0]


CARD, NAME, TOKEN = ("4111 1111 1111 1111", "CREDIT_CARD"), ("Jane Doe", "PERSON"), ("tok-aB3", "TOKEN")


def test_styles_of_one_text_stand_beside_each_other_and_only_placeholders_come_back() -> None:
    made = part("Dear ", NAME, ", card ", CARD, ", key ", TOKEN, ", mail ", ("a@x.com", "EMAIL"), ".")
    style = styled({"CREDIT_CARD": "mask", "secret": "drop", "EMAIL": "hash"})
    red = written(made, style=style)
    name = VAULT.placeholder("default", "PERSON", "Jane Doe")
    match = re.fullmatch(
        rf"Dear {re.escape(name)}, card (\*{{4}} ){{3}}1111, key …, mail (\[EMAIL#[a-z]{{12}}\])\.", red.texts[0]
    )
    assert match
    assert [e.value for e in red.entries] == ["Jane Doe"]
    assert Restorer(red.entries).text(red.texts[0]) == red.texts[0].replace(name, "Jane Doe")


def test_styles_change_nothing_about_placeholders() -> None:
    made = part(NAME, " and Jane, ", CARD, " ", TOKEN)
    plain, mixed = written(made, style=None), written(made, style=styled({"TOKEN": "surrogate", "PERSON": "mask"}))
    assert [e for e in plain.entries if e.type == "CREDIT_CARD"] == list(mixed.entries)
    assert mixed.entries[0].placeholder in mixed.texts[0]
    assert plain == written(made, style=styled({}))


def test_a_style_that_does_not_exist_sends_nothing() -> None:
    with pytest.raises(GuardUnavailable):
        one("a@x.com", "EMAIL", "erase")


@pytest.mark.parametrize(
    ("value", "type_", "left"),
    [
        ("4111 1111 1111 1111", "CREDIT_CARD", "**** **** **** 1111"),
        ("4111-1111-1111-1112", "CREDIT_CARD", "****-****-****-1112"),
        ("DE89 3704 0044 0532 0130 00", "IBAN", "**** **** **** **** **30 00"),
        ("514-69-0360", "US_SSN", "***-**-****"),
        ("+1 415 555 2671", "PHONE", "+* *** *** ****"),
        ("+49 171 55670131", "PHONE", "+** *** ****0131"),
        ("Alexandra Konstantinopoulou", "PERSON", "********* *****************"),
        ("jane.doe1234567890@example.com", "EMAIL", "****.*************@*******.***"),
        ("12 Main Street 123456789012", "ADDRESS", "** **** ****** ************"),
        ("12 December 1980", "DATE_OF_BIRTH", "** ******** ****"),
        ("tok-aB3tok-aB3tok-123456789012", "TOKEN", "********"),
        ("x", "TOKEN", "********"),
    ],
)
def test_mask_keeps_the_shape_and_the_end_of_long_numbers_alone(value: str, type_: str, left: str) -> None:
    assert one(value, type_, "mask") == left


def test_hash_is_the_same_for_the_same_value_of_a_tenant() -> None:
    first = one("a@x.com", "EMAIL", "hash")
    assert re.fullmatch(r"\[EMAIL#[b-df-hj-np-tv-xz]{12}\]", first)
    assert first == one("a@x.com", "EMAIL", "hash")
    others = {one("b@x.com", "EMAIL", "hash"), one("a@x.com", "USERNAME", "hash"), one("a@x.com", "EMAIL", "hash", "t")}
    assert len({first, *others}) == 4
    assert not Restorer([]).touches(first)


VALUES = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=30)
PLACES = st.lists(st.tuples(st.sampled_from(["", " ", "see ", ", "]), VALUES, st.sampled_from(["EMAIL", "TOKEN", "X"])))


@given(PLACES, st.sampled_from(["mask", "hash", "drop"]))
@settings(max_examples=100, deadline=None)
def test_nothing_is_left_of_a_value_but_its_separators_and_the_tail_of_a_number(places: Any, style: str) -> None:
    """Values of letters that no style writes itself."""
    strange = [
        (before, "".join(chr(0x3B1 + ord(c) % 24) if c.isalnum() else c for c in v), t) for before, v, t in places
    ]
    pieces = [p for before, value, type_ in strange for p in (before, (value, type_))]
    text = written(part(*pieces), style=lambda *_: style).texts.get(0, "")
    assert not re.search(r"[\u03b1-\u03c9]", text)


@given(st.text(max_size=40), st.sampled_from(["CREDIT_CARD", "PERSON", "X"]))
def test_a_mask_is_as_long_as_its_value_and_shows_four_characters_at_most(value: str, type_: str) -> None:
    text = masked(type_, "pii", value)
    shown = [i for i, c in enumerate(text) if c.isalnum()]
    assert len(text) == len(value)
    assert text != value or not value.replace("*", "").strip()
    assert len(shown) in ((0, 4) if type_ != "PERSON" else (0,))
    assert all(text[i] == value[i] for i in shown)
    assert not shown or sum(c.isalnum() for c in value) >= 12


@given(st.lists(st.tuples(st.sampled_from(STYLES), VALUES), max_size=6), st.randoms())
@settings(max_examples=100, deadline=None)
def test_the_same_value_leaves_the_same_way_in_every_order_and_restoring_leaves_one_way_values(
    values: list[tuple[str, str]], random: Any
) -> None:
    style = styled({s.upper(): s for s in STYLES})
    pieces: list[tuple[str, str]] = [(value, style_.upper()) for style_, value in values]
    made = [part("a ", piece, " z") for piece in pieces]
    red = written(*made, style=style)
    shuffled = list(range(len(made)))
    random.shuffle(shuffled)
    again = written(*(made[i] for i in shuffled), style=style)
    for new, old in enumerate(shuffled):
        assert again.texts[new] == red.texts[old]
    restorer = Restorer(red.entries)
    for i, (value, type_) in enumerate(pieces):
        expected = f"a {value} z" if type_ == "PLACEHOLDER" else red.texts[i]
        assert restorer.text(red.texts[i], None) == expected
        assert type_ == "PLACEHOLDER" or red.texts[i] != f"a {value} z" or not value.replace("*", "").strip()


# --------------------------------------------------------------------------- slots, keys, JSON


def redacted(path: str, body: Any, style: str, secret: str = "123-45-6789") -> tuple[Any, Redaction]:
    found = extract(call(body, path))
    findings = tuple(
        tuple(Finding(m.start(), m.end(), "US_SSN", "pii", 1.0, "x") for m in re.finditer(secret, p.text))
        for p in found.parts
    )
    red = redact(VAULT, "default", found.parts, findings, misfits=found.misfits, style=lambda *_: style)
    return json.loads(found.rebuild(red.texts)), red


@pytest.mark.parametrize("style", ONE_WAY)
def test_what_stands_for_a_value_fits_its_slot(style: str) -> None:
    tool = {"type": "function", "function": {"name": "for_123-45-6789", "parameters": {}}}
    body, red = redacted("/chat/completions", {"model": "m", "tools": [tool]}, style)
    name = body["tools"][0]["function"]["name"]
    assert re.fullmatch(r"for_[A-Za-z0-9_-]{1,60}", name)
    assert "123-45-6789" not in name
    assert (red.exposed, red.entries) == ((), ())


@pytest.mark.parametrize("style", ["surrogate", "mask", "drop"])
def test_a_slot_with_little_room_takes_what_is_no_longer_than_the_value(style: str) -> None:
    value = "x" * 501 + "123-45-6789"
    body, red = redacted("/responses", {"metadata": {"note": value}}, style)
    assert "123-45-6789" not in body["metadata"]["note"]
    assert not red.unfit


@pytest.mark.parametrize("style", ["mask", "drop"])
def test_keys_that_would_become_equal_are_refused(style: str) -> None:
    body = {"input": [{"type": "function_call_output", "call_id": "c", "output": json.dumps({"123-45-6789": 1})}]}
    assert "123-45-6789" not in json.dumps(redacted("/responses", body, style)[0])
    both = {"input": [{"type": "x", "arguments": {"123-45-6789": 1, "123-45-6780": 2}}]}
    with pytest.raises(UnscannableRequest):
        redacted("/responses", both, style, r"123-45-678\d")


@pytest.mark.parametrize("style", STYLES)
def test_json_in_strings_stays_json(style: str) -> None:
    inner = json.dumps({"a": '"123-45-6789"\n', "b": ["123-45-6789"]})
    body, _ = redacted("/responses", {"input": inner}, style)
    told = json.loads(body["input"])
    assert told["a"].strip('"\n') == told["b"][0] != "123-45-6789"


# --------------------------------------------------------------------------- the next turn


def test_what_the_assistant_heard_of_a_surrogate_stays_as_it_is() -> None:
    style = styled({"PERSON": "surrogate"})
    told = part("I am ", NAME)
    new = written(told, style=style).texts[0].removeprefix("I am ")
    given_name = new.split()[0]
    heard = part(
        "Hello ", (new, "PERSON"), ", dear ", (given_name, "PERSON"), " and ", ("Zoe Zed", "PERSON"), origin="assistant"
    )
    red = written(told, heard, style=style)
    assert red.texts[0] == f"I am {new}"
    assert red.texts[1].startswith(f"Hello {new}, dear {given_name} and ")
    assert "Zoe" not in red.texts[1]


def test_a_value_that_people_wrote_is_never_taken_for_a_surrogate() -> None:
    style = styled({"PERSON": "surrogate"})
    told = part("I am ", NAME)
    new = written(told, style=style).texts[0].removeprefix("I am ")
    red = written(told, part("I am ", (new, "PERSON")), style=style)
    assert new not in red.texts[0]
    assert new not in red.texts[1]


def test_what_a_style_writes_is_not_found_again_but_surrogates_as_what_they_are(tmp_path: Path) -> None:
    """An example of every detector, written in every one-way style and scanned again."""
    detectors = catalogue.load()
    engine = Engine(detectors, cache=Settings(data=tmp_path).cache)
    again: dict[str, list[tuple[str, Finding, Finding]]] = {style: [] for style in ONE_WAY}
    texts = [(d.id, spans(fill(d.match[i % len(d.match)], 1))[0]) for i, d in enumerate(detectors)]
    for id_, text in texts:
        whole = TextPart(text, "/0")
        (found,) = engine.scan((whole,))
        for style in ONE_WAY if found else ():
            new, places = _rewritten(whole, found, style)
            (second,) = engine.scan((TextPart(new, "/0"),))
            pairs = [(f, was) for f in second for place, was in zip(places, found, strict=True) if _meet(f, place)]
            again[style] += [(id_, f, was) for f, was in pairs]
    assert [again[style] for style in ("mask", "hash", "drop")] == [[], [], []]
    assert 50 < len(again["surrogate"]) < len(texts)  # that is what realistic means
    secrets = [(f, was) for _, f, was in again["surrogate"] if f.category == "secret"]
    assert all(f.type == was.type for f, was in secrets)  # a whole key file, or Kubernetes manifest, is one still
    assert len(secrets) < 10
    worse = [id_ for id_, f, was in again["surrogate"] if f.type != was.type and _rank(f) > _rank(was)]
    assert len(worse) <= len(texts) / 50, worse


def _meet(finding: Finding, place: tuple[int, int]) -> bool:
    return finding.start < place[1] and place[0] < finding.end


def _rank(finding: Finding) -> int:
    return ("low", "medium", "high", "critical").index(finding.severity)


def _rewritten(whole: TextPart, found: Sequence[Finding], style: str) -> tuple[str, list[tuple[int, int]]]:
    """A text in a style, and where what was written stands."""
    links = linked(people([whole], [found]))
    writer = Writer(VAULT, "default", Mint(VAULT, "default", [whole], frozenset(), links), lambda *_: style)
    writer.prepare([whole], [found], links)
    new, end, places = "", 0, []
    for finding in found:
        text = writer.put(finding, whole).text
        new += whole.text[end : finding.start] + text
        places.append((len(new) - len(text), len(new)))
        end = finding.end
    return new + whole.text[end:], places


# --------------------------------------------------------------------------- the whole way


def test_the_example_of_the_docs_is_a_policy() -> None:
    page = (Path(__file__).parents[2] / "docs" / "styles.md").read_text(encoding="utf-8")
    policy = Policy.of(tomllib.loads(page.partition("```toml\n")[2].partition("```")[0]))
    assert policy.style("SECRET", "secret") == "drop"
    assert policy.style("PERSON", "pii") == "placeholder"


POLICY = """
[[rules]]
name = "all"
when = "true"
verdict = "redact"
reason = "as the styles say"

[styles]
CREDIT_CARD = "mask"
IP_ADDRESS = "surrogate"
"""


def test_a_policy_decides_what_comes_back(settings: Settings, upstream: EchoUpstream, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    with LocalGuard(replace(settings, policy=policy)) as local:
        local.person("ann@example.org")
        key = local.key("app", "ann@example.org")
        text = "mail jane@corp.com, card 4111 1111 1111 1111, server 85.214.132.117"
        with openai.OpenAI(base_url=local.url, api_key=key, max_retries=0) as client:
            answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": text}])
    sent = upstream.received[-1].body.decode()
    content = answer.choices[0].message.content or ""
    assert "jane@corp.com" in content
    assert "**** **** **** 1111" in content
    assert "85.214.132.117" not in content + sent
    assert "jane@corp.com" not in sent
