"""Runs the installed Presidio and detect-secrets for real, in a process of its own: ``python -m tests.peers SEED COUNT``.

Prints JSON: texts with seeded values of each of their expressions in them, and what each of their detectors finds there.
"""

from __future__ import annotations

import json
import logging
import random
import sys
from collections.abc import Iterator
from typing import Any

import regex

from llmguard.catalogue import convert, peers

TRIES = 4000
"""Draws for one value: a check digit lets one in 97 pass, or fewer."""
AROUND = "Please look at {} when you can."
WITH_WORD = ("{w}: {v}", "Her {w} is {v}, as she said.", '{{"{w}": "{v}"}}', "{w} = {v}\n")
IN_CODE = ('token = "{}"', "export KEY={}\n", "found {} in the log")


class Recognizers:
    """Every pattern recognizer of Presidio."""

    def __init__(self) -> None:
        import tldextract

        made = tldextract.TLDExtract(suffix_list_urls=())  # the bundled list, no network
        tldextract.extract = made
        tldextract.tldextract.TLD_EXTRACTOR = made
        self.all = list(peers.recognizers())

    def texts(self, draw: random.Random, count: int) -> Iterator[tuple[str, str]]:
        """Name of the expression and a text with a value of it."""
        for r in self.all:
            words = r.context or ["number"]
            for p in r.patterns:
                nodes, _ = convert.parsed(p.regex, int(r.global_regex_flags))
                for i in range(count):
                    value = self._value(r, p, nodes, draw)
                    if value is None:
                        break
                    name = f"{type(r).__name__}/{p.name}"
                    yield name, AROUND.format(value)
                    word = words[draw.randrange(len(words))].strip()
                    yield name, WITH_WORD[i % len(WITH_WORD)].format(w=word, v=value)

    def _value(self, r: Any, p: Any, nodes: convert.Nodes, draw: random.Random) -> str | None:
        fits = regex.compile(p.regex, int(r.global_regex_flags))
        for _ in range(TRIES):
            text = convert.drawn(nodes, draw)
            m = fits.search(f" {text} ")
            if m and text.isprintable() and r.validate_result(m[0]) is not False and not r.invalidate_result(m[0]):
                return text
        return None

    def found(self, text: str) -> Iterator[tuple[int, int, str, float, bool]]:
        """Start, end, expression, score, whether a context word of the recognizer is in the text."""
        low = text.lower()
        for r in self.all:
            for f in r.analyze(text, r.supported_entities, None):
                name = f.analysis_explanation.pattern_name if f.analysis_explanation else ""
                near = any(w.lower().strip() in low for w in r.context or ())
                yield f.start, f.end, f"{type(r).__name__}/{name}", f.score, near


class Plugins:
    """Every plugin of detect-secrets that brings expressions."""

    def __init__(self) -> None:
        from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class

        kinds = get_mapping_from_secret_type_to_class().values()
        self.all = [k() for k in kinds if isinstance(getattr(k, "denylist", None), tuple | list)]

    def texts(self, draw: random.Random, count: int) -> Iterator[tuple[str, str]]:
        for plugin in self.all:
            for number, fits in enumerate(plugin.denylist, 1):
                nodes, _ = convert.parsed(fits.pattern, fits.flags)
                for i in range(count * 2):
                    value = next((t for t in (convert.drawn(nodes, draw) for _ in range(TRIES)) if fits.search(t)), None)
                    if value is not None:
                        yield f"{type(plugin).__name__}/{number}", IN_CODE[i % len(IN_CODE)].format(value)

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
    rows = [{"name": n, "text": t, "found": [f for side in sides for f in side.found(t)]} for n, t in texts]
    json.dump(rows, sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
