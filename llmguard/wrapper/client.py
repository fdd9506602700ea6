"""Guarded client classes: subclasses of the SDK's own whose every instance is guarded, however the SDK makes it.

They own what the transport cannot see: which part of a URL is the API's root, what ``copy`` passes on, the types of
errors, and the ways that no transport guards (WebSockets, signed requests), which they refuse.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from llmguard.errors import CallBlocked, ConfigError
from llmguard.wrapper.refusals import both, from_response
from llmguard.wrapper.transport import ROOT, around, guard_of

_NO_SOCKET = "wss://websockets-are-not-guarded.invalid"


@cache
def guarded_class(cls: Any, default: Callable[[], Any]) -> Any:
    """A subclass of ``cls``. An instance that is made without a guarded HTTP client gets the guard of ``default``."""

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        cls.__init__(self, *args, **kwargs)
        refuse_unguarded(self)
        if guard_of(self._client) is None:
            self._client = around(self._client, default())

    def copy(self: Any, **kwargs: Any) -> Any:
        http = kwargs.get("http_client")
        if http is not None and guard_of(http) is None:
            kwargs["http_client"] = around(http, guard_of(self._client))
        if kwargs.get("data_residency") is None:
            kwargs["websocket_base_url"] = _NO_SOCKET
        return cls.copy(self, **kwargs)

    def _build_request(self: Any, options: Any, **kwargs: Any) -> Any:
        request = cls._build_request(self, options, **kwargs)
        request.extensions[ROOT] = _root(str(self.base_url))
        return request

    def _make_status_error(self: Any, err_msg: str, *, body: Any, response: Any) -> Any:
        theirs = cls._make_status_error(self, err_msg, body=body, response=response)
        return from_response(response, body) or theirs

    # Every WebSocket of the SDK asks for this address before it connects.
    def websocket_base_url(self: Any) -> Any:
        import openai

        raise both(CallBlocked, openai.OpenAIError)("WebSockets are not guarded; nothing was sent. Use plain requests")

    names: dict[str, Any] = {
        "__init__": __init__,
        "__module__": cls.__module__,
        "copy": copy,
        "with_options": copy,
        "_build_request": _build_request,
        "_make_status_error": _make_status_error,
        "websocket_base_url": property(websocket_base_url, lambda self, value: None),
    }
    return type(f"Guarded{cls.__name__}", (cls,), names)


def refuse_unguarded(client: Any) -> None:
    """Raises ConfigError for clients that sign what they send, or whose provider speaks another dialect."""
    bedrock = any(c.__name__ in ("BedrockOpenAI", "AsyncBedrockOpenAI") for c in type(client).__mro__)
    if bedrock or getattr(client, "_provider_runtime", None) is not None:
        raise ConfigError("Bedrock and other provider clients are not guarded: they sign what was written")
    identity = getattr(client, "workload_identity", None)
    if identity is not None and not (isinstance(identity, dict) and "provider" in identity):
        raise ConfigError("X.509 workload identity is not guarded; use an API key")


def _root(base: str) -> str:
    """The API's root: an Azure deployment is part of the path below it."""
    return base.rstrip("/").partition("/deployments/")[0]
