"""Runs the installed Presidio and detect-secrets for real, in a process: ``python -m tests.peers SEED COUNT``.

Prints JSON: texts with seeded values of each of their expressions in them, and what their detectors find there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
import sys
from collections.abc import Iterator
from typing import Any

import regex

from llmguard.catalogue import build, drawn, expressions, fill, peers, spans

HOOKS = "https://hooks.slack.com/services"
BLOCK = "-----{} RSA PRIVATE KEY-----"
GENERIC = build.decisions().generic
TRIES = 4000
"""Draws for one value: a check digit lets one in 97 pass, or fewer."""
AROUND = "Please look at {} when you can."
WITH_WORD = ("{w}: {v}", "Her {w} is {v}, as she said.", '{{"{w}": "{v}"}}', "{w} = {v}\n")
IN_CODE = ('token = "{}"', "export KEY={}\n", "the log has {}")


def iban(draw: random.Random) -> str:
    """Check digits let one in 97 through, and most countries have a length and a form of their own. ISO 13616-1."""
    account = "37040044" + "".join(draw.choices("0123456789", k=10))
    return f"DE{98 - int(account + '131400') % 97:02}{account}"


def wallet(draw: random.Random) -> str:
    """Version 0, 20 bytes, four bytes of a double SHA-256, in base 58. Bitcoin developer guide."""
    body = b"\0" + draw.randbytes(20)
    number = int.from_bytes(body + hashlib.sha256(hashlib.sha256(body).digest()).digest()[:4], "big")
    text = ""
    while number:
        number, digit = divmod(number, 58)
        text = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"[digit] + text
    return "1" + text


def address(draw: random.Random) -> str:
    """Drawn ones have domains that are none."""
    return f"k.{''.join(draw.choices('abcdefghxyz', k=5))}@mail-{draw.randrange(99)}.example.org"


MADE = {"EmailRecognizer": address, "IbanRecognizer": iban, "CryptoRecognizer": wallet}
"""Values whose check hardly any drawn text passes."""


class Recognizers:
    """Every pattern recognizer of Presidio."""

    def __init__(self) -> None:
        import tldextract

        made = tldextract.TLDExtract(suffix_list_urls=())  # the bundled list, no network
        tldextract.extract = made
        tldextract.tldextract.TLD_EXTRACTOR = made
        self.all = list(peers.recognizers())
        self._words = [_any_of({w.strip().lower() for w in r.context or ()} - GENERIC) for r in self.all]

    def texts(self, draw: random.Random, count: int) -> Iterator[tuple[str, str]]:
        """Name of the expression and a text with a value of it."""
        for r in self.all:
            words = sorted({w.strip().lower() for w in r.context or ()}) or ["number"]
            for p in r.patterns:
                nodes, _ = expressions.parsed(p.regex, int(r.global_regex_flags))
                for i in range(count):
                    value = self._value(r, p, nodes, draw)
                    if value is None:
                        break
                    name = f"{type(r).__name__}/{p.name}"
                    yield name, AROUND.format(value)
                    word = draw.choice(words)
                    yield name, WITH_WORD[i % len(WITH_WORD)].format(w=word, v=value)

    def _value(self, r: Any, p: Any, nodes: expressions.Nodes, draw: random.Random) -> str | None:
        fits, made = regex.compile(p.regex, int(r.global_regex_flags)), MADE.get(type(r).__name__)
        for _ in range(TRIES):
            text = made(draw) if made else drawn.drawn(nodes, draw)
            m = fits.search(f" {text} ")
            if m and text.isprintable() and r.validate_result(m[0]) is not False and not r.invalidate_result(m[0]):
                return text
        return None

    def found(self, text: str) -> Iterator[tuple[int, int, str, float, bool]]:
        """Start, end, expression, score, whether a word of its context that is not generic stands there."""
        for r, word in zip(self.all, self._words, strict=True):
            found = r.analyze(text, r.supported_entities, None)
            near = bool(found and word and word.search(text))
            for f in found:
                name = f.analysis_explanation.pattern_name if f.analysis_explanation else r.patterns[0].name
                yield f.start, f.end, f"{type(r).__name__}/{name}", f.score, near


def _any_of(words: set[str]) -> Any:
    either = "|".join(regex.escape(w) for w in sorted(words))
    return regex.compile(rf"(?i)(?<!\w)(?:{either})(?!\w)") if words else None


PUBLISHED = {
    "AWSKeyDetector": ("«AKIA{base32:16}»", "«ASIA{base32:16}»"),
    "AzureStorageKeyDetector": ("AccountKey=«{base64:85}w==»",),
    "BasicAuthDetector": ("https://deploy:«{alnum:14}»@git.example.org/x",),
    "GitHubTokenDetector": ("«ghp_{alnum:36}»", "«ghs_{alnum:36}»"),
    "GitLabTokenDetector": ("«glpat-{urlsafe:20}»", "«GR1348941{urlsafe:20}»"),
    "MailchimpDetector": ("«{hex:32}-us12»",),
    "NpmDetector": ("//registry.example.org/:_authToken=«npm_{alnum:36}»",),
    "PrivateKeyDetector": (f"«{BLOCK.format('BEGIN')}\\n{{base64:64}}\\n{BLOCK.format('END')}»",),
    "SlackDetector": (
        "«xoxb-{digits:12}-{digits:12}-{alnum:24}»",
        f"«{HOOKS}/T{{base32:8}}/B{{base32:8}}/{{alnum:24}}»",
    ),
    "SquareOAuthDetector": ("«sq0csp-{urlsafe:43}»",),
    "TelegramBotTokenDetector": ("«{digits:9}5:AA{urlsafe:33}»",),
    "TwilioKeyDetector": ("«SK{hex:32}»",),
}
"""Keys as their vendors give them: drawn ones may be none. Filled, so that no look-alike of a key stands
here; «» marks what has to be found."""


class Plugins:
    """Every plugin of detect-secrets that brings expressions."""

    def __init__(self) -> None:
        from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class

        kinds = get_mapping_from_secret_type_to_class().values()
        self.all = [k() for k in kinds if isinstance(getattr(k, "denylist", None), tuple | list)]

    def texts(self, draw: random.Random, count: int) -> Iterator[tuple[str, str]]:
        for plugin in self.all:
            for number, fits in enumerate(plugin.denylist, 1):
                nodes, _ = expressions.parsed(fits.pattern, fits.flags)
                for i in range(count * 2):
                    value = next((t for t in (drawn.drawn(nodes, draw) for _ in range(TRIES)) if fits.search(t)), None)
                    if value is not None:
                        yield f"{type(plugin).__name__}/{number}", IN_CODE[i % len(IN_CODE)].format(value)
            for template in PUBLISHED.get(type(plugin).__name__, ()):
                for form in IN_CODE:
                    yield f"{type(plugin).__name__}/published", form.format(fill(template, draw.randrange(1 << 30)))

    def found(self, text: str) -> Iterator[tuple[int, int, str, float, bool]]:
        for plugin in self.all:
            for secret in plugin.analyze_line(filename="x", line=text, line_number=1):
                at = text.find(secret.secret_value)
                if at >= 0:
                    yield at, at + len(secret.secret_value), type(plugin).__name__, 1.0, True


def main(seed: int, count: int) -> None:
    logging.disable()
    sides: tuple[Any, ...] = (Recognizers(), Plugins())
    texts = [(name, text) for side in sides for name, text in side.texts(random.Random(seed), count)]
    rows = []
    for name, marked in texts:
        text, values = spans(marked)
        rows.append({"name": name, "text": text, "found": [f for s in sides for f in s.found(text)], "values": values})
    json.dump(rows, sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
