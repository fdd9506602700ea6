"""Spools: sealed on disk, bounded, wiped, and read as they were written or not at all."""

from __future__ import annotations

import hashlib
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmguard import spool
from llmguard.errors import GuardUnavailable, RequestTooLarge
from llmguard.model import Payload, pieces_of, window
from llmguard.spool import FRAME, MEMORY, Spooled, Spools
from llmguard.vault import Keyring, Vault


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(Keyring.open(tmp_path / "keys"))


@pytest.fixture
def spools(vault: Vault) -> Spools:
    return Spools(vault)


def put(spools: Spools, data: bytes, piece: int = 100_000) -> Payload:
    writer = spools.writer("default")
    for at in range(0, len(data), piece):
        writer.write(data[at : at + piece])
    return writer.close()


def large(seed: int = 1, size: int = MEMORY + 3 * FRAME + 17) -> bytes:
    return Random(seed).randbytes(size)


def spooled(payload: Payload) -> Spooled:
    assert isinstance(payload, Spooled)
    return payload


def on_disk(vault: Vault) -> list[str]:
    return sorted(p.name for p in spool.folder_of(vault).rglob("*") if p.is_file() and not p.name.startswith("alive"))


def test_what_is_small_stays_in_memory(spools: Spools, vault: Vault) -> None:
    assert put(spools, b"x" * MEMORY) == b"x" * MEMORY
    assert not spool.folder_of(vault).exists()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(extra=st.integers(1, 3 * FRAME), piece=st.integers(1000, 900_000), start=st.integers(0, MEMORY + 3 * FRAME))
def test_reads_as_it_was_written_from_any_offset(spools: Spools, extra: int, piece: int, start: int) -> None:
    data = large(extra, MEMORY + extra)
    content = spooled(put(spools, data, piece))
    assert (len(content), content.digest) == (len(data), hashlib.sha256(data).hexdigest())
    assert b"".join(pieces_of(content, start)) == data[start:]
    assert window(content, start, start + 1000) == data[start : start + 1000]
    with spool.opened(content) as file:
        file.seek(start)
        assert file.read(1000) == data[start : start + 1000]
    spools.release(content)


def test_nothing_lies_there_in_the_clear_and_nobody_else_may_read(spools: Spools, vault: Vault) -> None:
    marker = os.urandom(16).hex().encode()
    content = spooled(put(spools, marker * (2 * MEMORY // len(marker))))
    assert marker not in content.path.read_bytes()
    assert content.path.stat().st_mode & 0o777 == 0o600
    assert spool.folder_of(vault).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "harm",
    [
        lambda raw: raw[:-1],
        lambda raw: raw[: FRAME + 30],
        lambda raw: raw[:1000] + bytes([raw[1000] ^ 1]) + raw[1001:],
        lambda raw: raw[FRAME + 30 : 2 * (FRAME + 30)] + raw[: FRAME + 30] + raw[2 * (FRAME + 30) :],
        lambda raw: b"",
    ],
    ids=["cut", "cut at a frame", "altered", "frames swapped", "emptied"],
)
def test_what_was_altered_on_disk_is_not_read(spools: Spools, harm: Callable[[bytes], bytes]) -> None:
    content = spooled(put(spools, large()))
    content.path.write_bytes(harm(content.path.read_bytes()))
    with pytest.raises(GuardUnavailable):
        list(content.pieces())


def test_a_file_in_anothers_place_is_not_read(spools: Spools) -> None:
    one, two = spooled(put(spools, large(1))), spooled(put(spools, large(2)))
    two.path.write_bytes(one.path.read_bytes())
    with pytest.raises(GuardUnavailable):
        list(two.pieces())


def test_what_was_wiped_is_not_read(spools: Spools) -> None:
    content = spooled(put(spools, large()))
    spools.release(content)
    with pytest.raises(GuardUnavailable, match="send it again"):
        list(content.pieces())


def test_what_is_kept_outlives_its_request(spools: Spools, vault: Vault) -> None:
    data = large()
    content = spooled(put(spools, data))
    spool.keep(content)
    spools.release(content)
    again = spool.kept(vault, "default", content.id, content.size, content.digest)
    assert b"".join(again.pieces()) == data
    spool.drop(vault, content.id)
    assert on_disk(vault) == []


def test_an_upload_above_the_limit_is_refused_and_wiped(vault: Vault) -> None:
    writer = Spools(vault, largest=2 * MEMORY).writer("default")
    for _ in range(20):
        writer.write(b"x" * 100_000)
    with pytest.raises(RequestTooLarge, match="max_upload_bytes"):
        writer.write(b"x" * 2 * MEMORY)
    assert on_disk(vault) == []


def test_a_full_spool_is_refused_until_something_is_wiped(vault: Vault) -> None:
    spools = Spools(vault, limit=3 * MEMORY)
    first = put(spools, large(1, 2 * MEMORY))
    with pytest.raises(GuardUnavailable, match="spool_bytes"):
        put(spools, large(2, 2 * MEMORY))
    assert len(on_disk(vault)) == 1
    spools.release(first)
    spools.release(put(spools, large(2, 2 * MEMORY)))
    assert on_disk(vault) == []


def test_a_file_whose_first_frame_has_no_room_leaves_nothing_behind(vault: Vault) -> None:
    with pytest.raises(GuardUnavailable, match="spool_bytes"):
        put(Spools(vault, limit=FRAME // 2), large())
    assert on_disk(vault) == []


def test_a_full_disk_is_told_and_leaves_nothing_behind(spools: Spools, vault: Vault) -> None:
    script = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from llmguard.errors import GuardUnavailable\n"
        "from llmguard.spool import Spools\n"
        "from llmguard.vault import Keyring, Vault\n"
        "spools = Spools(Vault(Keyring.open(Path(sys.argv[1]))))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, 700_000))\n"
        "try:\n"
        "    writer = spools.writer('default')\n"
        "    [writer.write(bytes(100_000)) for _ in range(40)]\n"
        "except GuardUnavailable as e:\n"
        "    print(e.message)\n"
    )
    folder = str(vault.keyring.folder)
    told = subprocess.run([sys.executable, "-c", script, folder], capture_output=True, text=True, check=True)
    assert "disk is full" in told.stdout
    assert on_disk(vault) == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 700_000


def test_what_a_killed_process_left_is_wiped_by_the_next_sweep(vault: Vault, spools: Spools) -> None:
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from llmguard.spool import Spools\n"
        "from llmguard.vault import Keyring, Vault\n"
        "writer = Spools(Vault(Keyring.open(Path(sys.argv[1])))).writer('default')\n"
        "[writer.write(bytes(100_000)) for _ in range(20)]\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(vault.keyring.folder)], check=False)
    assert len(on_disk(vault)) == 1
    assert spools.sweep(lambda _: False) == 1
    assert on_disk(vault) == []


def test_a_sweep_leaves_what_others_are_writing_and_what_is_referred_to(vault: Vault, spools: Spools) -> None:
    passing, held = put(spools, large(1)), spooled(put(spools, large(2)))
    spool.keep(held)
    spools.release(held)
    other = Spools(vault)
    assert other.sweep(lambda _: False) == 0
    path = spool.folder_of(vault) / "held" / held.id
    old = path.stat().st_mtime - 2 * spool.ABANDONED
    os.utime(path, (old, old))
    assert other.sweep(lambda id_: id_ == held.id) == 0
    assert other.sweep(lambda _: False) == 1
    assert b"".join(pieces_of(passing)) == large(1)


def test_nothing_of_it_is_in_a_repr(spools: Spools) -> None:
    content = put(spools, b"jane.roe " * 300_000)
    assert "jane" not in repr(content)
