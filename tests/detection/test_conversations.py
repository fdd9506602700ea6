"""A conversation in each language of the names model: who and where leaves as placeholders, and comes back."""

from __future__ import annotations

import re

import pytest

from llmguard import catalogue
from llmguard.detection import Engine, Scanner
from llmguard.detection.names import Names
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
