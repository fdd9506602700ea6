"""Completion: ids of approvals for the shell. It asks the control plane for a second at most, silent on failure."""

from __future__ import annotations

import threading
from typing import Any

import click
from click.shell_completion import CompletionItem

from llmguard.cli.client import ControlClient
from llmguard.cli.screen import visible
from llmguard.config import load
from llmguard.errors import LLMGuardError

SECONDS = 1.0
_MOST = 30


def approval_ids(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What may be seen and begins so, newest first."""
    found: list[dict[str, Any]] = []
    # In a thread of its own: a name server or a peer that answers drop by drop must not keep the shell.
    asking = threading.Thread(target=_ask, args=(ctx, incomplete.upper(), found), daemon=True)
    asking.start()
    asking.join(SECONDS)
    return [_item(row) for row in list(found) if str(row.get("id", "")).isalnum()]


def _ask(ctx: click.Context, prefix: str, found: list[dict[str, Any]]) -> None:
    try:
        settings = load(ctx.find_root().params.get("config"))
        with ControlClient.of(settings, timeout=SECONDS) as client:
            found += client.get("/approvals", prefix=prefix or None, limit=_MOST)["approvals"]
    except (LLMGuardError, OSError, KeyError, TypeError):
        return  # a prompt is no place for an error


def _item(row: dict[str, Any]) -> CompletionItem:
    return CompletionItem(str(row["id"]), help=visible(f"{row.get('state')} {row.get('operation')}"))
