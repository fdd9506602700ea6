"""Texts with names and addresses whose places are known: templates of seven languages, filled by Faker from a seed.

Every other template of a language is held back: rules and thresholds were set without looking at what they miss there.
``[name]``, ``[given]``, ``[surname]``, ``[initial]``, ``[small]`` (a name in lower case), ``[street]``, ``[address]``
(one line) and ``[block]`` (several lines) are demanded; ``{town}``, ``{company}``, ``{number}`` and ``{word}`` are not
personal data and have to stay.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

LOCALES = {
    "en": ("en_US", "en_GB", "en_CA", "en_AU", "en_IN", "en_IE", "en_NZ"),
    "de": ("de_DE", "de_AT", "de_CH"),
    "fr": ("fr_FR", "fr_CH", "fr_CA", "fr_BE"),
    "es": ("es_ES", "es_MX", "es_CL", "es_CO", "es_AR"),
    "it": ("it_IT",),
    "pt": ("pt_BR", "pt_PT"),
    "nl": ("nl_NL", "nl_BE"),
}
TEMPLATES = {
    "en": (
        "Could you ask [name] to send me the slides before the call?",
        "Minutes: [given] opened the meeting, [name] presented the budget and [surname] objected.",
        "Ship the replacement to [name], [address]. The carrier wants a signature.",
        "From: [name]\nTo: [name]\nSubject: lease\n\nHi [given],\nthe new tenant lives at [street]. Please note.\n",
        "hey its [small], can u check why my order to [address] never came",
        "fix: wrong total on invoices (reported by [name])\n\nReviewed-by: [name]\n",
        "Dr. [surname] will see Mrs. [surname] on Tuesday; the referral came from [initial].",
        "[given]: did you get the keys?\n[given]: no, [given] still has them\n",
        "Patient [name] was moved from ward {number} to ward {number} on request of her son [given].",
        "# TODO([given]): ask [name] about the edge cases in the {word} parser\n",
        "Name: [name]\nAddress:\n[block]\nPhone: on request\n",
        "I am [name] and I would like to dispute a charge made at {company} in {town}.",
        "The landlord, [initial], wrote that the flat at [street] is free from {number} March.",
        "2024-03-0{number} support note: customer [name] called again, lives at [address], wants a refund.",
        "Please write a short speech for the retirement of my colleague [name], who joined {company} with [given].",
        "Yours sincerely,\n[name]\n[block]\n",
    ),
    "de": (
        "Sehr geehrte Frau [surname], Ihre Bestellung geht an [address].",
        "Kannst du [name] fragen, ob der Termin am Montag noch steht?",
        "Mein Name ist [name], ich wohne in der [street] und suche eine neue Wohnung in {town}.",
        "Protokoll: [name] eröffnet die Sitzung, Herr [surname] berichtet über das Projekt.",
        "Absender:\n[name]\n[block]\n",
        "Der Patient [name] wurde gestern von Dr. [surname] untersucht.",
        "Hallo [given], ich habe [given] gestern in {town} getroffen. Viele Grüße, [given]",
        "Rechnung an {company}, z. Hd. [name], [address].",
    ),
    "fr": (
        "Bonjour, je m'appelle [name] et j'habite [address].",
        "Peux-tu demander à [name] de rappeler le client demain matin ?",
        "Madame [surname] a signé le contrat ; [name] en a reçu une copie.",
        "Livraison :\n[name]\n[block]\n",
        "Le dossier de [name] est complet, écrit le docteur [surname].",
        "Salut [given], tu viens à {town} avec [given] ce week-end ?",
        "Rédige une lettre de motivation pour [name], candidate chez {company}.",
        "La facture doit être envoyée à [name], [address].",
    ),
    "es": (
        "Hola, soy [name] y vivo en [address].",
        "¿Puedes pedirle a [name] que firme el contrato antes del viernes?",
        "La señora [surname] llamó ayer y habló con [name] sobre la factura.",
        "Enviar a:\n[name]\n[block]\n",
        "El paciente [name] fue atendido por el doctor [surname].",
        "Hola [given], ¿vienes a {town} con [given] el sábado?",
        "Escribe un correo a [name] de {company} sobre el proyecto.",
        "El paquete de [name] llegó a [street] sin abrir.",
    ),
    "it": (
        "Buongiorno, mi chiamo [name] e abito in [address].",
        "Puoi chiedere a [name] di mandarmi la presentazione?",
        "La signora [surname] ha parlato con [name] del contratto.",
        "Spedire a:\n[name]\n[block]\n",
        "Il paziente [name] è stato visitato dal dottor [surname].",
        "Ciao [given], vieni a {town} con [given] sabato?",
        "Scrivi una mail a [name] di {company} sul progetto.",
        "Il pacco di [name] è arrivato in [street] ieri.",
    ),
    "pt": (
        "Olá, meu nome é [name] e moro em [address].",
        "Você pode pedir a [name] que assine o contrato até sexta?",
        "A senhora [surname] falou com [name] sobre a fatura.",
        "Enviar para:\n[name]\n[block]\n",
        "O paciente [name] foi atendido pelo doutor [surname].",
        "Oi [given], você vem a {town} com [given] no sábado?",
        "Escreva um e-mail para [name] da {company} sobre o projeto.",
        "A encomenda de [name] chegou em [street] ontem.",
    ),
    "nl": (
        "Hallo, ik ben [name] en ik woon op [address].",
        "Kun je [name] vragen om het contract voor vrijdag te tekenen?",
        "Mevrouw [surname] heeft gisteren met [name] over de factuur gesproken.",
        "Bezorgen bij:\n[name]\n[block]\n",
        "De patiënt [name] is door dokter [surname] onderzocht.",
        "Hoi [given], kom je zaterdag met [given] naar {town}?",
        "Schrijf een mail aan [name] van {company} over het project.",
        "Het pakket van [name] is gisteren op [street] bezorgd.",
    ),
}
_SLOT = re.compile(r"\[(\w+)\]|\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Text:
    """A filled template, the half-open spans that are personal data, and where it comes from."""

    text: str
    spans: tuple[tuple[int, int, str], ...]
    language: str
    template: int

    @property
    def held(self) -> bool:
        """Whether the template was held back."""
        return self.template % 2 == 1


def texts(each: int, seed: int) -> Iterator[Text]:
    """``each`` fillings of every template. The same numbers give the same texts, with the same version of Faker."""
    from faker import Faker

    for language, templates in TEMPLATES.items():
        makers = [Faker(locale) for locale in LOCALES[language]]
        for number, template in enumerate(templates):
            for turn in range(each):
                chance = random.Random(f"{seed} {language} {number} {turn}")
                maker = chance.choice(makers)
                maker.seed_instance(chance.randrange(2**32))
                yield _filled(template, language, number, maker, chance)


def _filled(template: str, language: str, number: int, maker: Any, chance: random.Random) -> Text:
    pieces: list[str] = []
    spans: list[tuple[int, int, str]] = []
    length = end = 0
    for slot in _SLOT.finditer(template):
        pieces.append(template[end : slot.start()])
        length += len(pieces[-1])
        value = _VALUES[slot[1] or slot[2]](maker, chance)
        if slot[1]:
            spans.append((length, length + len(value), "ADDRESS" if slot[1] in _ADDRESSES else "PERSON"))
        pieces.append(value)
        length += len(value)
        end = slot.end()
    pieces.append(template[end:])
    return Text("".join(pieces), tuple(spans), language, number)


def _name(maker: Any, _: random.Random) -> str:
    return f"{maker.first_name()} {maker.last_name()}"


def _block(maker: Any, _: random.Random) -> str:
    return "\n".join(line.strip() for line in maker.address().splitlines())


_VALUES: dict[str, Callable[[Any, random.Random], str]] = {
    "name": _name,
    "given": lambda maker, _: str(maker.first_name()),
    "surname": lambda maker, _: str(maker.last_name()),
    "initial": lambda maker, _: f"{maker.first_name()[0]}. {maker.last_name()}",
    "small": lambda maker, chance: _name(maker, chance).lower(),
    "street": lambda maker, _: str(maker.street_address()).replace("\n", ", ").strip(),
    "address": lambda maker, chance: _block(maker, chance).replace("\n", ", "),
    "block": _block,
    "town": lambda maker, _: str(maker.city()),
    "company": lambda _, chance: chance.choice(
        ("Nordwind Logistics", "Bluebird Software", "Acme", "Initech", "Contoso")
    ),
    "number": lambda _, chance: str(chance.randrange(2, 9)),
    "word": lambda _, chance: chance.choice(("date", "header", "query", "token", "layout")),
}
_ADDRESSES = frozenset(("street", "address", "block"))
