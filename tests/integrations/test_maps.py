"""A cleaner in the tools themselves: pandas, Polars and ``datasets``, beside what ``llmguard sanitize`` gives."""

from __future__ import annotations

import importlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmguard.config import Settings
from llmguard.errors import ConfigError, UnscannableRequest
from llmguard.integrations import Cleaner, cleaner
from llmguard.sifting import Block, Recipe
from llmguard.testing import Fakes

Row = dict[str, Any]


def tool(name: str) -> Any:
    """A library that a bare machine may lack, and CI may not."""
    if os.environ.get("CI"):
        return importlib.import_module(name)
    return pytest.importorskip(name, reason=f"{name} is not installed")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, compiled_detectors: Path) -> Settings:
    return Settings(data=tmp_path_factory.mktemp("data"), names=False, cache=compiled_detectors)


@pytest.fixture(scope="module")
def clean(here: Settings) -> Cleaner:
    return cleaner(settings=here)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    fakes = Fakes(31)
    return [
        {"id": 1, "email": fakes.email(), "note": f"paid with {fakes.card()}"},
        {"id": 2, "email": "none", "note": None},
        {"id": 3, "email": fakes.email(), "note": f"sent to {fakes.email()} and {fakes.email()}"},
    ]


@pytest.fixture(scope="module")
def cleaned(here: Settings) -> Callable[[list[Row]], list[Row]]:
    """What ``llmguard sanitize`` writes for these rows as lines of JSON."""
    sifter = Recipe(here).sifter()

    def sanitized(rows: list[Row]) -> list[Row]:
        lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
        return [json.loads(line) for line in sifter.block(Block(0, lines)).data.splitlines()]

    return sanitized


Sanitized = Callable[[list[Row]], list[Row]]


def test_frames_of_pandas_become_what_sanitize_writes(clean: Cleaner, rows: list[Row], cleaned: Sanitized) -> None:
    pd = tool("pandas")
    frame, wanted = pd.DataFrame(rows), pd.DataFrame(cleaned(rows))
    assert not wanted["email"].equals(frame["email"]), "there is something to clean"
    pd.testing.assert_frame_equal(frame.pipe(clean.frame), wanted)
    pd.testing.assert_frame_equal(frame.apply(clean.row, axis=1), wanted, check_dtype=False)
    pd.testing.assert_series_equal(frame["email"].map(clean), wanted["email"])
    assert list(frame.apply(clean.finds, axis=1)) == [True, False, True]


def test_types_and_indices_of_a_frame_are_kept(clean: Cleaner, rows: list[Row], cleaned: Sanitized) -> None:
    pd = tool("pandas")
    frame = pd.DataFrame(rows, index=["x", "y", "z"])
    frame["kind"] = frame["email"].astype("category")
    frame["at"] = pd.to_datetime(["2026-01-01", None, "2026-01-03"])
    frame[7] = pd.array([1, None, 3], dtype="Int16")
    new = frame.pipe(clean.frame)
    assert list(new.dtypes)[:4] == [*list(frame.dtypes)[:3], "category"]
    pd.testing.assert_frame_equal(new[["id", "at", 7]], frame[["id", "at", 7]])
    assert list(new["kind"]) == list(new["email"]), "no value of a category became nothing"
    assert list(new.index) == ["x", "y", "z"]


def test_only_the_named_columns_of_a_frame_are_cleaned(here: Settings, rows: list[Row], cleaned: Sanitized) -> None:
    pd = tool("pandas")
    frame = pd.DataFrame(rows)
    new = frame.pipe(cleaner("email", settings=here).frame)
    assert list(new["email"]) == [row["email"] for row in cleaned([{"email": r["email"]} for r in rows])]
    assert new["note"].equals(frame["note"])
    assert new["id"].equals(frame["id"])


def test_frames_of_polars_become_what_sanitize_writes(clean: Cleaner, rows: list[Row], cleaned: Sanitized) -> None:
    pl = tool("polars")
    nested = [{**row, "chat": [{"role": "user", "content": row["email"]}]} for row in rows]
    frame, wanted = pl.DataFrame(nested), pl.DataFrame(cleaned(nested))
    assert frame.pipe(clean.frame).equals(wanted)
    assert frame.lazy().map_batches(clean.frame).collect().equals(wanted)
    emails = pl.DataFrame(cleaned([{"email": row["email"]} for row in rows]))
    assert frame.select(pl.col("email").map_batches(clean.series)).equals(emails)
    assert frame.select(pl.col("email").map_elements(clean, return_dtype=pl.String)).equals(emails)


def test_datasets_become_what_sanitize_writes(
    clean: Cleaner, rows: list[Row], cleaned: Sanitized, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = tool("datasets")
    datasets.disable_progress_bars()
    chats = [{"messages": [{"role": "user", "content": f"I am {row['email']}"}], **row} for row in rows]
    data, wanted = datasets.Dataset.from_list(chats), cleaned(chats)
    assert data.map(clean.batch, batched=True).to_list() == wanted
    assert data.map(clean.row).to_list() == wanted


def test_hash_that_datasets_keep_results_under_depends_on_what_is_cleaned(clean: Cleaner, here: Settings) -> None:
    fingerprint = tool("datasets").fingerprint.Hasher.hash
    before = fingerprint(clean.batch)
    assert clean("nothing") == "nothing"
    assert fingerprint(clean.batch) == before, "also when the detectors are open"
    assert fingerprint(cleaner(style="hash", settings=here).batch) != before


def test_pickled_cleaner_gives_the_same_in_another_place(clean: Cleaner) -> None:
    text = f"write to {Fakes(32).email()}"
    new = clean(text)
    assert new != text
    packed = pickle.dumps(clean)
    assert text.encode() not in packed
    assert pickle.loads(packed)(text) == new


def test_what_is_no_text_stays_and_what_cannot_be_read_is_refused(clean: Cleaner) -> None:
    for value in (None, 3, 2.5, True, float("inf")):
        assert clean(value) is value
    with pytest.raises(UnscannableRequest, match="bytes"):
        clean.row({"picture": b"\x89PNG"})


def test_number_that_says_something_becomes_another_number(clean: Cleaner, cleaned: Sanitized) -> None:
    card = int(Fakes(33).card().replace(" ", "").replace("-", ""))
    batch = {"id": [1, 2], "card": [card, 7], "more": [{"cards": [card]}, None]}
    [first, second] = cleaned([dict(zip(batch, row, strict=True)) for row in zip(*batch.values(), strict=True)])
    assert first["card"] != card
    assert clean.batch(batch) == {name: [first[name], second[name]] for name in batch}
    assert clean.row({"card": card, "id": 1}) == {"card": first["card"], "id": 1}
    pd = tool("pandas")
    frame = pd.DataFrame({"card": [card, 7]}).pipe(clean.frame)
    assert (frame["card"].dtype, frame["card"][0]) == ("int64", first["card"])


@pytest.mark.parametrize("way", ["batch", "row"])
def test_number_that_no_number_can_stand_for_is_refused_without_itself(here: Settings, way: str) -> None:
    card = Fakes(33).card().replace(" ", "").replace("-", "")
    clean = cleaner(style="mask", settings=here)
    with pytest.raises(UnscannableRequest) as refused:
        clean.batch({"id": [1], "card": [int(card)]}) if way == "batch" else clean.row({"card": int(card)})
    assert "make it text" in refused.value.message
    assert card not in refused.value.message


def test_name_of_a_column_that_would_leave_is_refused(clean: Cleaner) -> None:
    email = Fakes(34).email()
    with pytest.raises(UnscannableRequest) as refused:
        clean.row({email: "x"})
    assert email not in refused.value.message


def test_two_names_that_are_written_alike_are_refused(clean: Cleaner) -> None:
    pd = tool("pandas")
    with pytest.raises(UnscannableRequest, match="alike"):
        clean({1: Fakes(35).email(), "1": "x"})
    with pytest.raises(ConfigError, match="one name"):
        pd.DataFrame([["a", "b"]], columns=["t", "t"]).pipe(clean.frame)


def test_columns_and_styles_that_do_not_exist_are_refused(here: Settings) -> None:
    with pytest.raises(ConfigError, match="no column is called 'gone'"):
        cleaner(["gone"], settings=here).row({"text": "x"})
    with pytest.raises(ConfigError, match="sanitize"):
        cleaner(style="placeholder", settings=here)


@given(texts=st.lists(st.text(max_size=40), min_size=1, max_size=4), seed=st.integers(0, 5))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_values_without_findings_always_stay_as_they_are(clean: Cleaner, texts: list[str], seed: int) -> None:
    batch = {"text": [f"{t} " for t in texts], "more": [[t, {"k": seed}] for t in texts]}
    try:
        new = clean.batch(batch)
    except UnscannableRequest:
        return
    found = [clean.finds(dict(zip(batch, row, strict=True))) for row in zip(*batch.values(), strict=True)]
    for i, any_found in enumerate(found):
        assert any_found or all(new[name][i] == batch[name][i] for name in batch)
