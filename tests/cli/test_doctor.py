"""``llmguard doctor``: what it says of a sound installation, and of broken ones."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from llmguard import audit
from llmguard.cli.doctor import Verdict, around, doctor, examine, state, upstream
from llmguard.config import DATABASE, Settings
from llmguard.guard import Guard
from llmguard.store import Store, wall_ms
from llmguard.testing import Fakes


@pytest.fixture
def provider() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def sound(tmp_path: Path, provider: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "OPENAI_ADMIN_KEY"):
        monkeypatch.delenv(name, raising=False)
    settings = Settings(data=tmp_path / "data", upstream=provider, upstream_key="k", names=False)
    with Guard(settings) as guard:
        guard.redact(Fakes(2).email())
        audit.checkpoint(guard.store, guard.vault.keyring, guard.origin, settings.checkpoint_folder)
    return settings


def level(verdicts: Iterator[Verdict], name: str) -> str:
    return {v.name: v.level for v in verdicts}[name]


def test_sound_installation_has_no_problem_and_every_advice_is_given_where_it_helps(sound: Settings) -> None:
    verdicts = list(examine(sound))
    assert not [v for v in verdicts if v.level == "problem"]
    assert {"python", "processor", "packages", "detectors", "policy", "state", "clock", "upstream"} <= {
        v.name for v in verdicts
    }
    assert all(v.advice for v in verdicts if v.level == "warning")


def test_the_names_model_tells_its_start_memory_and_cost(sound: Settings) -> None:
    [told] = [v for v in examine(replace(sound, names=None)) if v.name == "names"]
    assert told.level == "ok"
    assert re.fullmatch(r"model [\d.]+: starts in [\d.]+ s(, \d+ MiB)?, \d+ ms for 480 characters", told.found)


def test_open_folder_is_a_problem(sound: Settings) -> None:
    sound.data.chmod(0o755)
    assert ("state", "problem") in {(v.name, v.level) for v in examine(sound)}


def test_key_file_that_others_can_read_is_a_problem(sound: Settings) -> None:
    (sound.data / "keys" / "seal.json").chmod(0o644)
    assert [v.name for v in examine(sound) if v.level == "problem"] == ["state"]


def test_clock_that_was_set_back_is_a_problem(sound: Settings) -> None:
    store = Store(sound.data / DATABASE, clock=lambda: wall_ms() + 3_600_000)
    store.transact(lambda tx: tx.now)
    store.close()
    assert level(state(sound), "clock") == "problem"


def test_upstream_that_does_not_answer_is_a_problem(sound: Settings) -> None:
    assert level(upstream(replace(sound, upstream="http://127.0.0.1:9")), "upstream") == "problem"


def test_provider_key_in_the_environment_is_a_way_around(sound: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "not-told")
    [verdict] = around(sound)
    assert verdict.level == "warning"
    assert "not-told" not in verdict.found


def test_checkpoints_inside_the_data_folder_are_a_problem(sound: Settings) -> None:
    inside = replace(sound, checkpoints=sound.data / "checkpoints")
    assert level(state(inside), "checkpoints") == "problem"


def test_exit_code_tells_whether_there_is_a_problem(sound: Settings) -> None:
    run = CliRunner()
    assert run.invoke(doctor, obj=sound).exit_code == 0
    broken = run.invoke(doctor, ["--json"], obj=replace(sound, upstream="http://127.0.0.1:9"))
    assert broken.exit_code == 1
    assert "upstream" in [v["name"] for v in json.loads(broken.output) if v["level"] == "problem"]


def test_configuration_that_cannot_be_used_is_a_problem_not_a_crash(sound: Settings, tmp_path: Path) -> None:
    broken = replace(sound, detectors=(tmp_path / "none.toml",), rules=({"verdict": "perhaps"},))
    assert {"detectors", "policy"} <= {v.name for v in examine(broken) if v.level == "problem"}
