"""The census of files as they are really sifted: the same whatever the blocks, and in step with the tally."""

from __future__ import annotations

import json
import pickle
import random

import pytest

from llmguard import catalogue
from llmguard.census import Census, Limits, Report, Watch, facts_of, key_of, report
from llmguard.detection import Engine, Scanner
from llmguard.policy import Policy
from llmguard.sifting import Layout, Sifter, Tally, blocks
from llmguard.vault import Keyring, Vault

_SMALL = Limits(texts=64, values=16, strings=8, tokens=32, alike=64, sample=5)


@pytest.fixture(scope="module")
def scanner() -> Scanner:
    return Scanner(Engine([d for d in catalogue.load() if d.type in ("EMAIL", "CREDIT_CARD")]))


VAULT = Vault(Keyring.generate())


def lines() -> bytes:
    rng = random.Random(4)
    made = []
    for i in range(300):
        said = " ".join(
            rng.choice(("how", "do", "we", "ship", "this", "order", "today")) for _ in range(rng.randrange(4, 40))
        )
        if i % 5 == 0:
            said += f" write to user{rng.randrange(20)}@example-{rng.randrange(3)}.org"
        if i % 50 == 7:
            said += " card 4111 1111 1111 1111"
        made.append(
            json.dumps({"messages": [{"role": "user", "content": said}, {"role": "assistant", "content": "ok"}]})
        )
    made[17] = made[17][:-4]
    return "\n".join(made).encode() + b"\n"


def sifted(
    scanner: Scanner, data: bytes, layout: Layout, size: int, *, workers: int = 1, drop: bool = False
) -> tuple[Census, Tally]:
    """The census of a file, whose blocks several workers took in turn, and were merged in another order."""
    crew = [Watch(key_of(VAULT, "default"), limits=_SMALL) for _ in range(workers)]
    sifters = [
        Sifter(scanner, VAULT, "default", layout=layout, style=lambda t, c: "surrogate", drop=drop, watch=w)
        for w in crew
    ]
    pieces = []
    for i, block in enumerate(blocks([data], layout, size)):
        done = sifters[i % workers].block(block)
        pieces.append((pickle.loads(pickle.dumps(crew[i % workers].taken(block, done))), done.tally))
    random.Random(size).shuffle(pieces)
    census, tally = Census(_SMALL), Tally()
    for one, counted in pieces:
        census += one
        tally = tally + counted
    return census, tally


def told(census: Census) -> Report:
    return report(census, name="x")


@pytest.mark.parametrize(("size", "workers"), [(500, 1), (3_000, 2), (20_000, 3)])
def test_blocks_and_workers_do_not_change_the_report(scanner: Scanner, size: int, workers: int) -> None:
    data = lines()
    whole, _ = sifted(scanner, data, "jsonl", 1 << 20)
    assert told(sifted(scanner, data, "jsonl", size, workers=workers)[0]).to_json() == told(whole).to_json()


def test_it_is_in_step_with_the_tally(scanner: Scanner) -> None:
    data = lines()
    census, tally = sifted(scanner, data, "jsonl", 4_000)
    made = told(census)
    assert (made.records, made.findings, made.characters) == (tally.records, tally.findings, tally.characters)
    assert {t.type: t.findings for t in made.types} == tally.counts
    assert (made.received, made.gone, dict(made.problems)) == (len(data), 1, dict(made.problems))
    assert sum(n for _, n in made.problems) == 1
    risk = Policy().risk(facts_of(tally.found(), census, unscanned=tally.unscanned))
    assert risk.inherent >= risk.residual > 0


def test_what_is_sampled_is_what_leaves(scanner: Scanner) -> None:
    made = told(sifted(scanner, lines(), "jsonl", 4_000)[0])
    shown = [s for s in made.sample if s.stratum != "bad"]
    assert {s.stratum for s in shown} == {"clean", "medium", "high"}
    assert not any("@example-" in s.text or "4111 1111" in s.text for s in shown)
    assert all(json.loads(s.text)["messages"] for s in shown)


def test_records_that_are_dropped_are_counted_and_not_shown(scanner: Scanner) -> None:
    made = told(sifted(scanner, lines(), "jsonl", 4_000, drop=True)[0])
    left = {s.name: s.leaving for s in made.strata}
    assert left["medium"] == left["high"] == 0 < left["clean"]
    assert {s.stratum for s in made.sample} == {"clean", "bad"}


@pytest.mark.parametrize("layout", ["csv", "text"])
def test_tables_and_texts_have_a_census_too(scanner: Scanner, layout: Layout) -> None:
    rows = [f"{i},user{i}@example.org,said nothing of note" for i in range(40)]
    data = "\n".join(["id,mail,note", *rows]).encode() + b"\n"
    census, tally = sifted(scanner, data, layout, 300)
    made = told(census)
    assert made.findings == tally.findings == 40
    assert made.records > 0
    assert made.received == len(data)
