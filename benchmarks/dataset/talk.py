"""Talk: what people ask and assistants answer, about nothing that is anybody's; in eight languages, and in code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

from benchmarks.egress.bodies import WORDS as _ALL

WORDS = tuple(sorted({w for w in _ALL if len(w) > 3}))
LANGUAGES: Mapping[str, int] = {"en": 13, "de": 2, "fr": 1, "es": 1, "pt": 1, "ru": 1, "zh": 1, "ja": 1}
"""Shares of conversations."""
_POLICY = (
    "You are the assistant of a shop that sells garden tools, bicycles and kitchen goods. Answer in the language of the"
    " customer, in at most six sentences. Never promise dates. Ask for the order only where it is needed, and hand over"
    " to a colleague when somebody is upset. Prices are in euro and include taxes. If you do not know, say so."
)
SYSTEMS = (
    "You are a helpful assistant.",
    "You are a careful writer. Keep sentences short, use plain words, and say what is uncertain.",
    _POLICY,
    _POLICY.replace("shop that sells garden tools, bicycles and kitchen goods", "library with four branches"),
    "You review code. Point out errors first, then style, and always show the changed lines.",
    "Du bist ein freundlicher Assistent. Antworte kurz, ohne Fachwörter, und frage nach, wenn etwas unklar ist.",
    "Vous êtes un assistant pour les voyageurs. Répondez en trois phrases au plus, et proposez une suite.",
    "You translate between languages and explain one difficult word at the end.",
)
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"Searches {what} and gives the best matches, newest first.",
            "parameters": {
                "type": "object",
                "properties": {"query": {"type": "string"}, "limit": {"type": "integer", "minimum": 1, "maximum": 50}},
                "required": ["query"],
            },
        },
    }
    for name, what in (("search_orders", "orders"), ("search_articles", "articles of the help pages"))
]
_ASK = {
    "en": (
        "I would like to understand how {} works and why it differs from {}.",
        "Can you write a short text about {} for our site, and mention {} at the end?",
        "We had a long discussion about {} yesterday; half of the team prefers {}.",
        "Please compare {} with {} and tell me what a small company should choose.",
    ),
    "de": (
        "Ich möchte verstehen, wie {} funktioniert und worin es sich von {} unterscheidet.",
        "Kannst du einen kurzen Text über {} schreiben und am Ende {} erwähnen?",
    ),
    "fr": (
        "J'aimerais comprendre comment {} fonctionne et pourquoi c'est différent de {}.",
        "Pouvez-vous écrire un texte court sur {} et parler de {} à la fin ?",
    ),
    "es": (
        "Quisiera entender cómo funciona {} y en qué se diferencia de {}.",
        "¿Puedes escribir un texto breve sobre {} y mencionar {} al final?",
    ),
    "pt": ("Gostaria de entender como {} funciona e por que é diferente de {}.",),
    "ru": ("Я хотел бы понять, как работает {} и чем это отличается от {}.",),
    "zh": ("我想了解{}是怎么运作的，以及它和{}有什么不同。",),
    "ja": ("{}の仕組みと、{}との違いを教えてください。",),
}
_SAY = {
    "en": (
        "The difference is easiest to see in an example that everybody knows from daily life.",
        "Start with the part that costs the most, and leave the details for later.",
        "Most people notice the second effect first, because it is visible from the outside.",
        "There are three reasons for it: price, habit, and the time that a change takes.",
        "If the weather turns cold, cover the plants and water them in the morning only.",
        "A loop that reads the whole file at once needs more memory than one that goes line by line.",
        "Cut the onions, let them brown slowly, then add stock and a little wine.",
        "The train takes longer than the flight, but the station is in the middle of the town.",
        "- first, write down what you want to know\n- then, ask two people who disagree\n- last, decide",
        "It is worth measuring before changing anything, since guesses are often wrong.",
        "**Note:** this holds for small groups; for large ones the picture is not so clear.",
        "Nobody has to agree at once, but somebody has to write the minutes.",
        "The old version will stay available until the end of the year, without new functions.",
        "Guitars sound warmer with older strings, while pianos need to be tuned twice a year.",
    ),
    "de": (
        "Der Unterschied zeigt sich am besten an einem Beispiel aus dem Alltag.",
        "Zuerst kommt der teuerste Teil, die Einzelheiten folgen später.",
        "Dafür gibt es drei Gründe: den Preis, die Gewohnheit und die Dauer einer Umstellung.",
        "Bei Kälte sollte man die Pflanzen abdecken und nur am Morgen gießen.",
        "Der Zug braucht länger als das Flugzeug, hält aber mitten in der Stadt.",
    ),
    "fr": (
        "La différence se voit surtout dans un exemple de la vie de tous les jours.",
        "Commencez par la partie la plus chère et gardez les détails pour plus tard.",
        "Il y a trois raisons : le prix, l'habitude et la durée du changement.",
        "Le train est plus lent que l'avion, mais la gare est au centre de la ville.",
    ),
    "es": (
        "La diferencia se ve mejor con un ejemplo de la vida diaria.",
        "Empiece por la parte más cara y deje los detalles para después.",
        "Hay tres razones: el precio, la costumbre y el tiempo que lleva un cambio.",
    ),
    "pt": (
        "A diferença fica mais clara com um exemplo do dia a dia.",
        "Comece pela parte mais cara e deixe os detalhes para depois.",
    ),
    "ru": (
        "Разницу легче всего увидеть на примере из повседневной жизни.",
        "Начните с самой дорогой части, а подробности оставьте на потом.",
        "Есть три причины: цена, привычка и время, которое занимает перемена.",
    ),
    "zh": (
        "从日常生活中的例子最容易看出差别。",
        "先处理最贵的部分，细节以后再说。",
        "原因有三个：价格、习惯，以及改变所需要的时间。",
    ),
    "ja": (
        "違いは日常の例で見るのが一番わかりやすいです。",
        "まず費用の大きい部分から始めて、細かい点は後にしましょう。",
    ),
}
_CODE = (
    "def load(path, *, strict=True):",
    "    values = [int(x) for x in path.read_text().split() if x]",
    "    return {key: value for key, value in zip(names, values)}",
    "class Session(Base):",
    "    timeout: float = 30.0  # seconds",
    "    for row in rows:",
    "        total += row.price * row.count",
    "    if not total:",
    '        raise ValueError("nothing to add up")',
    "    return sorted(found, key=lambda item: item.rank)",
    "SELECT name, count(*) FROM articles GROUP BY name ORDER BY 2 DESC;",
    "const rows = await fetch(url).then((answer) => answer.json());",
)


class Talk:
    """Turns from a seed, each with two ``{}`` for a phrase."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def asked(self, language: str) -> Iterator[str]:
        """What a user writes, 60 to 600 characters."""
        while True:
            yield self._random.choice(_ASK[language]) + self._more(language, (0, 0, 1, 1, 2, 4))

    def answered(self, language: str) -> Iterator[str]:
        """What an assistant writes, 200 to 2,000 characters."""
        while True:
            yield self._random.choice(_ASK[language]) + self._more(language, (2, 3, 4, 6, 8, 12, 20))

    def _more(self, language: str, counts: tuple[int, ...]) -> str:
        gap = "" if language in ("zh", "ja") else " "
        said = self._random.choices(_SAY[language], k=self._random.choice(counts))
        return "".join(gap + (s if self._random.random() < 0.9 else s + "\n\n") for s in said)


def code(random: Random) -> str:
    """Some lines of code with a comment of two ``{}``."""
    lines = "\n".join(random.choices(_CODE, k=random.choice((4, 8, 16)))).replace("{", "(").replace("}", ")")
    return f"Try this:\n\n```\n# {{}}\n{lines}\n```\n\nIt is about {{}}."
