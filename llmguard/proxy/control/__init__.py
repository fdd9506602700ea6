"""The control plane: people log in, look and decide, under ``/guard/v1``. Sessions only; data-plane keys get 401.

It decides nothing itself: each request is one unit of work that begins with the session. A GET changes nothing;
looking at raw values is a POST, and in the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from llmguard.approvals import Approvals, WaitingRoom
from llmguard.config import Settings
from llmguard.errors import LLMGuardError
from llmguard.identity import oidc
from llmguard.policy.file import PolicyFile
from llmguard.proxy.control import openapi
from llmguard.proxy.control.approvals import ApprovalDesk, Revise
from llmguard.proxy.control.browser import BrowserLogin
from llmguard.proxy.control.callbacks import CallbackDesk
from llmguard.proxy.control.calls import CallDesk
from llmguard.proxy.control.drafts import DraftDesk
from llmguard.proxy.control.endpoints import Endpoint, as_json
from llmguard.proxy.control.exceptions import ExceptionDesk
from llmguard.proxy.control.http import Door, crashed, http_error, refused
from llmguard.proxy.control.incidents import Detectors, IncidentDesk
from llmguard.proxy.control.openapi import BASE
from llmguard.proxy.control.people import PeopleDesk
from llmguard.proxy.control.polls import Polls
from llmguard.proxy.control.powers import PowerDesk
from llmguard.proxy.control.proof import ProofDesk
from llmguard.proxy.control.rules import RulesDesk
from llmguard.proxy.control.sessions import Sessions
from llmguard.proxy.control.setup import Setup
from llmguard.proxy.control.simulate import SimulationDesk
from llmguard.proxy.control.statistics import StatisticsDesk
from llmguard.proxy.control.training import DecideRecords, TrainingDesk
from llmguard.proxy.control.tryout import Bench, TryoutDesk
from llmguard.proxy.control.units import Units
from llmguard.store import Store
from llmguard.vault import Vault

__all__ = ["BASE", "Bench", "Detectors", "Pages", "control_app", "endpoints"]

Pages = Callable[[ASGIApp, Settings], ASGIApp]
"""Makes the pages that people look at (``llmguard.inbox``): a client of these endpoints, and nothing more."""


def control_app(  # noqa: PLR0913  one argument for each thing that a desk needs
    store: Store,
    vault: Vault,
    approvals: Approvals,
    settings: Settings,
    *,
    revise: Revise | None = None,
    decide: DecideRecords | None = None,
    room: WaitingRoom | None = None,
    pages: Pages | None = None,
    setup: str = "",
    detectors: Detectors | None = None,
    bench: Bench | None = None,
    file: PolicyFile | None = None,
) -> Starlette:
    """The ASGI application of the control plane. Where ``room`` closes, nobody waits here any more either.

    ``revise``: what puts another body in the place of a held call (``Guard.revise``); ``decide``: what sifts training
    data anew (``Guard.decide_records``). ``pages``: what makes the pages
    below ``/inbox``, of the application whose endpoints they ask. ``setup``: the token that makes the first person.
    ``detectors``: those of today, for incidents. ``bench``: what a text is tried with. ``file``: the policy of
    the configuration, where somebody looks after it.
    """
    units = Units(store, vault, approvals)
    polls = Polls(store, (lambda: room.closed) if room is not None else lambda: False)
    table = endpoints(units, polls, settings, revise, setup, detectors, bench, file, decide)
    app = Starlette(
        routes=[Route("/healthz", _healthz), *_routes(units, table)],
        middleware=[Middleware(Door, allowed=settings.allowed_hosts)],
        exception_handlers={LLMGuardError: refused, HTTPException: http_error, Exception: crashed},
    )
    if pages is not None:
        shown = pages(app, settings)
        app.router.routes.extend(Route(path, shown) for path in ("/", "/inbox", "/inbox/{page:path}"))
    return app


def endpoints(  # noqa: PLR0913  as above
    units: Units,
    polls: Polls,
    settings: Settings,
    revise: Revise | None = None,
    setup: str = "",
    detectors: Detectors | None = None,
    bench: Bench | None = None,
    file: PolicyFile | None = None,
    decide: DecideRecords | None = None,
) -> tuple[Endpoint, ...]:
    """All that the control plane does."""
    providers, file = oidc.providers(settings), file or PolicyFile(settings)
    desks = (
        Sessions(units, settings, providers),
        BrowserLogin(units, settings, providers),
        Setup(units, settings, setup),
        ApprovalDesk(units, polls, settings.checkpoint_folder, revise),
        TrainingDesk(units, decide),
        PowerDesk(units),
        ExceptionDesk(units, settings),
        RulesDesk(units, file),
        SimulationDesk(units, file),
        CallDesk(units, file),
        IncidentDesk(units, detectors),
        PeopleDesk(units),
        CallbackDesk(units, settings),
        ProofDesk(units),
        DraftDesk(units, settings),
        StatisticsDesk(units, settings),
        TryoutDesk(units, bench),
    )
    table = [endpoint for desk in desks for endpoint in desk.table()]
    described: list[bytes] = []

    async def describe(_: Request) -> Response:
        return Response(described[0], media_type="application/json")

    itself = Endpoint("GET", "/openapi.json", describe, "This document.", {200: {"type": "object"}}, open=True)
    described.append(as_json(openapi.document([itself, *table])))
    return (itself, *table)


def _routes(units: Units, table: Iterable[Endpoint]) -> list[Route]:
    """One route for each path."""
    paths: dict[str, dict[str, Endpoint]] = {}
    for endpoint in table:
        paths.setdefault(BASE + endpoint.path, {})[endpoint.method] = endpoint
    return [Route(path, _dispatch(units, methods), methods=[*methods]) for path, methods in paths.items()]


def _dispatch(units: Units, methods: dict[str, Endpoint]) -> Callable[..., Any]:
    """Whoever has no session hears that first, before anything of the request is read."""

    async def call(request: Request) -> Response:
        endpoint = methods["GET" if request.method == "HEAD" else request.method]
        if not endpoint.open:
            await units.admit(request)
        return await endpoint.call(request)

    return call


async def _healthz(_: Request) -> Response:
    return JSONResponse({"status": "ok"})
