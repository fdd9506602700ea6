from __future__ import annotations

import dataclasses
import os
import random
import threading
from itertools import pairwise
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard import catalogue, validators
from llmguard.catalogue import fill
from llmguard.detection import Engine
from llmguard.detection import verify as verify_module
from llmguard.detection.verify import Work
from llmguard.errors import UnscannableRequest
from llmguard.model import Finding, TextPart

DETECTORS = catalogue.load()
ENGINE = Engine(DETECTORS)


def scan(text: str, label: str = "") -> tuple[Finding, ...]:
    (findings,) = ENGINE.scan([TextPart(text, "/x", label=label)])
    return findings


def found(text: str, label: str = "") -> list[tuple[str, str]]:
    return [(f.type, text[f.start : f.end]) for f in scan(text, label)]


# ------------------------------------------------------------------ parts and offsets


def test_findings_are_aligned_with_parts() -> None:
    findings = ENGINE.scan(
        [TextPart("a@example.org", "/0"), TextPart("nothing", "/1"), TextPart("ssn 536-22-8745", "/2")]
    )
    assert [[f.type for f in part] for part in findings] == [["EMAIL"], [], ["US_SSN"]]
    assert ENGINE.scan([]) == ()


@pytest.mark.parametrize("before", ["", "ü", "日本語 ", "👩‍👩‍👧 ", "e\u0301 ", "\u202e", "\x00"])
@pytest.mark.parametrize("after", ["", " ok", " 👍", "\u0301", "。"])
def test_offsets_are_code_points_whatever_stands_around(before: str, after: str) -> None:
    text = f"{before} jane@example.org{after}; {before} 4111 1111 1111 1111 {after}"
    assert found(text) == [("EMAIL", "jane@example.org"), ("CREDIT_CARD", "4111 1111 1111 1111")]


def test_severity_and_category_come_from_the_detector() -> None:
    (finding,) = scan("card 4111 1111 1111 1111")
    assert (finding.category, finding.severity, finding.detector) == ("pii", "high", "pii.financial.card_number")


def test_lone_surrogate_is_refused_without_its_text() -> None:
    with pytest.raises(UnscannableRequest) as e:
        scan("secret \ud800")
    assert e.value.__cause__ is None
    assert e.value.__suppress_context__


SNIPPETS = [
    "jane.roe@example.org",
    "+49 171 1234567",
    "4111 1111 1111 1111",
    "DE89 3704 0044 0532 0130 00",
    "536-22-8745",
    "203.0.113.77",
    "password = 'hunter2'",
    "postgres://u:s3cret@db/x",
    "ü",
    "日本",
    "👍",
    " ",
    "\n",
    "@",
    ":",
    "ssn",
    "phone ",
    "-",
    '"',
    "AKIA",
    "token: ",
]


@given(
    st.lists(st.sampled_from(SNIPPETS) | st.text(max_size=8), max_size=12).map("".join),
    st.sampled_from(["", "password", "ssn", "käy", "x" * 300]),
)
def test_findings_are_inside_the_text_sorted_and_never_overlap(text: str, label: str) -> None:
    try:
        findings = scan(text, label)
    except UnscannableRequest:
        return
    assert all(0 <= f.start < f.end <= len(text) and verify_module.THRESHOLD <= f.confidence <= 1 for f in findings)
    for left, right in pairwise(findings):
        assert left.end <= right.start


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_an_address_between_blanks_is_found_after_any_text(before: str) -> None:
    assert ("EMAIL", "jane@example.org") in found(f"{before} jane@example.org ")


# ------------------------------------------------------------------ context and labels


def test_plain_number_is_an_ssn_only_beside_a_word_for_it() -> None:
    assert found("code 536228745") == []
    assert found("her social security number: 536228745") == [("US_SSN", "536228745")]


def test_context_raises_confidence() -> None:
    (bare,), (named,) = scan("see 536-22-8745"), scan("ssn 536-22-8745")
    assert named.confidence > bare.confidence


def test_label_counts_as_context() -> None:
    assert found("536228745", "ssn") == [("US_SSN", "536228745")]
    assert found("536228745", "customerSsn") == [("US_SSN", "536228745")]
    assert found("5551234567", "phone_number") == [("PHONE", "5551234567")]
    assert found("536228745", "total") == []


@pytest.mark.parametrize("label", ["password", "dbPassword", "DB_PASSWORD", "user.passwd", "pwd", "passphrase"])
@pytest.mark.parametrize(
    "value", ["hunter2-Kx", "letmein", "correct horse battery staple", 'a "quoted" one', "päss wörd"]
)
def test_whole_text_under_a_password_label_is_found(label: str, value: str) -> None:
    assert found(value, label) == [("PASSWORD", value)]


@pytest.mark.parametrize("value", ["", "changeme", "${DB_PASSWORD}", "[PASSWORD_k7q2m4x9ab]", "null", "string"])
def test_placeholder_under_a_password_label_is_not(value: str) -> None:
    assert found(value, "password") == []


def test_token_under_its_label_is_found() -> None:
    value = fill("{alnum:14}7q{alnum:14}", 5)
    assert found(value, "api_key") == [("SECRET", value)]
    assert found("Hello", "token") == []


def test_label_that_matches_by_itself_gives_no_finding_before_the_text() -> None:
    assert found("hello there", "jane@example.org") == []


# ------------------------------------------------------------------ which finding speaks


def test_password_of_a_url_is_not_an_address() -> None:
    assert found("postgres://app:s3cr3t@db.example.org/app") == [("PASSWORD", "s3cr3t")]


def test_vendor_key_beats_the_keyword_beside_it() -> None:
    key = fill("ghp_{alnum:36}", 1)
    assert found(f'token = "{key}"') == [("GITHUB_TOKEN", key)]


def test_our_own_placeholders_stay() -> None:
    assert found("password: [PASSWORD_k7q2m4x9ab], mail [EMAIL_abcdefghij] token=[SECRET_k7q2m4x9ab]") == []


def test_values_side_by_side_are_each_found() -> None:
    assert [t for t, _ in found("203.0.113.1 203.0.113.2,203.0.113.3\n203.0.113.4")] == ["IP_ADDRESS"] * 4
    assert [t for t, _ in found("a@example.org,b@example.org;c@example.org")] == ["EMAIL"] * 3


def test_long_key_block_is_covered_whole() -> None:
    block = fill("-----BEGIN RSA PRIVATE KEY-----\n" + "{base64:64}\n" * 50 + "-----END RSA PRIVATE KEY-----", 3)
    assert found(f"key:\n{block}\nbye") == [("PRIVATE_KEY", block)]


def test_truncated_key_block_is_covered_to_its_end() -> None:
    block = fill("-----BEGIN PRIVATE KEY-----\n" + "{base64:64}\n" * 120 + "{base64:30}", 3)
    assert found(block + " and then prose follows here") == [("PRIVATE_KEY", block)]


# ------------------------------------------------------------------ quiet

CODE = '''
import os
from dataclasses import dataclass

@dataclass
class Settings:
    """Where the service listens; the password comes from the environment."""
    host: str = "127.0.0.1"
    password: str | None = None
    token: Optional[str] = None
    api_key: SecretStr

    @property
    def password_field(self) -> str:
        return self.fields["password"]

def login(user, password=None, *, token: str = "", timeout=30.0):
    if not password:
        password = os.environ["SERVICE_PASSWORD"]
    token = tokenizer.next_token(password)
    key = hashlib.sha256(secret_key).hexdigest()
    matrix = [1, 2, 3] @ other.weights
    for key, value in sorted(mapping.items(), key=lambda kv: kv[1]):
        print(f"{key}: {value:>12}", end="")
    return Session(user=user, password=password, token=token, api_key=config.api_key)

VERSION = "1.2.3.4"  # version 1.2.3.4
CONSTANT = 0x7FFFFFFFFFFFFFFF + 9223372036854775807 + 3.141592653589793
COMMIT = "3f786850e387550fdab836ed7e6dc881de23001b"
UUID = "123e4567-e89b-12d3-a456-426614174000"
'''
PROSE = """
On 2024-03-14 at 10:30 the committee met for the 1st time; 1,234,567 votes were counted, 45.5 % of 2,713,407.
The secret of a good password is length: never reuse a password, and keep your token safe. My key point is this.
Basic understanding helps; bearer certificates do not. Compare pages 100-200, ISBN 978-3-16-148410-0, ratio 16:9.
Opening hours: 9:00-17:30. Call it a day! Version 10.0.19045 shipped. @someone said so on the forum, at example dot org.
"""


@pytest.mark.parametrize("text", [CODE, PROSE], ids=["code", "prose"])
def test_clean_text_stays_quiet(text: str) -> None:
    assert found(text) == []


# ------------------------------------------------------------------ hostile input

HOSTILE = [
    "@",
    "a@",
    "a@b.",
    "a@b.co ",
    "1",
    "12 ",
    "1-",
    "1.",
    "1.2.3.4 ",
    "2001:",
    "password=",
    "password: a1 ",
    "token=aaaaaaaaaa",
    "pwd='",
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----\nAAAAAAAAAAAAAAAAAAAA\n",
    "eyJ",
    "eyaaaaaaaaaa.aaaa",
    "://a:b",
    "://a:b@",
    "curl -u a:",
    "DE89 3704 ",
    "AA11",
    "bearer aaaaaaaaaa ",
    "sk-" + "a" * 40,
    "<password>",
    "é@",
    "+1 ",
    "+4917112345678 ",
    "phone 5551234567 ",
    "basic aaaaaa ",
]


def _work(unit: str, size: int) -> Work:
    work = Work()
    ENGINE.scan([TextPart((unit * (size // len(unit) + 1))[:size], "")], work)
    return work


@pytest.mark.parametrize("unit", HOSTILE, ids=range(len(HOSTILE)))
def test_work_grows_with_the_text_and_no_faster(unit: str) -> None:
    small, large = _work(unit, 10_000), _work(unit, 40_000)
    assert large.examined <= 4.5 * small.examined + 20_000
    assert large.searches <= 4.5 * small.searches + 50
    assert large.validated <= 4.5 * small.validated + 50


@pytest.mark.parametrize("unit", ["@", "1", "password="])
def test_two_hundred_kilobytes_of_one_thing_cost_a_bounded_number_of_passes(unit: str) -> None:
    assert _work(unit, 200_000).examined <= len(DETECTORS) * 200_000


# ------------------------------------------------------------------ failure, threads, forks


def test_broken_validator_is_never_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(value: str) -> bool | None:
        raise ZeroDivisionError

    monkeypatch.setattr(verify_module, "VALIDATORS", MappingProxyType({**validators.VALIDATORS, "card": broken}))
    engine = Engine(DETECTORS)
    with pytest.raises(ZeroDivisionError):
        engine.scan([TextPart("4111 1111 1111 1111", "")])


def _mixed(seed: int) -> list[TextPart]:
    chosen = random.Random(seed)
    return [TextPart(" ".join(chosen.choices(SNIPPETS, k=30)), "") for _ in range(20)]


def test_threads_find_what_one_thread_finds() -> None:
    engine = Engine(DETECTORS)
    parts = _mixed(1)
    expected = engine.scan(parts)
    results: list[bool] = []

    def run() -> None:
        results.extend(engine.scan(parts) == expected for _ in range(10))

    threads = [threading.Thread(target=run) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [True] * 60


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_finds_the_same() -> None:
    parts = _mixed(2)
    expected = ENGINE.scan(parts)
    child = os.fork()
    if child == 0:
        os._exit(0 if ENGINE.scan(parts) == expected else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_detector_without_context_words_is_not_raised_by_them() -> None:
    plain = dataclasses.replace(DETECTORS[0], context=())
    assert Engine([plain]).scan([TextPart("nothing here", "")]) == ((),)


# ------------------------------------------------------------------ nothing that was believed is dropped


def test_rest_of_a_credential_around_a_proved_value_stays_covered() -> None:
    token = fill("{alnum:12}7q", 4)
    text = f'api_key = "4111111111111111:{token}"'
    covered = "".join(text[f.start : f.end] for f in scan(text))
    assert "4111111111111111" in covered
    assert token in covered


def test_equal_values_of_one_text_are_validated_once() -> None:
    work = Work()
    ENGINE.scan([TextPart("card 4111 1111 1111 1111 " * 50, "")], work)
    assert work.validated <= 20


def test_context_words_are_found_inside_camel_case_and_other_languages() -> None:
    assert found("customerSsn = 536228745") == [("US_SSN", "536228745")]
    assert found("TÉLÉPHONE : 06 12 34 56 78") == [("PHONE", "06 12 34 56 78")]
