"""Calls: generated requests through the real pipeline, and what of them a provider receives.

Owns the two policies that they run under and the tally. ``shipped`` is the policy that users get; ``open`` sends all
that can be redacted, administration too, so that refusing is not a way to leak nothing. In this process the guard's own
driver meets an upstream that keeps the bytes of the egress; over the wire, a guard on loopback meets an echo upstream.
"""

from __future__ import annotations

import gzip
import http.client
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from benchmarks.egress.describe import FORM
from benchmarks.egress.description import Described, description
from benchmarks.egress.forms import FORMS, PlantedForm, json_request, part_request, planted_form
from benchmarks.egress.lookout import seen
from benchmarks.egress.opening import form_texts
from benchmarks.egress.planting import Plant, Planted, planted
from benchmarks.site import Site
from llmguard import identity
from llmguard.config import Settings
from llmguard.effects import Head
from llmguard.errors import ApprovalPending, LLMGuardError
from llmguard.guard import Guard
from llmguard.model import Egress, FormField, pieces_of
from llmguard.payload import headers as header_rules
from llmguard.request import Request
from llmguard.testing import EchoUpstream, LocalGuard

OPEN = (
    {"name": "unknown", "when": 'call.kind == "unknown"', "verdict": "block"},
    {
        "name": "open",
        "when": 'call.unscanned.all(u, u in ["image", "audio", "encrypted"]) && findings.all(f, f.redactable)',
        "verdict": "redact",
    },
)
"""What else there is, is blocked: it can neither be redacted nor looked into, or is no operation at all."""
POLICIES: Mapping[str, tuple[Mapping[str, Any], ...] | None] = {"shipped": None, "open": OPEN}
OF_FORMS = ", form"
"""Behind the name of an operation: its forms, which are counted apart."""
KEPT = 500
"""Leaks of one tally that are described. All are counted."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What the provider received: raw path and query, headers, body."""

    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call: what was sent, or the code of the refusal; what was sent before it, and the answer."""

    sent: Sent | None
    code: str = ""
    before: tuple[Sent, ...] = ()
    answer: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Leak:
    """A value that a provider could read. The operation and the number of the call, under the run's seed, repeat it."""

    operation: str
    number: int
    policy: str
    kind: str
    form: str
    place: str
    encoding: str
    address: str
    way: str
    bare: bool


@dataclass(slots=True)
class Tally:
    """``counts`` of calls and canaries by (operation, policy), ``codes`` of refusals by (policy, code).

    ``planted`` and ``leaked`` count canaries by (place, encoding).
    """

    counts: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    codes: Counter[tuple[str, str]] = field(default_factory=Counter)
    planted: Counter[tuple[str, str]] = field(default_factory=Counter)
    leaked: Counter[tuple[str, str]] = field(default_factory=Counter)
    leaks: list[Leak] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        for key, counter in other.counts.items():
            self.counts.setdefault(key, Counter()).update(counter)
        self.codes.update(other.codes)
        self.planted.update(other.planted)
        self.leaked.update(other.leaked)
        self.leaks = (self.leaks + other.leaks)[:KEPT]

    def total(self, name: str) -> int:
        return sum(counter[name] for counter in self.counts.values())

    def note(self, operation: str, number: int, policy: str, call: Planted, outcome: Outcome) -> None:
        """One more call."""
        row = operation + OF_FORMS if number >= FORMS else operation
        counter = self.counts.setdefault((row, policy), Counter())
        counter["calls"] += 1
        for plant in call.plants:
            counter["bare" if plant.canary.bare else "planted"] += 1
            self.planted[plant.place, plant.encoding] += 1
        if outcome.sent is None:
            for plant, way in found(call.plants, *outcome.before):
                self._leak(counter, Leak(operation, number, policy, *_facts(plant), way, plant.canary.bare))
            counter["held" if outcome.code == ApprovalPending.code else "refused"] += 1
            self.codes[policy, outcome.code] += 1
            return
        counter["unchanged" if outcome.sent.body == call.request.body else "redacted"] += 1
        for plant, way in found(call.plants, outcome.sent, *outcome.before):
            self._leak(counter, Leak(operation, number, policy, *_facts(plant), way, plant.canary.bare))

    def _leak(self, counter: Counter[str], leak: Leak) -> None:
        counter["seen bare" if leak.bare else "seen"] += 1
        if not leak.bare:
            self.leaked[leak.place, leak.encoding] += 1
            if len(self.leaks) < KEPT:
                self.leaks.append(leak)


def _facts(plant: Plant) -> tuple[str, str, str, str, str]:
    return plant.canary.kind, plant.canary.form, plant.place, plant.encoding, plant.address


def found(plants: Sequence[Plant], *sent: Sent) -> list[tuple[Plant, str]]:
    """The plants that can be read from what was sent, and through which decodings."""
    texts: dict[str, str] = {}
    for number, one in enumerate(sent):
        texts |= {(f"{name}, {number}" if number else name): text for name, text in _texts(one)}
    by_canary = {id(plant.canary): plant for plant in plants}
    return [(by_canary[id(c)], f"{text}: {way}") for c, text, way in seen([p.canary for p in plants], texts)]


def _texts(sent: Sent) -> Iterator[tuple[str, str]]:
    path, _, query = sent.url.partition("?")
    yield "path", path.replace("/", "\n")
    yield "query", query.replace("&", "\n").replace("=", "\n")
    yield "headers", "\n".join(x for pair in sent.headers for x in pair)
    media = dict(sent.headers).get("content-type", "")
    if media.startswith("multipart/"):
        for number, (where, text) in enumerate(form_texts(media, sent.body)):
            yield f"{number} {where}", text
    else:
        yield "body", sent.body.decode(errors="replace")


# --------------------------------------------------------------------------- through the pipeline


class Way(Protocol):
    """How a request gets to a provider."""

    def __call__(self, request: Request) -> Outcome: ...


class _Upstream:
    """A provider that keeps what it gets and says nothing of interest."""

    def __init__(self, root: int) -> None:
        self.sent: list[Sent] = []
        self._root = root
        self._chunks: list[bytes] = []

    def send(self, egress: Egress) -> Head:
        body = b"".join(pieces_of(egress.body))
        self.sent.append(Sent(egress.url[self._root :], egress.headers, body))
        self._chunks = [b'{"id": "made_1"}' if "/uploads" in egress.url else b"{}"]
        return Head(200, (("content-type", "application/json"),))

    def next_chunk(self) -> bytes | None:
        return self._chunks.pop() if self._chunks else None


def settings(
    folder: Path, rules: tuple[Mapping[str, Any], ...] | None, upstream: str = "http://127.0.0.1:9"
) -> Settings:
    return Settings(
        data=folder / "data",
        upstream=upstream,
        upstream_name="echo",
        upstream_key="none",
        names=False,
        rules=rules,
        hold="ticket",
        max_waiting=1_000_000,
        max_waiting_bytes=1 << 40,
        port=0,
        control_port=0,
    )


@contextmanager
def in_process(rules: tuple[Mapping[str, Any], ...] | None) -> Iterator[Way]:
    """A guard of this process, driven over an upstream that keeps the egress."""
    with tempfile.TemporaryDirectory() as folder, Site(settings(Path(folder), rules)) as site:
        guard = site.guard
        for email in ("ann@example.org", "bo@example.org", "dee@example.org"):
            site.person(email, identity.DEFAULT_GROUP)
        key = site.key("egress", "ann@example.org")
        principal = guard.store.read(lambda tx: identity.authenticate(tx, guard.vault, key))
        destination, account = guard.settings.destination, guard.account("none")
        root = len(destination.base_url)

        def way(request: Request) -> Outcome:
            upstream = _Upstream(root)
            fields: tuple[FormField, ...] = ()
            try:
                fields = _form(guard, principal.tenant, request)
                arrived = replace(request, body=b"", form=fields) if fields else request
                items = list(guard.run(guard.call(arrived, principal, destination, account), upstream))
            except LLMGuardError as refusal:
                return _outcome(upstream.sent, refusal.code)
            finally:
                guard.transfers.release(fields)
            return _outcome(upstream.sent, answer=b"".join(i for i in items if isinstance(i, bytes)))

        yield way


def _form(guard: Guard, tenant: str, request: Request) -> tuple[FormField, ...]:
    """The fields of a form, read as the data plane reads them. Raises CallRefused."""
    if header_rules.media_type(request.headers) != FORM or not request.body:
        return ()
    reader = guard.transfers.reader(tenant, dict(request.headers)["content-type"])
    reader.feed(request.body)
    return reader.finish()


def _outcome(sent: Sequence[Sent], code: str = "", *, answer: bytes = b"") -> Outcome:
    return Outcome(sent[-1], "", tuple(sent[:-1]), answer) if sent else Outcome(None, code, (), answer)


@contextmanager
def over_the_wire(rules: tuple[Mapping[str, Any], ...] | None) -> Iterator[Way]:
    """A guard on loopback before an echo upstream. Every second body is compressed."""
    with ExitStack() as stack:
        upstream = stack.enter_context(EchoUpstream())
        upstream.behave = "not_json"  # any answer does: here only what arrives counts
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        local = stack.enter_context(LocalGuard(settings(folder, rules, upstream.url)))
        local.person("ann@example.org")
        local.person("bo@example.org")
        local.person("dee@example.org")
        key = local.key("egress", "ann@example.org")
        connection = http.client.HTTPConnection(urlsplit(local.url).netloc, timeout=60)
        stack.callback(connection.close)
        turns = iter(range(1 << 62))

        def way(request: Request) -> Outcome:
            upstream.received.clear()
            upstream.behave = "echo" if "/uploads" in request.path else "not_json"
            zipped = bool(request.body) and next(turns) % 2 == 0
            body = gzip.compress(request.body, 1) if zipped else request.body
            ours = [("authorization", f"Bearer {key}"), *([("content-encoding", "gzip")] if zipped else [])]
            _ask(connection, request, body, ours)
            answer = connection.getresponse()
            content = answer.read()
            sent = [Sent(got.path.removeprefix("/v1"), got.headers, got.body) for got in upstream.received]
            return _outcome(sent, _code(content) if answer.status >= 300 else "", answer=content)

        yield way


def _ask(
    connection: http.client.HTTPConnection, request: Request, body: bytes, ours: Sequence[tuple[str, str]]
) -> None:
    query = f"?{request.query}" if request.query else ""
    connection.putrequest(request.method, f"/v1{request.path}{query}", skip_accept_encoding=True)
    for name, value in (*request.headers, *ours, ("content-length", str(len(body)))):
        connection.putheader(name, value.encode())
    connection.endheaders(body)


def _code(content: bytes) -> str:
    try:
        return str(json.loads(content)["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return "unreadable"


# --------------------------------------------------------------------------- many


def run(ways: Mapping[str, Way], operations: Sequence[Described], seed: int, numbers: Sequence[int]) -> Tally:
    """The calls of these numbers, of each operation. Policies take turns: the number says which."""
    tally = Tally()
    names = list(ways)
    for operation in operations:
        for number in numbers:
            call = planted_form(operation, seed, number) if number >= FORMS else planted(operation, seed, number)
            policy = names[number % len(names)]
            tally.note(operation.id, number, policy, call, _made(ways[policy], call))
    return tally


def _made(way: Way, call: Planted) -> Outcome:
    """What becomes of a call; of an upload in parts, of all its requests."""
    if not isinstance(call, PlantedForm) or call.life is None:
        return way(call.request)
    life, plain = call.life, replace(call.request, query="", headers=())
    begun = way(json_request(plain, "/uploads", life.announced))
    upload = _id(begun)
    if not upload:
        return begun
    made = {number: way(part_request(plain, life.parts[number], upload)) for number in life.order}
    ids = [_id(made[number]) for number in range(len(life.parts))]
    outcome = way(json_request(call.request, f"/uploads/{upload}/complete", {"part_ids": ids}))
    ended = way(json_request(plain, f"/uploads/{upload}/cancel", {}))  # what is held goes on; all else is wiped
    before = [s for o in (begun, *made.values(), ended) for s in (*o.before, o.sent) if s is not None]
    return replace(outcome, before=(*outcome.before, *before))


def _id(outcome: Outcome) -> str:
    try:
        return str(json.loads(outcome.answer)["id"])
    except (ValueError, KeyError, TypeError):
        return ""


def named(ids: Sequence[str]) -> list[Described]:
    """Operations by id; all if none is named."""
    known = description().operations
    return [known[i] for i in ids] if ids else list(known.values())
