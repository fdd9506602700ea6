"""The document of the control plane is of all that it does, and docs/api.md shows the same table."""

from __future__ import annotations

import os
from pathlib import Path

from starlette.routing import Route

from llmguard.config import Settings
from llmguard.proxy.control import BASE, control_app, endpoints, openapi
from llmguard.proxy.control.polls import Polls
from llmguard.proxy.control.units import Units
from tests.desks import Desk, Plane

PAGE = Path(__file__).parents[3] / "docs" / "api.md"
BEGIN, END = "<!-- endpoints -->\n", "<!-- end -->\n"


def test_every_route_is_in_the_document_and_the_other_way_round(desk: Desk, plane: Plane) -> None:
    document = plane.call("GET", f"{BASE}/openapi.json").json()
    app = control_app(desk.store, desk.vault, desk.approvals, Settings(data=desk.folder))
    routes = {
        (route.path, method.lower())
        for route in app.routes
        if isinstance(route, Route) and route.path != "/healthz"
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert routes == {(path, method) for path, methods in document["paths"].items() for method in methods}
    assert document["openapi"].startswith("3.1")


def test_every_operation_is_named_once_and_says_what_it_does(plane: Plane) -> None:
    paths = plane.call("GET", f"{BASE}/openapi.json").json()["paths"]
    operations = [o for methods in paths.values() for o in methods.values()]
    assert len({o["operationId"] for o in operations}) == len(operations)
    assert all(o["summary"].endswith(".") for o in operations)


def test_the_table_of_the_docs_is_of_the_endpoints(desk: Desk) -> None:
    """``UPDATE_DOCS=1 pytest tests/proxy/control/test_openapi.py`` writes it anew."""
    units = Units(desk.store, desk.vault, desk.approvals)
    table = openapi.table(endpoints(units, Polls(desk.store), Settings(data=desk.folder)))
    before, _, rest = PAGE.read_text().partition(BEGIN)
    shown, _, after = rest.partition(END)
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(f"{before}{BEGIN}{table}{END}{after}")
        shown = table
    assert shown == table
