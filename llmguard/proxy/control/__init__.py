"""The control plane: people log in, look and decide, under ``/guard/v1``. Sessions only; data-plane keys get 401.

It decides nothing itself: each request is one unit of work that begins with the session. A GET changes nothing;
looking at raw values is a POST, and in the log.
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from llmguard.approvals import Approvals
from llmguard.config import Settings
from llmguard.errors import LLMGuardError
from llmguard.proxy.control.approvals import ApprovalDesk
from llmguard.proxy.control.http import Door, crashed, http_error, refused
from llmguard.proxy.control.people import PeopleDesk
from llmguard.proxy.control.proof import ProofDesk
from llmguard.proxy.control.sessions import Sessions
from llmguard.proxy.control.units import Units
from llmguard.store import Store
from llmguard.vault import Vault

BASE = "/guard/v1"


def control_app(store: Store, vault: Vault, approvals: Approvals, settings: Settings) -> Starlette:
    """The ASGI application of the control plane."""
    units = Units(store, vault, approvals)
    desks = (Sessions(units), ApprovalDesk(units), PeopleDesk(units), ProofDesk(units))
    routes = [Route(BASE + path, endpoint, methods=[method]) for d in desks for method, path, endpoint in d.table()]
    return Starlette(
        routes=[Route("/healthz", _healthz), *routes],
        middleware=[Middleware(Door, allowed=settings.allowed_hosts)],
        exception_handlers={LLMGuardError: refused, HTTPException: http_error, Exception: crashed},
    )


async def _healthz(_: Request) -> Response:
    return JSONResponse({"status": "ok"})
