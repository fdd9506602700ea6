"""Rules and names together: budgets, memory, turns, overload."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from llmguard import catalogue
from llmguard.detection import Engine, Scanner
from llmguard.detection.names import Names, Reading
from llmguard.errors import GuardUnavailable
from llmguard.model import Place, Principal, Scanned, TextPart

ENGINE = Engine(catalogue.load())
ANN = Principal("key:ann", "default", "service", "ann")
BEN = Principal("key:ben", "default", "service", "ben")
TEXT = "Please send the contract to Alice Walker before Friday."


def part(text: str, label: str = "", place: Place = "body") -> TextPart:
    return TextPart(text, "/messages/0/content", "user", label, place)


def answer(result: Scanned | Future[Scanned]) -> Scanned:
    return result.result(30) if isinstance(result, Future) else result


def types(scanner: Scanner, *parts: TextPart) -> list[list[tuple[str, str]]]:
    scanned = answer(scanner.submit(parts, ANN))
    return [[(f.type, p.text[f.start : f.end]) for f in fs] for p, fs in zip(parts, scanned.findings, strict=True)]


class Gate(Names):
    """Names that read only while the gate is open, and keep the order in which texts had their turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.turns: list[str] = []

    def read(self, reading: Reading, window: tuple[int, int]) -> None:
        self.open.wait(30)
        self.turns.append(reading.text[:3])
        super().read(reading, window)


def test_rules_and_names_answer_together() -> None:
    text = "Alice Walker <alice.walker@example-mail.org> pays with 4111 1111 1111 1111."
    assert types(Scanner(ENGINE, Names()), part(text)) == [
        [("PERSON", "Alice Walker"), ("EMAIL", "alice.walker@example-mail.org"), ("CREDIT_CARD", "4111 1111 1111 1111")]
    ]


def test_a_rule_inside_an_address_leaves_nothing_of_the_address_uncovered() -> None:
    text = "Ship to 48 Cedar Lane, Springfield, IL 62704, phone 212-456-7890, for Alice Walker."
    [found] = types(Scanner(ENGINE, Names()), part(text))
    covered = "".join(value for _, value in found)
    assert all(word in covered for word in ("48", "Cedar", "Lane", "62704", "212-456-7890", "Alice Walker"))


def test_without_names_rules_work_alone() -> None:
    assert types(Scanner(ENGINE), part(TEXT)) == [[]]


def test_a_short_value_is_read_with_its_label() -> None:
    assert types(Scanner(ENGINE, Names()), part("alice walker", "customer_name")) == [[("PERSON", "alice walker")]]


@pytest.mark.parametrize("place", ["key", "path", "query", "header"])
def test_keys_and_the_envelope_are_looked_at_by_rules_only(place: Place) -> None:
    scanner = Scanner(ENGINE, Names())
    assert types(scanner, part(TEXT, place=place)) == [[]]
    assert scanner.names is not None
    assert scanner.names.reads == 0


def test_who_is_named_in_one_part_is_found_in_the_others() -> None:
    parts = (
        part("Priya Raghunathan has written to us again."),
        part("raise it with Raghunathan"),
        part("def Priya(): x"),
    )
    assert types(Scanner(ENGINE, Names()), *parts)[1:] == [[("PERSON", "Raghunathan")], []]


def test_the_next_turn_of_a_chat_reads_its_new_text_only() -> None:
    names = Names()
    scanner = Scanner(ENGINE, names)
    turns = [part(f"In turn {i} Alice Walker asked Bob Miller about the invoice.") for i in range(5)]
    for i in range(1, 6):
        before = names.reads
        assert all(len(f) == 2 for f in types(scanner, *turns[:i]))
        assert names.reads == before + 1


def test_what_one_tenant_sent_is_not_remembered_for_another() -> None:
    names = Names()
    scanner = Scanner(ENGINE, names)
    answer(scanner.submit((part(TEXT),), ANN))
    answer(scanner.submit((part(TEXT),), Principal("key:eve", "other", "service", "eve")))
    assert names.reads == 2


def test_memory_holds_no_text() -> None:
    scanner = Scanner(ENGINE, Names())
    answer(scanner.submit((part(TEXT),), ANN))
    known = scanner._memory._known
    assert known
    assert not any(word in repr(known) for word in ("Alice", "Walker", "contract"))


def test_above_the_budget_the_newest_text_is_read_and_the_rest_is_unscanned() -> None:
    names = Names()
    scanner = Scanner(ENGINE, names, budget=1000)
    old, new = part("Alice Walker asked again. " * 100), part("Bob Miller has answered her.")
    scanned = answer(scanner.submit((old, new), ANN))
    assert scanned.unscanned == ("names",)
    assert [f.type for f in scanned.findings[1]] == ["PERSON"]
    assert names.reads <= 4


def test_a_huge_text_costs_its_budget_and_not_its_length() -> None:
    names = Names()
    scanner = Scanner(ENGINE, names, budget=1000)
    assert answer(scanner.submit((part("Nothing of Note happened. " * 50_000),), ANN)).unscanned == ("names",)
    assert names.reads <= 4


def test_memory_forgets_what_was_not_used_for_longest() -> None:
    names = Names()
    scanner = Scanner(ENGINE, names)
    scanner._memory._limit = 8
    for i in range(10):
        answer(scanner.submit((part(f"{i}. {TEXT}"),), ANN))
    before = names.reads
    answer(scanner.submit((part(f"9. {TEXT}"),), ANN))
    assert names.reads == before
    answer(scanner.submit((part(f"0. {TEXT}"),), ANN))
    assert names.reads == before + 1


def test_text_outside_of_calls_has_no_budget() -> None:
    scanner = Scanner(ENGINE, Names(), budget=1000)
    text = "Nothing of note happened there on Tuesday. " * 60 + "Then Alice Walker came."
    assert [f.type for f in scanner.scan((part(text),))[0]] == ["PERSON"]


def test_a_short_text_does_not_wait_for_another_callers_long_one() -> None:
    names = Gate()
    scanner = Scanner(ENGINE, names)
    long = scanner.submit((part("ANN: " + "Alice Walker asked Bob Miller again. " * 200),), ANN)
    short = scanner.submit((part("BEN: Bob Miller has answered Alice Walker."),), BEN)
    names.open.set()
    assert answer(short).findings[0]
    assert answer(long).findings[0]
    assert "BEN" in names.turns[:6]
    assert len(names.turns) > 12


def test_overload_refuses_the_call_and_does_not_skip_it() -> None:
    names = Gate()
    scanner = Scanner(ENGINE, names, budget=480)
    waiting: list[Scanned | Future[Scanned]] = []

    def ask() -> None:
        for i in range(20):
            waiting.append(scanner.submit((part(f"{i} " + "Alice Walker asked again. " * 15),), ANN))

    with pytest.raises(GuardUnavailable):
        ask()
    assert len(waiting) >= 4
    waiting.append(scanner.submit((part("BEN: Bob Miller has answered her."),), BEN))
    names.open.set()
    assert all(answer(w).findings[0] for w in waiting)


def test_sixty_four_callers_at_once_are_each_answered_in_turn_or_refused_and_never_skipped() -> None:
    scanner = Scanner(ENGINE, Names(), budget=480)
    order: list[int] = []
    refused: list[int] = []
    waiting: dict[int, Future[Scanned]] = {}

    def call(caller: int) -> None:
        said = "Alice Walker asked Bob Miller again. " * (40 if caller == 0 else 1)
        who = Principal(f"key:{caller}", "default", "service", str(caller))
        try:
            result = scanner.submit((part(f"{caller}. {said}"),), who)
        except GuardUnavailable:
            refused.append(caller)
            return
        assert isinstance(result, Future)
        result.add_done_callback(lambda _: order.append(caller))
        waiting[caller] = result

    with ThreadPoolExecutor(64) as callers:
        list(callers.map(call, range(64)))
    assert sorted((*waiting, *refused)) == list(range(64))
    for caller, future in waiting.items():
        scanned = future.result(60)
        assert [f.type for f in scanned.findings[0]][:2] == ["PERSON", "PERSON"]
        assert scanned.unscanned == (("names",) if caller == 0 else ())
    assert len(waiting) >= 8
    scanner.close()


def test_a_model_that_fails_fails_the_call() -> None:
    class Broken(Names):
        def read(self, reading: Reading, window: tuple[int, int]) -> None:
            raise RuntimeError("broken")

    future = Scanner(ENGINE, Broken()).submit((part(TEXT),), ANN)
    assert isinstance(future, Future)
    with pytest.raises(RuntimeError):
        future.result(30)


def test_a_closed_scanner_refuses_whoever_waits() -> None:
    names = Gate()
    scanner = Scanner(ENGINE, names)
    future = scanner.submit((part("Alice Walker asked Bob Miller again. " * 300),), ANN)
    scanner.close()
    names.open.set()
    assert isinstance(future, Future)
    with pytest.raises(GuardUnavailable):
        future.result(30)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_it_works_after_a_fork() -> None:
    scanner = Scanner(ENGINE, Names())
    answer(scanner.submit((part(TEXT),), ANN))
    child = os.fork()
    if child == 0:
        found = answer(scanner.submit((part(TEXT.replace("Alice", "Susan")),), ANN)).findings[0]
        os._exit(0 if [f.type for f in found] == ["PERSON"] else 1)
    assert os.waitpid(child, 0)[1] == 0


# --------------------------------------------------------------------------- without the packages

_BLOCKED = """
import logging, sys
sys.modules["onnxruntime"] = None
logging.basicConfig(level=logging.WARNING)
from llmguard import Guard
from llmguard.config import load
from llmguard.errors import ConfigError
settings = load()
with Guard(settings) as guard:
    print("findings", len(guard.scan("call Alice Walker")))
with Guard(settings):
    pass
try:
    Guard(settings, names=True)
except ConfigError as e:
    print(e)
"""


def test_absent_packages_are_announced_once_and_an_error_where_names_are_wanted(tmp_path: object) -> None:
    environment = {**os.environ, "LLMGUARD_DATA": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", _BLOCKED], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr.count("pip install 'llmguard[names]'") == 1
    assert done.stdout.splitlines()[0] == "findings 0"
    assert "pip install 'llmguard[names]'" in done.stdout.splitlines()[1]
