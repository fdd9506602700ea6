"""Keys, seals and tags."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.errors import ConfigError, GuardUnavailable
from llmguard.vault import KINDS, MAX_TAG_LENGTH, Keyring, Vault

VAULT = Vault(Keyring.generate())


@given(st.binary(), st.text(max_size=9), st.text(max_size=9), st.text(max_size=9))
def test_what_was_sealed_opens_for_its_place_alone(content: bytes, tenant: str, purpose: str, row: str) -> None:
    sealed = VAULT.seal(tenant, purpose, row, content)
    assert VAULT.open(tenant, purpose, row, sealed) == content
    for place in ((tenant + "x", purpose, row), (tenant, purpose + "x", row), (tenant, purpose, row + "x")):
        with pytest.raises(GuardUnavailable):
            VAULT.open(*place, sealed)


@given(st.data())
def test_any_altered_byte_of_a_seal_is_noticed(data: st.DataObject) -> None:
    sealed = bytearray(VAULT.seal("t", "p", "r", b"content"))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(GuardUnavailable):
        VAULT.open("t", "p", "r", bytes(sealed))


def test_cut_seal_is_noticed() -> None:
    sealed = VAULT.seal("t", "p", "r", b"content")
    for length in range(len(sealed)):
        with pytest.raises(GuardUnavailable):
            VAULT.open("t", "p", "r", sealed[:length])


def test_placeholders_are_stable_and_differ_by_tenant_type_and_value() -> None:
    one = VAULT.placeholder("t", "EMAIL", "v")
    assert one == VAULT.placeholder("t", "EMAIL", "v")
    others = {VAULT.placeholder("u", "EMAIL", "v"), VAULT.placeholder("t", "EMAIL", "w")}
    assert one not in others
    assert len(others) == 2
    longer = VAULT.placeholder("t", "EMAIL", "v", 12)
    assert longer.startswith(one[:-1])
    with pytest.raises(GuardUnavailable):
        VAULT.placeholder("t", "EMAIL", "v", MAX_TAG_LENGTH + 1)


def test_keys_are_private_stable_and_made_once_by_many(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    with ThreadPoolExecutor(8) as pool:
        rings = list(pool.map(lambda _: Keyring.open(folder), range(8)))
    tags = {Vault(r).placeholder("t", "EMAIL", "v") for r in rings}
    assert len(tags) == 1
    assert folder.stat().st_mode & 0o777 == 0o700
    assert sorted(p.name for p in folder.iterdir()) == sorted(f"{k}.json" for k in KINDS)
    assert all(p.stat().st_mode & 0o777 == 0o600 for p in folder.iterdir())


def test_key_file_that_others_can_read_or_that_is_damaged_is_refused(tmp_path: Path) -> None:
    Keyring.open(tmp_path)
    (tmp_path / "seal.json").chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        Keyring.open(tmp_path)
    (tmp_path / "seal.json").chmod(0o600)
    (tmp_path / "seal.json").write_text('{"keys": ["AAAA"]}')
    with pytest.raises(ConfigError, match="wrong length"):
        Keyring.open(tmp_path)
    (tmp_path / "seal.json").write_text("{")
    with pytest.raises(ConfigError, match="not a key file"):
        Keyring.open(tmp_path)


def test_attestations_bind_purpose_and_every_field() -> None:
    made = VAULT.attest("vote", "a", "b")
    assert VAULT.attested(made, "vote", "a", "b")
    assert not VAULT.attested(made, "vote", "ab", "")
    assert not VAULT.attested(made, "person", "a", "b")
    assert not Vault(Keyring.generate()).attested(made, "vote", "a", "b")
