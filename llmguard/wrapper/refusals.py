"""Refusals as exceptions that are both ours and the SDK's, made from the guard's own answers.

A guard answers in HTTP, embedded as well as remote, so that the SDK's retries obey ``x-should-retry`` everywhere. Only
an answer that carries ``x-llmguard-error`` is a refusal: guards strip that header from what a provider says.
"""

from __future__ import annotations

from functools import cache
from typing import Any, cast

from llmguard import errors
from llmguard.errors import ERROR_HEADER, LLMGuardError

_BY_CODE: dict[str, type[LLMGuardError]] = {
    cls.code: cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, LLMGuardError)
}


def from_response(response: Any, body: Any) -> Exception | None:
    """The exception of a guard's own answer, None for any other."""
    code = response.headers.get(ERROR_HEADER)
    if code is None:
        return None
    error = body.get("error") if isinstance(body, dict) else None
    return _exception(_BY_CODE.get(code, LLMGuardError), response, error if isinstance(error, dict) else {})


def _exception(ours: type[LLMGuardError], response: Any, error: dict[str, Any]) -> Exception:
    theirs = _status_error(response.status_code)
    cls = both(ours, theirs)
    made = cls.__new__(cls)
    message = str(error.get("message") or f"the guard answered {response.status_code}")
    theirs.__init__(made, message, response=response, body=error)
    made.approval_id, made.approval_url = error.get("approval_id"), error.get("approval_url")
    return cast(Exception, made)


def _status_error(status: int) -> Any:
    import openai

    known: dict[int, Any] = {
        400: openai.BadRequestError,
        401: openai.AuthenticationError,
        403: openai.PermissionDeniedError,
        404: openai.NotFoundError,
        409: openai.ConflictError,
        422: openai.UnprocessableEntityError,
        429: openai.RateLimitError,
    }
    return known.get(status, openai.InternalServerError if status >= 500 else openai.APIStatusError)


def both(ours: type[LLMGuardError], theirs: type[Exception]) -> Any:
    """A type that is caught as either, the same one every time."""
    return _made(cast(Any, ours), cast(Any, theirs))


@cache
def _made(ours: Any, theirs: Any) -> Any:
    return type(ours.__name__, (ours, theirs), {"__module__": ours.__module__})
