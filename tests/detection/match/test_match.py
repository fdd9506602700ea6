"""Exact data match: what is built from values finds them again, however they are written, and says nothing of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmguard import catalogue
from llmguard.config import Settings
from llmguard.detection import Engine, match
from llmguard.detection.match import Builder, Header, Matcher, MatchKey, Report
from llmguard.detection.match.normal import form
from llmguard.errors import ConfigError
from llmguard.guard import Guard
from llmguard.model import TextPart

KEY, OTHER = MatchKey(b"k" * 32), MatchKey(b"o" * 32)
HEADER = Header("customers", "CUSTOMER", "internal", "high", "", 0, 0, 0)
COMMON = frozenset({"paper", "light", "will", "young"})
RECORDS = (
    "Jane Roe",
    "Hans-Jürgen Müller-Lüdenscheidt",
    "O'Neil & Sons Ltd.",
    "Will Young",
    "Zażółć Gęślą",
    "Maria de la Cruz y Fernández",
    "12-345 67",
    "KD-0099-1X",
    "GB29 NWBK 6016 1331 9268 19",
    "Hauptstraße 12, 10115 Berlin",
    "Projekt Zwergfalke",
    "Zwergfalke",
    "山田太郎",
    "김철수민",
    "สมชาย ใจดี",
    "प्रियंका शर्मा",
    "Иван Ёлкин",
    "株式会社中村製作所大阪支店",
)

Built = Callable[..., Path]


@pytest.fixture
def built(tmp_path: Path) -> Built:
    def make(values: Sequence[str] = RECORDS, key: MatchKey = KEY, header: Header = HEADER, **options: bool) -> Path:
        builder = Builder(key, COMMON, **options)
        for line, value in enumerate(values, 1):
            builder.add(line, value)
        path = tmp_path / f"{header.name}.match"
        builder.write(path, header)
        return path

    return make


def matcher_of(values: Sequence[str], folder: Path) -> Matcher:
    builder = Builder(KEY, COMMON)
    for line, value in enumerate(values, 1):
        builder.add(line, value)
    builder.write(folder / "f.match", HEADER)
    return Matcher([match.read(folder / "f.match", [KEY])])


def found(matcher: Matcher, text: str) -> list[str]:
    return [text[f.start : f.end] for f, _ in sorted(matcher.find(text), key=lambda m: m[0].start)]


# ------------------------------------------------------------------ what is found


@pytest.fixture(scope="module")
def all_records(tmp_path_factory: pytest.TempPathFactory) -> Matcher:
    return matcher_of(RECORDS, tmp_path_factory.mktemp("all"))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("we met JANE ROE.", ["JANE ROE"]),
        ("jane\n  roe, today", ["jane\n  roe"]),
        ("Jane Roe's order", ["Jane Roe"]),
        ("(Jane_Roe)", ["Jane_Roe"]),
        ("l'avis d'Hans Jurgen MÜLLER Ludenscheidt", ["Hans Jurgen MÜLLER Ludenscheidt"]),
        ("Hans-Ju\u0308rgen Mu\u0308ller-Lu\u0308denscheidt", ["Hans-Ju\u0308rgen Mu\u0308ller-Lu\u0308denscheidt"]),
        ("ask o’neil and sons", []),
        ("ask o’neil sons ltd", ["o’neil sons ltd"]),
        ("zazolc gesla", ["zazolc gesla"]),
        ("Ｊａｎｅ　Ｒｏｅ", ["Ｊａｎｅ　Ｒｏｅ"]),
        ("account 1234567, 1 2 3 4 5 6 7", ["1234567", "1 2 3 4 5 6 7"]),
        ("no 12345678 and no 1234567a", []),
        ("٠ ١٢٣٤٥٦٧", ["١٢٣٤٥٦٧"]),
        ("kd 0099 1x / KD00991X / kd_0099.1X", ["kd 0099 1x", "KD00991X", "kd_0099.1X"]),
        ("GB29NWBK60161331926819", ["GB29NWBK60161331926819"]),
        ("HAUPTSTRASSE 12 10115 BERLIN", ["HAUPTSTRASSE 12 10115 BERLIN"]),
        ("Zwergfalkes Nest, der Zwergfalke", ["Zwergfalke"]),
        ("Projekt Zwergfalke", ["Projekt Zwergfalke"]),
        ("お客様の山田太郎です。山田 太郎様", ["山田太郎", "山田 太郎"]),
        ("오늘 김철수민은 왔다", ["김철수민"]),
        ("คุณสมชาย ใจดีมา", ["สมชาย ใจดี"]),
        ("प्रियंका शर्मा आई", ["प्रियंका शर्मा"]),
        ("от ивана: иван елкин", ["иван елкин"]),
        ("先日、株式会社中村製作所大阪支店へ", ["株式会社中村製作所大阪支店"]),
        ("Jane told Roe. Jane, unlike anybody, Roe", []),
    ],
)
def test_records_are_found_however_they_are_written(all_records: Matcher, text: str, values: list[str]) -> None:
    spans = found(all_records, text)
    assert [s for s in spans if not any(s != t and s in t for t in spans)] == values


_NAMES = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyzäöüßéñçøłżışабвгёйλμπ"), min_size=3, max_size=9)
_WORDS = st.lists(_NAMES, min_size=2, max_size=8).map(" ".join)
_CODES = st.from_regex(r"[A-Z]{0,3}[0-9]{5,9}[A-Z]{0,2}", fullmatch=True)
_SEPARATORS = st.sampled_from([" ", "  ", "-", ", ", ".", "\n", "_", " & ", "\u00a0", "/", "\t", "’"])
_EDGES = st.text(st.sampled_from(' .,;:!?()[]{}"“”«»\n\t-–—/|*#@$%'), min_size=1, max_size=4)
_CASES: tuple[Callable[[str], str], ...] = (str, str.upper, str.title, str.casefold)


@st.composite
def embedded(draw: st.DrawFn) -> tuple[str, str, str]:
    """A record; the same written in another way; a text around that."""
    words = draw(st.booleans())
    record = draw(_WORDS if words else _CODES)
    if words:
        pieces = record.split(" ")
        written = pieces[0] + "".join(draw(_SEPARATORS) + p for p in pieces[1:])
    else:
        cut = draw(st.integers(2, len(record) - 2))
        written = record[:cut] + draw(st.sampled_from(["", " ", "-", ".", " - ", "/"])) + record[cut:]
    written = draw(st.sampled_from(_CASES))(written)
    before, after = (draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=30)) for _ in range(2))
    end = draw(st.sampled_from(["", "'s", "’s"])) if words else ""
    return record, written, before + draw(_EDGES) + written + end + draw(_EDGES) + after


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(embedded(), st.lists(_WORDS | _CODES, max_size=5))
def test_every_record_is_found_in_any_text_around_it(
    tmp_path: Path, one: tuple[str, str, str], others: list[str]
) -> None:
    record, written, text = one
    matcher = matcher_of([record, *others], tmp_path)
    for _ in range(2):  # the second time from what is remembered
        assert any(written in value or value in written for value in found(matcher, text) if len(value) >= len(written))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_spans_lie_in_the_text_and_say_a_record(all_records: Matcher, text: str) -> None:
    known = {form(r) for r in RECORDS}
    for finding, _ in all_records.find(text):
        assert 0 <= finding.start < finding.end <= len(text)
        same = form(text[finding.start : finding.end])
        assert any(not isinstance(k, str) and not isinstance(same, str) and k.key == same.key for k in known)


def test_hot_words_in_great_number_are_found_each(all_records: Matcher) -> None:
    text = " ".join(["Jane Roe, 1234567; Zwergfalke kd00991x Will Young Иван Ёлкин zazolc gesla"] * 50)
    assert len(all_records.find(text)) == 7 * 50


def test_of_records_that_begin_alike_the_longest_counts(tmp_path: Path) -> None:
    matcher = matcher_of(["Anna Lindqvist", "Anna Lindqvist Berg", "10 20 30", "10 20 30 40"], tmp_path)
    assert found(matcher, "Anna Lindqvist Berg; 10203040; Anna Lindqvist") == [
        "Anna Lindqvist Berg",
        "10203040",
        "Anna Lindqvist",
    ]


def test_memory_of_words_is_bounded(all_records: Matcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmguard.detection.match.matcher.REMEMBERED", 100)
    drawn = random.Random(3)
    for _ in range(30):
        words = ["".join(drawn.choices("abcdefgh", k=8)) for _ in range(40)]
        all_records.find(" ".join([*words, "pass123word"]))
    assert len(all_records._dull) + len(all_records._known) <= 100
    assert not any(any(c.isdigit() for c in word) for word in all_records._dull)
    assert found(all_records, "Jane Roe") == ["Jane Roe"]


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("Bo", "shorter"),
        ("A1", "shorter"),
        ("王伟", "shorter"),
        ("1234", "fewer than 5 digits"),
        ("Paper", "common"),
        ("one two three four five six seven eight nine", "longer"),
        ("x" * 65, "longer"),
        ("?!", "without"),
    ],
)
def test_values_that_would_be_found_everywhere_are_refused_with_a_reason(value: str, reason: str) -> None:
    refusal = form(value, COMMON)
    assert isinstance(refusal, str)
    assert reason in refusal
    assert value not in refusal


def test_report_counts_what_was_refused_and_where_it_began(tmp_path: Path) -> None:
    builder = Builder(KEY, COMMON)
    for line, value in enumerate(["Jane Roe", "paper", "", "JANE  ROE", "12", "light"], 2):
        builder.add(line, value)
    report = builder.write(tmp_path / "c.match", HEADER)
    assert report == Report(
        values=6,
        empty=1,
        records=1,
        repeated=1,
        refused=builder.report.refused,
        first={"a single common word": 3, "numbers of fewer than 5 digits": 6},
    )
    assert dict(report.refused) == {"a single common word": 2, "numbers of fewer than 5 digits": 1}


def test_short_values_are_taken_where_that_is_asked_for(built: Built) -> None:
    matcher = Matcher([match.read(built(["Bo", "1234", "paper"], short=True), [KEY])])
    assert found(matcher, "Bo has 12-34 of paper") == ["Bo", "12-34", "paper"]
    with pytest.raises(ConfigError, match="no value"):
        built(["Bo"])


# ------------------------------------------------------------------ the file


def test_nothing_of_a_value_stands_in_the_file(built: Built) -> None:
    content = built().read_bytes().lower()
    for record in RECORDS:
        for word in record.split():
            if len(word) > 3:
                assert word.lower().encode() not in content
                assert word.encode("utf-16-le") not in content


def test_same_values_under_another_key_give_another_file(built: Built) -> None:
    one, other = built().read_bytes(), built(key=OTHER).read_bytes()
    table = slice(400, -32)
    assert len(one) == len(other)
    words = {one[table][i : i + 8] for i in range(0, len(one[table]) - 8, 8)}
    assert not words & {other[table][i : i + 8] for i in range(0, len(other[table]) - 8, 8)}


def test_wrong_key_is_told_by_name_and_opens_nothing(built: Built) -> None:
    with pytest.raises(ConfigError, match=f"built under the key {KEY.id}, which is not here .here: {OTHER.id}"):
        match.read(built(), [OTHER])


def test_any_altered_or_missing_byte_is_found(built: Built) -> None:
    path = built()
    content = path.read_bytes()
    for i in range(0, len(content), 7):
        path.write_bytes(content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :])
        with pytest.raises(ConfigError):
            match.read(path, [KEY])
    for size in (0, 10, 40, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(ConfigError):
            match.read(path, [KEY])


def test_removed_values_are_not_found_any_more(built: Built) -> None:
    path = built()
    assert match.without(match.read(path, [KEY]), path, ["JANE-ROE\n", "1234567", "nobody here"]) == 2
    matcher = Matcher([match.read(path, [KEY])])
    assert found(matcher, "Jane Roe 1234567 Zwergfalke") == ["Zwergfalke"]


# ------------------------------------------------------------------ sources


@pytest.mark.parametrize(
    ("name", "content", "columns", "expected"),
    [
        ("a.csv", 'id,name\n1,Jane Roe\n2,"Doe, John"\n', ["name"], ["Jane Roe", "Doe, John"]),
        ("a.csv", "\ufefffirst;last\nJane;Roe\n", ["first+last", "last"], ["Jane Roe", "Roe"]),
        ("a.tsv", "name\nJane Roe\n", [], ["Jane Roe"]),
        ("a.jsonl", '{"n": "Jane Roe", "x": 1}\n\n{"n": null, "x": 77}\n', ["n", "x"], ["Jane Roe", "1", "", "77"]),
        ("a.jsonl", '"Jane Roe"\n', [], ["Jane Roe"]),
        ("a.txt", "Jane Roe\nJohn, Doe\n", [], ["Jane Roe", "John, Doe"]),
    ],
)
def test_values_come_from_columns_members_or_lines(
    tmp_path: Path, name: str, content: str, columns: list[str], expected: list[str]
) -> None:
    (tmp_path / name).write_text(content)
    assert [value.strip() for _, value in match.values(tmp_path / name, columns)] == expected


@pytest.mark.parametrize(
    ("name", "content", "columns", "message"),
    [
        ("a.csv", b"id,name\n1,Zwergfalke\n2\n", ["name"], r"a\.csv:3: 1 fields, where the first line has 2"),
        ("a.csv", b"id,name\n1,Zwergfalke\n", [], r"has 2 columns: say which with --column \(id, name\)"),
        ("a.csv", b"id,name\n", ["nom"], r"no column 'nom'; it has id, name"),
        ("a.csv", b'id,name\n1,"Zwergfalke\n', ["name"], r"a\.csv:2: unexpected end of data"),
        ("a.txt", b"ok\nZwergfalke \xff\n", [], r"a\.txt:2: this line is not UTF-8"),
        ("a.jsonl", b'{"n": "x"}\n{"n": "Zwergfalke"\n', ["n"], r"a\.jsonl:2: this line is not JSON"),
        ("a.jsonl", b'{"n": ["Zwergfalke"]}\n', ["n"], r"a\.jsonl:1: 'n' is no text or number"),
        ("a.txt", b"x\n", ["n"], r"has no columns"),
        ("none.txt", None, [], r"cannot be read"),
    ],
)
def test_a_source_that_cannot_be_read_is_told_by_line_and_never_by_value(
    tmp_path: Path, name: str, content: bytes | None, columns: list[str], message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message) as e:
        list(match.values(tmp_path / name, columns))
    assert "Zwergfalke" not in str(e.value)


# ------------------------------------------------------------------ in the engine and the guard


def test_engine_finds_records_beside_everything_else_and_under_disguises(built: Built) -> None:
    engine = Engine(catalogue.load(), matcher=Matcher([match.read(built(), [KEY])]))
    text = "ü Jane Roe wrote to jane@example.org, and Jane%20Roe too"
    (findings,) = engine.scan([TextPart(text, "")])
    assert [(f.type, text[f.start : f.end]) for f in findings] == [
        ("CUSTOMER", "Jane Roe"),
        ("EMAIL", "jane@example.org"),
        ("CUSTOMER", "Jane%20Roe"),
    ]
    assert (findings[0].category, findings[0].detector) == ("internal", "internal.match.customers")


def test_guard_with_match_files_redacts_and_restores(tmp_path: Path) -> None:
    folder = Settings(data=tmp_path / "data")
    builder = Builder(match.keys(folder)[0])
    builder.add(1, "Zwergfalke")
    builder.write(tmp_path / "codes.match", replace(HEADER, name="codes", type="PROJECT"))
    with Guard(replace(folder, match=(tmp_path / "codes.match",), names=False)) as guard:
        red = guard.redact("the zwergfalke flies")
        assert red.text.startswith("the [PROJECT_")
        assert guard.restore(red.text) == "the zwergfalke flies"


def test_guard_does_not_start_with_a_match_file_that_does_not_hold(tmp_path: Path, built: Built) -> None:
    path = built()
    for content in (path.read_bytes(), path.read_bytes()[:-5], b"something else"):
        path.write_bytes(content)  # the first is whole, but built under a key that the guard does not have
        with pytest.raises(ConfigError):
            Guard(Settings(data=tmp_path / "data", match=(path,), names=False))


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    folder = Settings(data=tmp_path / "data")
    for name in ("a", "b"):
        builder = Builder(match.keys(folder)[0])
        builder.add(1, "Zwergfalke")
        builder.write(tmp_path / name, HEADER)
    with pytest.raises(ConfigError, match="one name"):
        match.opened(replace(folder, match=(tmp_path / "a", tmp_path / "b")))


def test_file_built_under_a_key_file_is_read_with_it_alone(tmp_path: Path) -> None:
    from llmguard.vault import make_key

    make_key(tmp_path / "match.key")
    with_key = Settings(data=tmp_path / "data", match_key=tmp_path / "match.key", match=(tmp_path / "m",))
    builder = Builder(match.keys(with_key)[0])
    builder.add(1, "Zwergfalke")
    builder.write(tmp_path / "m", HEADER)
    [opened] = match.opened(with_key)
    assert opened.header.records == 1
    with pytest.raises(ConfigError, match="built under the key"):
        match.opened(replace(with_key, match_key=None))
    (tmp_path / "match.key").chmod(0o644)
    with pytest.raises(ConfigError, match="read by others"):
        match.opened(with_key)
