"""A conversation in each language of the names model: who and where leaves as placeholders, and comes back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmguard import catalogue
from llmguard.config import Settings
from llmguard.detection import Engine, Scanner
from llmguard.detection.names import Names
from llmguard.guard import Guard
from llmguard.model import TextPart
from llmguard.redaction import Restorer, redact
from llmguard.vault import Keyring, Vault

VAULT = Vault(Keyring.generate())
SCANNER = Scanner(Engine(catalogue.load()), Names())

CONVERSATIONS = {
    "English": (
        "Hi, I'm Margaret Holloway from the finance team. My manager, Dr. Owen Pritchard, wants a letter sent.",
        "The tenant is Ms. Nkechi Adebayo, Flat 4, 27 Wharf Road, Bristol BS1 4RN. She owes two months.",
        "Please mention that Margaret tried to call on Tuesday and that Pritchard signed the last notice.",
    ),
    "German": (
        "Guten Tag, mein Name ist Annegret Söhnlein. Ich möchte meinen Vertrag kündigen.",
        "Meine neue Anschrift: Am Mühlbach 17b, 83022 Rosenheim. Der Bahnhof ist gleich um die Ecke.",
        "Frau Söhnlein und Herr Uwe Kretschmann kommen am Freitag nach München.",
    ),
    "French": (
        "Bonjour, je suis Élodie Marchand, j'habite au 8 bis rue du Faubourg Saint-Martin, 75010 Paris.",
        "Mon voisin, Monsieur Jean-Baptiste Colin, a reçu mon colis par erreur.",
        "Pouvez-vous écrire à Élodie et à Jean-Baptiste pour convenir d'un rendez-vous à Lyon ?",
    ),
    "Spanish": (
        "Hola, me llamo Rocío Benítez y vivo en la Calle Alcalá 112, 3º B, 28009 Madrid.",
        "Mi hermano Iñaki Etxeberria trabaja en Bilbao con la doctora Soledad Quiroga.",
        "¿Puedes redactar un correo para Rocío e Iñaki sobre la herencia de nuestra abuela?",
    ),
    "Italian": (
        "Salve, sono Fiorella Bevilacqua e abito in Via Garibaldi 24, 20121 Milano.",
        "Il mio avvocato, Tommaso Ricciardi, mi ha consigliato di scrivere al Comune di Torino.",
        "Puoi preparare una lettera per Tommaso? Il dottor Ricciardi riceve il lunedì.",
    ),
    "Portuguese": (
        "Olá, meu nome é Thiago Nascimento e moro na Rua das Laranjeiras, 210, Rio de Janeiro, 22240-003.",
        "A senhora Beatriz Cavalcanti é a minha vizinha e também quer reclamar.",
        "Escreva uma carta em nome de Thiago e Beatriz para a empresa de água.",
    ),
    "Dutch": (
        "Hallo, ik ben Marloes van den Heuvel en ik woon op de Prinsengracht 263, 1016 GV Amsterdam.",
        "Mijn collega Sjoerd Dijkstra heeft de factuur al betaald.",
        "Kun je een bericht voor Sjoerd en Marloes schrijven over de vergadering in Utrecht?",
    ),
}
PRIVATE = re.compile(
    r"Margaret|Holloway|Pritchard|Nkechi|Wharf|BS1|Söhnlein|Mühlbach|83022|Kretschmann|Élodie|Marchand|Faubourg|75010|"
    r"Colin|Rocío|Alcalá|28009|Iñaki|Quiroga|Bevilacqua|Garibaldi|20121|Tommaso|Ricciardi|Thiago|Laranjeiras|22240|"
    r"Beatriz|Cavalcanti|Marloes|Heuvel|Prinsengracht|1016|Sjoerd|Dijkstra"
)
PUBLIC = re.compile(r"Tuesday|Bahnhof|München|Lyon|Bilbao|Torino|Utrecht|Freitag|Comune")


@pytest.mark.parametrize("turns", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_people_and_addresses_of_a_conversation_leave_as_placeholders_and_come_back(turns: tuple[str, ...]) -> None:
    parts = [TextPart(text, f"/messages/{i}/content") for i, text in enumerate(turns)]
    red = redact(VAULT, "default", parts, SCANNER.scan(parts))
    sent = [red.texts.get(i, part.text) for i, part in enumerate(parts)]
    assert not PRIVATE.search(" ".join(sent))
    assert PUBLIC.findall(" ".join(sent)) == PUBLIC.findall(" ".join(turns))
    assert [Restorer(red.entries).text(text) for text in sent] == list(turns)


def test_a_first_name_alone_shares_the_tag_of_its_person() -> None:
    parts = [TextPart("Sjoerd Dijkstra heeft de factuur betaald.", "/0"), TextPart("Dank aan Sjoerd!", "/1")]
    red = redact(VAULT, "default", parts, SCANNER.scan(parts))
    tags = [re.findall(r"\[PERSON_(\w+)\]", red.texts[i]) for i in (0, 1)]
    assert [len(t) for t in tags] == [1, 1]
    assert tags[1][0].startswith(tags[0][0])
    assert tags[1][0] != tags[0][0]


# --------------------------------------------------------------------------- through the guard; [ ] marks who and where

TALKS = {
    "English": (
        "hi, my name is [tamika] and my order never arrived at [9 Rose Crescent, Cambridge CB4 2QR].",
        "Please tell Mr. [Featherstonehaugh] and his sister [Clementine] that the parcel waits in Leeds.",
    ),
    "German": (
        "hallo, ich heiße [jonas brandt], Paket bitte an [Goethestraße 12a, 3. OG links, 60313 Frankfurt am Main].",
        "Die Rechnung ging an Frau Dr. [Özdemir-Schulz], der Vertrag an Herrn [Grabowski] in Kassel.",
    ),
    "French": (
        "salut, je m'appelle [julien moreau], j'habite [12 rue de la Paix, 75002 Paris].",
        "Monsieur [d'Ormesson] a reçu le colis de [Thibault] à Strasbourg.",
    ),
    "Spanish": (
        "hola, me llamo [lucía ramírez ortega], vivo en [Calle de Alcalá, 45, 3º B, 28014 Madrid].",
        "El inquilino, [José Luis Rodríguez de la Fuente], y su vecina [Begoña] viajan a Valencia.",
    ),
    "Italian": (
        "ciao, mi chiamo [giulia rossi] e abito in [Via Roma 10, 20121 Milano (MI)].",
        "L'avvocato [Dell'Acqua] scrive a [Achille Borromeo d'Adda] a Palermo.",
    ),
    "Portuguese": (
        "oi, meu nome é [joão pedro da silva], moro na [Av. Paulista, 1578 - Bela Vista, São Paulo - SP, 01310-200].",
        "A dona [Zuleide] mudou-se para a [Rua do Carmo 45, 2.º Esq., 1200-093 Lisboa].",
    ),
    "Dutch": (
        "hoi, ik heet [daan de vries] en ik woon op [Kerkstraat 12-II, 1017 GM Amsterdam].",
        "Mijn buurman [Pieter-Jan van 't Hof] verhuist naar de [Prins Hendrikkade 33, 1012 TM Amsterdam].",
    ),
}


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guard]:
    folder: Path = tmp_path_factory.mktemp("guard")
    with Guard(Settings(data=folder / "data", names=True)) as opened:
        yield opened


@pytest.mark.parametrize("turns", TALKS.values(), ids=TALKS)
def test_the_guard_takes_who_and_where_out_whole_and_puts_them_back(guard: Guard, turns: tuple[str, ...]) -> None:
    for marked in turns:
        said = re.sub(r"[\[\]]", "", marked)
        red = guard.redact(said)
        assert [said[f.start : f.end] for f in red.findings] == re.findall(r"\[(.*?)\]", marked)
        assert re.sub(r"\[(?:PERSON|ADDRESS)_\w+\]", "[]", red.text) == re.sub(r"\[.*?\]", "[]", marked)
        assert guard.restore(red.text) == said
