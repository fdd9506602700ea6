"""Keys of vendors as a developer meets them: by published format, by a prefix of their own, by the name beside them."""

from __future__ import annotations

import pytest

from llmguard import catalogue
from llmguard.catalogue import fill
from llmguard.detection.engine import Engine
from llmguard.model import TextPart


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(catalogue.load())


def _covered(engine: Engine, template: str) -> bool:
    """Whether the value between «» is covered wholly by secrets."""
    before, value, after = (fill(piece, seed=3) for piece in template.replace("»", "«").split("«"))
    (findings,) = engine.scan([TextPart(before + value + after, "")])
    covered = {i for f in findings if f.category == "secret" for i in range(f.start, f.end)}
    return covered.issuperset(range(len(before), len(before) + len(value)))


def _flagged(engine: Engine, text: str) -> list[str]:
    (findings,) = engine.scan([TextPart(fill(text, seed=3), "")])
    return [f.detector for f in findings if f.category == "secret"]


@pytest.mark.parametrize(
    "text",
    [
        "use «zbx_pat_{alnum:30}4a7b» for the deploy",
        "https://api.example.org/v1?k=«quux-sk-{alnum:30}4a7b»&page=2",
        "f('«frob_{alnum:36}4a7b»', 3)",
        '"value": "«wibble_secret_{hex:40}»"',
    ],
)
def test_a_key_with_a_prefix_that_nobody_listed_is_found(engine: Engine, text: str) -> None:
    assert _covered(engine, text)


@pytest.mark.parametrize(
    "text",
    [
        'algolia.init("«{alnum:28}4a7b»")',
        "Deepgram: «{hex:40}»",
        'new Mixpanel("«{hex:32}»")',
        "<braintree>«{alnum:28}4a7b»</braintree>",
        'PAGERDUTY = "«{alnum:28}4a7b»"',
        "run --fastly «{alnum:28}4a7b» --yes",
    ],
)
def test_a_key_without_prefix_is_found_beside_its_issuer(engine: Engine, text: str) -> None:
    assert _covered(engine, text)


@pytest.mark.parametrize(
    "text",
    [
        "chatcmpl-{alnum:29} call_{alnum:24} msg_{hex:48} toolu_{alnum:24} file-{alnum:22}",
        "git checkout {hex:40} # sentry, datadog and algolia",
        '"node_modules/@sentry/core": {"integrity": "sha512-{alnum:86}=="}',
        "index-{alnum:20}.js styles_container__3xY2z css-1q2w3e4r polyfills-{hex:20}.js",
        "claude-3-5-sonnet-20241022 gpt-4o-mini-2024-07-18 Qwen2.5-72B-Instruct-GPTQ-Int4",
        "test_that_the_live_token_is_rotated_when_it_expires_after_30_days",
        "twilio request 8d7c1a50-0a7c-4d1e-9b1a-2f3e4d5c6b7a took 30 ms",
        "job_8d7c1a50-0a7c-4d1e-9b1a-2f3e4d5c6b7a sha256-{hex:64} etag_{hex:32}",
        "sk_live_xxxxxxxxxxxxxxxxxxxxxxxx ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx acme_key_your_key_goes_here",
    ],
)
def test_ids_hashes_names_and_placeholders_stay_quiet(engine: Engine, text: str) -> None:
    assert _flagged(engine, text) == []
