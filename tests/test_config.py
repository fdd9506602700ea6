"""Settings: where they come from, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmguard.config import Settings, load
from llmguard.errors import ConfigError

OIDC = "[[oidc]]\nname = 'corp'\nissuer = 'https://idp.example'\nclient_id = 'llmguard'\n"


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_arguments_win_over_environment_over_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "c.toml", 'port = 1\ncontrol_port = 2\ntenant = "file"\n')
    monkeypatch.setenv("LLMGUARD_PORT", "10")
    monkeypatch.setenv("LLMGUARD_CONTROL_PORT", "20")
    settings = load(path, port=100)
    assert (settings.port, settings.control_port, settings.tenant) == (100, 20, "file")


def test_file_in_the_working_directory_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "config.toml", "port = 1")
    written(tmp_path / "llmguard.toml", "port = 1")
    monkeypatch.chdir(tmp_path)
    assert load().port == 8080


def test_file_of_the_users_configuration_folder_is_read(tmp_path: Path) -> None:
    written(tmp_path / "config" / "llmguard" / "config.toml", "port = 5")
    assert load().port == 5


def test_relative_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    path = written(tmp_path / "etc" / "c.toml", 'data = "state"\ndetectors = ["own.toml"]')
    settings = load(path)
    assert settings.data == tmp_path / "etc" / "state"
    assert settings.detectors == (tmp_path / "etc" / "own.toml",)
    assert settings.checkpoint_folder == tmp_path / "etc" / "state-checkpoints"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("prot = 1", "did you mean 'port'"),
        ("port = 'x'", "port must be a whole number"),
        ("port = true", "port must be a whole number"),
        ("pass_through = 'maybe'", "true or false"),
        ("upstream = 'ftp://x'", "http"),
        ("upstream = 'https://user:pw@x'", "without credentials"),
        ("upstream_trust = 'friends'", "internal, contract, public"),
        ("port = ", "cannot be read"),
        ("session_idle = 59", "at least 60"),
        ("membership_ttl = 0", "at least 1"),
        ("oidc = 'x'", "oidc"),
        ("oidc = ['x']", "a table has name, issuer and client_id"),
        ("[[oidc]]\nname = 'a'\nissuer = 'https://x'", "a table has name, issuer and client_id"),
        (OIDC + "groups = ['x']", "groups must be a table"),
        (OIDC + "groups = {x = [1]}", "list of texts"),
        (OIDC + "provision = 'yes'", "true or false"),
        (OIDC + "scopes = ['email']", "openid"),
        (OIDC + "more = 1", "may have"),
        (OIDC.replace("https", "http"), "must be https"),
        (OIDC.replace("https://", "https://user:pw@"), "without credentials"),
        (OIDC.replace("'corp'", "'Corp'"), "a-z"),
        (OIDC + OIDC, "name and an issuer of its own"),
        ("control_url = 'http://guard.example'\n" + OIDC, "control_url"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load(written(tmp_path / "c.toml", text))


def test_an_identity_provider_is_a_table_and_its_secret_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMGUARD_OIDC_SECRET_CORP", "hush")
    text = OIDC + "domains = ['example.com']\n[oidc.groups]\nleads = ['reviewers', 'security']\nall = 'staff'\n"
    [provider] = load(written(tmp_path / "c.toml", text)).oidc
    assert (provider.client_secret, provider.domains) == ("hush", ("example.com",))
    assert provider.groups == {"leads": ("reviewers", "security"), "all": ("staff",)}
    assert "hush" not in repr(provider)


def test_missing_named_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no configuration file"):
        load(tmp_path / "none.toml")


@pytest.mark.parametrize("base", ["http://h", "http://h/", "http://h/v1", "http://h/v1/"])
def test_upstream_works_with_and_without_its_version(base: str) -> None:
    assert Settings(upstream=base).destination.base_url == "http://h/v1"


def test_key_of_the_provider_is_not_shown() -> None:
    assert "hush" not in repr(Settings(upstream_key="hush"))


def test_thresholds_of_names_are_numbers_by_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "c.toml", "names_thresholds = {PERSON = 0.8}")
    assert load(path).names_thresholds == {"PERSON": 0.8}
    monkeypatch.setenv("LLMGUARD_NAMES_THRESHOLDS", "PERSON=0.6,ADDRESS=0.7")
    assert load(path).names_thresholds == {"PERSON": 0.6, "ADDRESS": 0.7}
    monkeypatch.delenv("LLMGUARD_NAMES_THRESHOLDS")
    for wrong in ("{PERSON = 2}", "{EMAIL = 0.5}", "{PERSON = true}", '"PERSON"', "3"):
        with pytest.raises(ConfigError, match="names_thresholds must be numbers from 0 to 1"):
            load(written(tmp_path / "wrong.toml", f"names_thresholds = {wrong}"))
