"""Names and addresses of people, by the real model."""

from __future__ import annotations

from itertools import pairwise

import pytest

from llmguard.detection.names import Names
from llmguard.detection.names.confidence import of_name
from llmguard.detection.names.lexicon import Sorted
from llmguard.detection.names.recognizer import OVERLAP, WINDOW

NAMES = Names()


def found(text: str, names: Names = NAMES) -> list[tuple[str, str]]:
    reading = names.plan(text)
    for window in reading.windows:
        names.read(reading, window)
    return [(f.type, text[f.start : f.end]) for f in names.conclude(reading)]


PEOPLE = {
    "English": ("Please send the contract to Alice Walker before Friday.", ["Alice Walker"]),
    "two people": ("Bob Miller owes Alice Walker forty dollars.", ["Bob Miller", "Alice Walker"]),
    "an initial": ("The report was written by Susan K. Olsen for the board.", ["Susan K. Olsen"]),
    "a possessive": ("Is that Jonathan's laptop or the one of the school?", ["Jonathan"]),
    "German": (
        "Sehr geehrter Herr Schneider, Ihre Kollegin Petra Hoffmann hat angerufen.",
        ["Schneider", "Petra Hoffmann"],
    ),
    "French": ("Bonjour, je suis Camille Lefèvre et j'ai perdu mon contrat.", ["Camille Lefèvre"]),
    "Spanish": ("El paciente Javier Morales llegó ayer con su hermana Lucía.", ["Javier Morales", "Lucía"]),
    "a particle": ("Ludwig van der Meer has called twice about the boat.", ["Ludwig van der Meer"]),
    "a degree": ("Signed by Priya Raman, PhD on Monday.", ["Priya Raman, PhD"]),
    "an initial before a surname": ("The referral came from K. Quigley last week.", ["K. Quigley"]),
    "two people and an and": ("Escreva uma carta em nome de Thiago e Beatriz, por favor.", ["Thiago", "Beatriz"]),
    "a small title": ("El paciente fue atendido por el doctor Quiroga ayer.", ["Quiroga"]),
    "lower case after what tells of a name": ("my name is rajesh and i lost my card", ["rajesh"]),
    "whom a reply is to": ("@quillfeather thanks, that solved it for me!", ["quillfeather"]),
    "a maintainer between code": (
        "import os\nimport sys\n\nx = os.path.join(a)\ny = f(x)\n# Author: Daniel Kahn Gillmor <d@example.org>\n",
        ["Daniel Kahn Gillmor"],
    ),
    "lower case, whole": ("ik heet daan de vries en mijn pakket is kwijt", ["daan de vries"]),
    "two particles": ("El inquilino, José Luis Rodríguez de la Fuente, no paga.", ["José Luis Rodríguez de la Fuente"]),
    "an elided particle": ("Monsieur d'Ormesson n'est pas venu ce matin.", ["d'Ormesson"]),
    "kin": ("Llámame, soy Paco, el hermano de Remedios.", ["Paco", "Remedios"]),
    "a greeting that is no part": ("Beste Maaike, bedankt voor alles.", ["Maaike"]),
    "a family name that a shop has too": ("Mr. Kohl said that he will call again.", ["Kohl"]),
    "a given name that a shop has too": ("That is Wendy's laptop over there.", ["Wendy"]),
    "a transcript": ("Sarah: who are you?\nOmar: the new neighbour.", ["Sarah", "Omar"]),
}


@pytest.mark.parametrize(("text", "people"), PEOPLE.values(), ids=PEOPLE)
def test_people_are_found_whole(text: str, people: list[str]) -> None:
    assert found(text) == [("PERSON", name) for name in people]


ADDRESSES = {
    "English": ("Ship it to 48 Cedar Lane, Springfield, IL 62704 please.", "48 Cedar Lane, Springfield, IL 62704"),
    "a unit": ("She moved to 7315 Maple Avenue Apt. 12, Portland last week.", "7315 Maple Avenue Apt. 12, Portland"),
    "German": ("Die Lieferung geht an die Lindenstraße 27, 10969 Berlin.", "Lindenstraße 27, 10969 Berlin"),
    "French": ("J'habite au 14 rue des Lilas, 75011 Paris depuis mars.", "14 rue des Lilas, 75011 Paris"),
    "lines": (
        "Send it to\n31 Orchard Street\nApt. 7\nPortland, OR 97205\nbefore noon.",
        "31 Orchard Street\nApt. 7\nPortland, OR 97205",
    ),
    "Colombian": ("Vivo en la Carrera 15 # 93-75 desde enero.", "Carrera 15 # 93-75"),
    "Italian, with its province": (
        "Spedire in Via Mazzini 12, 37121 Verona (VR), grazie.",
        "Via Mazzini 12, 37121 Verona (VR)",
    ),
    "a unit before the number": (
        "Flat 3, 18 Harbour Road, Leeds LS1 4AP is empty.",
        "Flat 3, 18 Harbour Road, Leeds LS1 4AP",
    ),
    "a corner": (
        "Ask him to wait at the corner of 5 Linden Street and Harbor Road.",
        "the corner of 5 Linden Street and Harbor Road",
    ),
    "overseas mail": ("Write to Unit 4012 Box 0219, APO AE 09012 instead.", "Unit 4012 Box 0219, APO AE 09012"),
    "Spanish, a floor": (
        "Mándelo a la Avda. de la Constitución, 7, bajo izquierda, 18001 Granada.",
        "Avda. de la Constitución, 7, bajo izquierda, 18001 Granada",
    ),
    "Portuguese, a floor": (
        "Fica na Praça da República, 12, 3.º Dto., 4050-498 Porto.",
        "Praça da República, 12, 3.º Dto., 4050-498 Porto",
    ),
    "Brazilian, a district": (
        "Visite a Rua Coronel Dulcídio, 517 - Batel, Curitiba - PR, 80420-170.",
        "Rua Coronel Dulcídio, 517 - Batel, Curitiba - PR, 80420-170",
    ),
    "a number that is called one": ("Mándelo a C/ Mayor nº 12 en cuanto pueda.", "C/ Mayor nº 12"),
    "Dutch, a street of two words": (
        "Het huis Prins Hendrikkade 33, 1012 TM Amsterdam staat leeg.",
        "Prins Hendrikkade 33, 1012 TM Amsterdam",
    ),
    "a post box": ("Write to P.O. Box 4471 for the forms.", "P.O. Box 4471"),
}


@pytest.mark.parametrize(("text", "address"), ADDRESSES.values(), ids=ADDRESSES)
def test_an_address_is_one_finding(text: str, address: str) -> None:
    assert found(text) == [("ADDRESS", address)]


CLEAN = {
    "code": "class BrokenPipeError(ConnectionError):\n    def __init__(self, Alice):\n        self.alice = Alice\n",
    "a call": "result = Jackson.readValue(json, Carter.class);\n",
    "a log": "2024-05-01 10:11:12 INFO com.acme.Harrison started in 12 ms",
    "a town": "The conference takes place in Munich next week.",
    "an instruction": "Write a short story about a dragon who is afraid of heights.",
    "years": "After 10 years the committee met again in Room 12.",
    "codes of digits and capitals": "Patient 1XG4-TE5-MK73, licence AA 12 34 56 H, plate 34 ABC 1234.",
    "what ends like a German street": "Engineering 101 starts in Spring 2024; Monitoring 24 follows.",
    "an annotation": "The field needs @Autowired and the method @Override in this class.",
    "a product behind an article": "It was tested with the Zyloblend and such as Quorvex before.",
    "a land": "The Dominican Republic and the United Kingdom signed it.",
    "a literal": "values are 'bert', 'albert' and 'roberta' for now",
    "a type in a table": "| lastName | varchar |\n| firstName | varchar |\n",
    "a German noun": "Ich verstehe nur Bahnhof, und der Zahnarzt hat keinen Termin.",
    "a shop": "The interview was about Kohl's.\n",
    "a paper beside another": "It was reported by the Guardian or Forbes that day.",
    "software that nobody has heard of": "Quorvex is a Python library with an API for parsing JSON files.",
    "a product with its kind": "Zeltrax Steel Mixer with two bowls",
    "part of a compound": "install the abigail-tools and valgrind packages",
    "no words": " \n\t\n---\n",
    "nothing": "",
}


@pytest.mark.parametrize("text", CLEAN.values(), ids=CLEAN)
def test_what_code_and_common_words_explain_stays(text: str) -> None:
    assert found(text) == []


def test_a_later_mention_of_a_name_is_found_too() -> None:
    text = "Priya Raghunathan wrote to us.\n" + "The weather was fine and nobody came.\n" * 30 + "raise it with Priya"
    assert found(text)[-1] == ("PERSON", "Priya")


def test_thresholds_leave_what_is_less_sure() -> None:
    text = "Please send the contract to Alice Walker at 48 Cedar Lane, Springfield, IL 62704."
    assert [t for t, _ in found(text)] == ["PERSON", "ADDRESS"]
    assert [t for t, _ in found(text, Names({"PERSON": 1.0}))] == ["ADDRESS"]
    assert [t for t, _ in found(text, Names({"PERSON": 0.5, "ADDRESS": 1.0}))] == ["PERSON"]


def test_a_name_that_the_lexicon_knows_is_surer_than_an_unknown_word() -> None:
    assert of_name(0.6, known=True, words=1) > of_name(0.6, known=False, words=1)
    assert of_name(0.9, known=False, words=1) > of_name(0.6, known=False, words=1)


def test_common_words_need_no_model() -> None:
    names = Names()
    assert found("please write a function that sorts a list of numbers and returns the largest one", names) == []
    assert names.reads == 0


def test_a_name_across_the_edge_of_a_window_is_found_whole() -> None:
    name = "Katarzyna Wojciechowska"
    for lead in range(WINDOW - OVERLAP - 40, WINDOW + 10, 29):
        text = ("The agreement was discussed at length. " * 20)[:lead] + f" {name} signed it. " + "It was late. " * 30
        assert ("PERSON", name) in found(text)


def test_the_work_grows_with_the_text_whatever_stands_in_it() -> None:
    for piece in ("Aa ", "A. ", "1 Aa ", "Aa-", "Aa\n", "@", "''", "Box 1, ", "a" * 1000, "é", "\n\n", "한"):
        names = Names()
        text = (piece * 4_000)[:4_000]
        found(text, names)
        assert names.reads <= 2 * len(text) / (WINDOW - 2 * OVERLAP) + 2


def test_findings_hold_no_text_and_do_not_overlap() -> None:
    text = "Dr. Alice Walker, 48 Cedar Lane, Springfield, IL 62704, and her brother Bob Walker.\n" * 8
    reading = NAMES.plan(text)
    for window in reading.windows:
        NAMES.read(reading, window)
    findings = NAMES.conclude(reading)
    assert all(a.end <= b.start for a, b in pairwise(findings))
    assert "Walker" not in repr(findings) + repr(reading)


def test_the_nouns_of_a_whole_language_are_looked_up_in_one_sorted_text() -> None:
    nouns = Sorted("\t".join(sorted(("apfel", "bahnhof", "zug", "öl"))))
    assert [w for w in ("aal", "apfel", "bahn", "bahnhof", "zug", "zugx", "öl", "") if w in nouns] == [
        "apfel",
        "bahnhof",
        "zug",
        "öl",
    ]
    assert "apfel" not in Sorted("")
