"""What a wheel holds: the package, the catalogue inside it, and nothing beside them."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    [wheel] = out.glob("*.whl")
    return zipfile.ZipFile(wheel).namelist()


def test_wheel_installs_one_top_level_package(names: list[str]) -> None:
    assert {n.partition("/")[0] for n in names if ".dist-info" not in n} == {"llmguard"}


def test_wheel_holds_every_module_and_every_detector_file(names: list[str]) -> None:
    modules = {str(p.relative_to(ROOT)) for p in (ROOT / "llmguard").rglob("*.py")}
    assert modules <= set(names)
    families = {f"llmguard/detectors/{p.name}" for p in (ROOT / "detectors").glob("*.toml")}
    assert families
    assert families <= set(names)
    assert "llmguard/py.typed" in names


def test_wheel_holds_every_file_that_the_package_reads(names: list[str]) -> None:
    suffixes = {".py", ".pyc", ".so"}
    read = [p for p in (ROOT / "llmguard").rglob("*") if p.is_file() and p.suffix not in suffixes]
    assert {str(p.relative_to(ROOT)) for p in read} <= set(names)
