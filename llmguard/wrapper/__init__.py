"""``wrap(client)``: an OpenAI client whose every request goes through a guard, in this process or on another host.

The wrapped client is a copy of the original's class; a guarded transport stands around every way out of its HTTP
client. The original stays untouched. As with the SDK's own ``with_options``, both share their connections: closing one
closes the other. Refusals are raised as types that are both ours and the SDK's.
"""

from __future__ import annotations

import os
from functools import cache
from types import ModuleType
from typing import Any, TypeVar, cast

from llmguard.errors import ConfigError
from llmguard.guard import Guard
from llmguard.wrapper.client import guarded_class, refuse_unguarded
from llmguard.wrapper.transport import AZURE, Remote, around, guard_of

Client = TypeVar("Client")


def wrap(client: Client, guard: Guard | str | None = None, *, key: str | None = None) -> Client:
    """A guarded copy of an ``openai.OpenAI``, ``AsyncOpenAI``, ``AzureOpenAI`` or ``AsyncAzureOpenAI`` client.

    ``guard`` is a Guard of this process (default: one with the user's configuration, shared by all wrapped clients), or
    the address of a remote one, which is called with the ``lg_`` key ``key`` (default: ``LLMGUARD_KEY``). The module
    ``openai`` itself can be given: its module-level client is guarded from then on, and the module comes back.

    Raises ConfigError for what cannot be guarded.
    """
    import openai

    if client is openai:
        _wrap_module(cast(ModuleType, client), guard, key)
        return client
    if not isinstance(client, openai.OpenAI | openai.AsyncOpenAI):
        raise ConfigError("wrap() takes an openai.OpenAI or openai.AsyncOpenAI client, or the module openai")
    refuse_unguarded(client)
    if guard_of(client._client) is not None:
        raise ConfigError("this client is wrapped already; wrap the original")
    if isinstance(guard, str):
        return cast(Client, _remote(client, Remote.at(guard, key or os.environ.get("LLMGUARD_KEY", ""))))
    if key is not None:
        raise ConfigError("a key goes with the address of a remote guard: wrap(client, guard='https://…', key='lg_…')")
    guarded = client.copy(http_client=around(client._client, guard or shared_guard()))
    return cast(Client, _as_guarded(guarded, client))


@cache
def shared_guard() -> Guard:
    """The guard of all clients that were wrapped without one."""
    return Guard()


def _as_guarded(copy: Any, original: Any) -> Any:
    for name in ("_azure_endpoint", "_azure_deployment"):  # the SDK's copy drops them in some versions
        if hasattr(original, name):
            setattr(copy, name, getattr(original, name))
    copy.__class__ = cast(Any, guarded_class)(type(original), shared_guard)
    return copy


def _remote(client: Any, remote: Remote) -> Any:
    """A copy that talks to the guard instead: the provider's credentials are not on it, and would not pass."""
    import openai

    azure = isinstance(client, openai.AzureOpenAI | openai.AsyncAzureOpenAI)
    below = AZURE + str(client.base_url).rstrip("/").partition(AZURE)[2] if azure else "/v1"
    copy = client.copy(base_url=remote.root + below, api_key=remote.key, http_client=around(client._client, remote))
    guarded = _as_guarded(copy, client)
    if azure:
        guarded._azure_ad_token = guarded._azure_ad_token_provider = None
        endpoint = getattr(client, "_azure_endpoint", None)
        guarded._azure_endpoint = endpoint and type(endpoint)(remote.root)
    if hasattr(guarded, "admin_api_key"):
        guarded.admin_api_key = None
    return guarded


def _wrap_module(module: Any, guard: Guard | str | None, key: str | None) -> None:
    """``openai.chat.completions.create`` and so on: the module makes its client at first use, so it is made here."""
    load = getattr(module, "_load_client", None)
    if load is None or not hasattr(module, "_client"):
        raise ConfigError("this version of openai has no module-level client; wrap an openai.OpenAI() instead")
    module._client = wrap(load(), guard, key=key)
