"""Operation table: what each method and path of the OpenAI API does with the data that it carries.

Owns the table and the matching of paths. ``find`` is exact on segments: a path that another server could read
differently (encoded slash, dot segments, empty segments, backslash, NUL, non-ASCII) is no operation at all, and
neither is anything that the table does not name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal
from urllib.parse import unquote_to_bytes

from llmguard.model import Kind, Operation

BodyKind = Literal["none", "json", "multipart", "other"]
Params = tuple[tuple[str, str], ...]
Scopes = tuple[tuple[str, str], ...]

_SEGMENT = re.compile(r"(?:[A-Za-z0-9._~:@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")
_BAD_DECODED = re.compile(rb"[\x00-\x1f\x7f-\xff/\\%]")


def _op(
    method: str,
    path: str,
    name: str,
    kind: Kind,
    body: BodyKind | None = None,
    **more: Any,
) -> Operation:
    if body is None:
        body = "json" if method == "POST" else "none"
    return Operation(name=name, method=method, path=path, kind=kind, body=body, **more)


def _crud(root: str, item: str, name: str, kind: Kind, verbs: str = "list create get update delete") -> list[Operation]:
    """The five usual operations on a collection."""
    rows = {
        "list": ("GET", root),
        "create": ("POST", root),
        "get": ("GET", f"{root}/{{{item}}}"),
        "update": ("POST", f"{root}/{{{item}}}"),
        "delete": ("DELETE", f"{root}/{{{item}}}"),
    }
    return [_op(*rows[verb], f"{name}.{verb}", kind) for verb in verbs.split()]


_RESPONSE: Scopes = (("response", "path:response_id"),)
_CONVERSATION: Scopes = (("conversation", "path:conversation_id"),)
_COMPLETION: Scopes = (("completion", "path:completion_id"),)
_THREAD: Scopes = (("thread", "path:thread_id"),)
_FILE: Scopes = (("file", "path:file_id"),)
_BATCH: Scopes = (("batch", "path:batch_id"),)
_CONTINUED: Scopes = (
    ("response", "body:/previous_response_id"),
    ("conversation", "body:/conversation"),
    ("conversation", "body:/conversation/id"),
)
_BATCHES: Scopes = (("batch", "answer:/id"),)
_BATCH_LINKS: Scopes = (
    ("batch:/id", "call"),
    ("batch:/id", "file:/input_file_id"),
    ("file:/output_file_id", "batch:/id"),
    ("file:/error_file_id", "batch:/id"),
)
_FILED = (("file", "/id", ()),)
_UPLOADED = (("file", "/file/id", ()),)
_EVAL: Scopes = (("eval", "path:eval_id"),)
_RUN: Scopes = (("eval_run", "path:run_id"), ("eval", "path:eval_id"))
_RUN_LINKS: Scopes = (
    ("eval_run:/id", "call"),
    ("eval_run:/id", "eval:/eval_id"),
    ("eval_run:/id", "file:/data_source/source/id"),
)
_CONTAINER: Scopes = (("container", "path:container_id"),)
_STORE: Scopes = (("vector_store", "path:vector_store_id"),)


def _inference() -> list[Operation]:
    kind: Kind = "inference"
    responses: Scopes = (("response", "/id"), ("conversation", "/conversation/id"))
    return [
        _op("POST", "/chat/completions", "chat.completions.create", kind, grant_writes=(("completion", "/id"),)),
        _op("POST", "/completions", "completions.create", kind),
        _op("POST", "/responses", "responses.create", kind, grant_reads=_CONTINUED, grant_writes=responses),
        _op("POST", "/responses/compact", "responses.compact", kind, grant_reads=_CONTINUED, grant_writes=responses),
        _op("POST", "/responses/input_tokens", "responses.input_tokens", kind, grant_reads=_CONTINUED),
        _op("GET", "/responses/{response_id}", "responses.get", kind, grant_reads=_RESPONSE),
        _op("DELETE", "/responses/{response_id}", "responses.delete", kind),
        _op("POST", "/responses/{response_id}/cancel", "responses.cancel", kind, "none", grant_reads=_RESPONSE),
        _op("GET", "/responses/{response_id}/input_items", "responses.input_items", kind, grant_reads=_RESPONSE),
        _op("POST", "/embeddings", "embeddings.create", kind),
        _op("POST", "/moderations", "moderations.create", kind),
        _op("POST", "/images/generations", "images.generate", kind, rendered=True),
        _op("POST", "/images/edits", "images.edit", kind, rendered=True),
        _op("POST", "/images/variations", "images.variation", kind, "multipart", rendered=True),
        _op("POST", "/audio/speech", "audio.speech", kind, rendered=True),
        _op("POST", "/audio/transcriptions", "audio.transcriptions", kind, "multipart"),
        _op("POST", "/audio/translations", "audio.translations", kind, "multipart"),
        _op("POST", "/videos", "videos.create", kind, rendered=True),
        _op("POST", "/videos/edits", "videos.edit", kind, rendered=True),
        _op("POST", "/videos/extensions", "videos.extend", kind, rendered=True),
        _op("POST", "/videos/{video_id}/remix", "videos.remix", kind, rendered=True),
        _op("GET", "/models", "models.list", kind),
        _op("GET", "/models/{model}", "models.get", kind),
        _op("POST", "/content_provenance_checks", "content_provenance_checks.create", kind, "multipart"),
        _op(
            "POST",
            "/batches",
            "batches.create",
            kind,
            grant_links=_BATCH_LINKS,
            produces=(("batch", "/id", ("/input_file_id",)),),
        ),
        _op("GET", "/batches", "batches.list", kind, grant_reads=_BATCHES, grant_links=_BATCH_LINKS),
        _op("GET", "/batches/{batch_id}", "batches.get", kind, grant_reads=_BATCH, grant_links=_BATCH_LINKS),
        _op(
            "POST",
            "/batches/{batch_id}/cancel",
            "batches.cancel",
            kind,
            "none",
            grant_reads=_BATCH,
            grant_links=_BATCH_LINKS,
        ),
    ]


def _conversations() -> list[Operation]:
    kind: Kind = "stored"
    conversation, items = "/conversations/{conversation_id}", "/conversations/{conversation_id}/items"
    item = f"{items}/{{item_id}}"
    completion = "/chat/completions/{completion_id}"
    return [
        _op("POST", "/conversations", "conversations.create", kind, grant_writes=(("conversation", "/id"),)),
        _op("GET", conversation, "conversations.get", kind, grant_reads=_CONVERSATION),
        _op("POST", conversation, "conversations.update", kind, grant_reads=_CONVERSATION, grant_writes=_CONVERSATION),
        _op("DELETE", conversation, "conversations.delete", kind),
        _op("GET", items, "conversations.items.list", kind, grant_reads=_CONVERSATION),
        _op("POST", items, "conversations.items.create", kind, grant_reads=_CONVERSATION, grant_writes=_CONVERSATION),
        _op("GET", item, "conversations.items.get", kind, grant_reads=_CONVERSATION),
        _op("DELETE", item, "conversations.items.delete", kind, grant_reads=_CONVERSATION),
        _op("GET", "/chat/completions", "chat.completions.list", kind),
        _op("GET", completion, "chat.completions.get", kind, grant_reads=_COMPLETION),
        _op("POST", completion, "chat.completions.update", kind, grant_reads=_COMPLETION, grant_writes=_COMPLETION),
        _op("DELETE", completion, "chat.completions.delete", kind),
        _op("GET", f"{completion}/messages", "chat.completions.messages", kind, grant_reads=_COMPLETION),
    ]


def _threads() -> list[Operation]:
    kind: Kind = "stored"
    created: Scopes = (("thread", "/id"),)
    thread, run = "/threads/{thread_id}", "/threads/{thread_id}/runs/{run_id}"
    message = f"{thread}/messages/{{message_id}}"
    both: dict[str, Any] = {"grant_reads": _THREAD, "grant_writes": _THREAD}
    read: dict[str, Any] = {"grant_reads": _THREAD}
    return [
        *_crud("/assistants", "assistant_id", "assistants", kind),
        _op("POST", "/threads", "threads.create", kind, grant_writes=created),
        _op("POST", "/threads/runs", "threads.create_and_run", kind, grant_writes=(("thread", "/thread_id"),)),
        _op("GET", thread, "threads.get", kind, **read),
        _op("POST", thread, "threads.update", kind, **both),
        _op("DELETE", thread, "threads.delete", kind),
        _op("GET", f"{thread}/messages", "threads.messages.list", kind, **read),
        _op("POST", f"{thread}/messages", "threads.messages.create", kind, **both),
        _op("GET", message, "threads.messages.get", kind, **read),
        _op("POST", message, "threads.messages.update", kind, **both),
        _op("DELETE", message, "threads.messages.delete", kind),
        _op("GET", f"{thread}/runs", "threads.runs.list", kind, **read),
        _op("POST", f"{thread}/runs", "threads.runs.create", kind, **both),
        _op("GET", run, "threads.runs.get", kind, **read),
        _op("POST", run, "threads.runs.update", kind, **both),
        _op("POST", f"{run}/cancel", "threads.runs.cancel", kind, "none", **read),
        _op("POST", f"{run}/submit_tool_outputs", "threads.runs.submit_tool_outputs", kind, **both),
        _op("GET", f"{run}/steps", "threads.runs.steps.list", kind, **read),
        _op("GET", f"{run}/steps/{{step_id}}", "threads.runs.steps.get", kind, **read),
    ]


def _files() -> list[Operation]:
    kind: Kind = "stored"
    upload = "/uploads/{upload_id}"
    sent: Scopes = (("upload:path:upload_id", "call"),)
    finished: Scopes = (*sent, ("file:/file/id", "upload:path:upload_id"))
    return [
        _op("GET", "/files", "files.list", kind, grant_reads=(("file", "answer:/id"),)),
        _op("POST", "/files", "files.create", kind, "multipart", grant_links=(("file:/id", "call"),), produces=_FILED),
        _op("GET", "/files/{file_id}", "files.get", kind, grant_reads=_FILE),
        _op("DELETE", "/files/{file_id}", "files.delete", kind),
        _op("GET", "/files/{file_id}/content", "files.content", kind, grant_reads=_FILE),
        _op("POST", "/uploads", "uploads.create", kind, grant_links=(("upload:/id", "call"),)),
        _op("POST", f"{upload}/parts", "uploads.parts.create", kind, "multipart", grant_links=sent),
        _op("POST", f"{upload}/complete", "uploads.complete", kind, grant_links=finished, produces=_UPLOADED),
        _op("POST", f"{upload}/cancel", "uploads.cancel", kind, "none"),
        *_vector_stores(),
    ]


def _vector_stores() -> list[Operation]:
    kind: Kind = "stored"
    root = "/vector_stores"
    store, files = f"{root}/{{vector_store_id}}", f"{root}/{{vector_store_id}}/files"
    file, batch = f"{files}/{{file_id}}", f"{store}/file_batches/{{batch_id}}"
    made: dict[str, Any] = {"grant_links": (("vector_store:/id", "call"),)}
    both: dict[str, Any] = {"grant_reads": _STORE, "grant_links": (("vector_store:path:vector_store_id", "call"),)}
    read: dict[str, Any] = {"grant_reads": _STORE}
    found = (*_STORE, ("file", "answer:/file_id"))
    return [
        _op("GET", root, "vector_stores.list", kind, grant_reads=(("vector_store", "answer:/id"),)),
        _op("POST", root, "vector_stores.create", kind, **made),
        _op("GET", store, "vector_stores.get", kind, **read),
        _op("POST", store, "vector_stores.update", kind, **both),
        _op("DELETE", store, "vector_stores.delete", kind),
        _op("POST", f"{store}/search", "vector_stores.search", kind, grant_reads=found),
        _op("GET", files, "vector_stores.files.list", kind, **read),
        _op("POST", files, "vector_stores.files.create", kind, **both),
        _op("GET", file, "vector_stores.files.get", kind, **read),
        _op("POST", file, "vector_stores.files.update", kind, **both),
        _op("DELETE", file, "vector_stores.files.delete", kind),
        _op("GET", f"{file}/content", "vector_stores.files.content", kind, grant_reads=(*_FILE, *_STORE)),
        _op("POST", f"{store}/file_batches", "vector_stores.file_batches.create", kind, **both),
        _op("GET", batch, "vector_stores.file_batches.get", kind, **read),
        _op("POST", f"{batch}/cancel", "vector_stores.file_batches.cancel", kind, "none", **read),
        _op("GET", f"{batch}/files", "vector_stores.file_batches.files", kind, **read),
    ]


def _workshop() -> list[Operation]:
    """What runs, keeps or judges material at the provider: containers, evals, skills, videos, voices."""
    kind: Kind = "stored"
    skill = "/skills/{skill_id}"
    return [
        *_containers(),
        *_evals(),
        *_crud("/skills", "skill_id", "skills", kind),
        _op("GET", f"{skill}/content", "skills.content", kind),
        *_crud(f"{skill}/versions", "version", "skills.versions", kind, "list create get delete"),
        _op("GET", f"{skill}/versions/{{version}}/content", "skills.versions.content", kind),
        *_crud("/videos", "video_id", "videos", kind, "list get delete"),
        _op("GET", "/videos/{video_id}/content", "videos.content", kind),
        _op("POST", "/videos/characters", "videos.characters.create", kind, "multipart"),
        _op("GET", "/videos/characters/{character_id}", "videos.characters.get", kind),
        _op("POST", "/audio/voices", "audio.voices.create", kind, "multipart"),
        _op("POST", "/audio/voice_consents", "audio.voice_consents.create", kind, "multipart"),
        *_crud("/audio/voice_consents", "consent_id", "audio.voice_consents", kind, "list get update delete"),
        *_crud("/chatkit/threads", "thread_id", "chatkit.threads", kind, "list get delete"),
        _op("GET", "/chatkit/threads/{thread_id}/items", "chatkit.threads.items", kind),
    ]


def _containers() -> list[Operation]:
    kind: Kind = "stored"
    root, files = "/containers", "/containers/{container_id}/files"
    container, file = f"{root}/{{container_id}}", f"{files}/{{file_id}}"
    read: dict[str, Any] = {"grant_reads": _CONTAINER}
    made: Scopes = (("container:/id", "call"), ("container:/id", "file:body:/file_ids/*"))
    added: Scopes = (
        ("container:path:container_id", "call"),
        ("container:path:container_id", "file:body:/file_id"),
    )
    return [
        _op("GET", root, "containers.list", kind, grant_reads=(("container", "answer:/id"),)),
        _op("POST", root, "containers.create", kind, grant_links=made),
        _op("GET", container, "containers.get", kind, **read),
        _op("DELETE", container, "containers.delete", kind),
        _op("GET", files, "containers.files.list", kind, **read),
        _op("POST", files, "containers.files.create", kind, **read, grant_links=added),
        _op("GET", file, "containers.files.get", kind, **read),
        _op("DELETE", file, "containers.files.delete", kind),
        _op("GET", f"{file}/content", "containers.files.content", kind, **read),
    ]


def _evals() -> list[Operation]:
    kind: Kind = "stored"
    root, eval_ = "/evals", "/evals/{eval_id}"
    runs, run = f"{eval_}/runs", f"{eval_}/runs/{{run_id}}"
    eval_links: Scopes = (("eval:/id", "call"),)
    return [
        _op("GET", root, "evals.list", kind, grant_reads=(("eval", "answer:/id"),)),
        _op("POST", root, "evals.create", kind, grant_links=eval_links),
        _op("GET", eval_, "evals.get", kind, grant_reads=_EVAL),
        _op("POST", eval_, "evals.update", kind, grant_reads=_EVAL, grant_links=eval_links),
        _op("DELETE", eval_, "evals.delete", kind),
        _op("GET", runs, "evals.runs.list", kind, grant_reads=_EVAL, grant_links=_RUN_LINKS),
        _op("POST", runs, "evals.runs.create", kind, grant_reads=_EVAL, grant_links=_RUN_LINKS),
        _op("GET", run, "evals.runs.get", kind, grant_reads=_RUN, grant_links=_RUN_LINKS),
        _op("DELETE", run, "evals.runs.delete", kind),
        _op("POST", run, "evals.runs.cancel", kind, "none", grant_reads=_RUN),
        _op("GET", f"{run}/output_items", "evals.runs.output_items.list", kind, grant_reads=_RUN),
        _op("GET", f"{run}/output_items/{{output_item_id}}", "evals.runs.output_items.get", kind, grant_reads=_RUN),
    ]


def _training() -> list[Operation]:
    kind: Kind = "training"
    learnt = ("/training_file", "/validation_file")
    root, job = "/fine_tuning/jobs", "/fine_tuning/jobs/{fine_tuning_job_id}"
    return [
        _op("POST", root, "fine_tuning.jobs.create", kind, produces=(("job", "/id", learnt),), trains_on=learnt),
        _op("GET", root, "fine_tuning.jobs.list", kind),
        _op("GET", job, "fine_tuning.jobs.get", kind),
        _op("POST", f"{job}/cancel", "fine_tuning.jobs.cancel", kind, "none"),
        _op("POST", f"{job}/pause", "fine_tuning.jobs.pause", kind, "none"),
        _op("POST", f"{job}/resume", "fine_tuning.jobs.resume", kind, "none"),
        _op("GET", f"{job}/checkpoints", "fine_tuning.jobs.checkpoints", kind),
        _op("GET", f"{job}/events", "fine_tuning.jobs.events", kind),
        _op("POST", "/fine_tuning/alpha/graders/run", "fine_tuning.graders.run", kind),
        _op("POST", "/fine_tuning/alpha/graders/validate", "fine_tuning.graders.validate", kind),
    ]


def _administration() -> list[Operation]:
    """What changes accounts and rights, or hands out credentials that lead around the guard (realtime, chatkit)."""
    kind: Kind = "administration"
    permissions = "/fine_tuning/checkpoints/{fine_tuned_model_checkpoint}/permissions"
    verbs = "list create delete"
    return [
        _op("DELETE", "/models/{model}", "models.delete", kind),
        *_crud(permissions, "permission_id", "fine_tuning.checkpoints.permissions", kind, verbs),
        _op("POST", "/chatkit/sessions", "chatkit.sessions.create", kind),
        _op("POST", "/chatkit/sessions/{session_id}/cancel", "chatkit.sessions.cancel", kind, "none"),
        _op("POST", "/realtime/sessions", "realtime.sessions.create", kind),
        _op("POST", "/realtime/client_secrets", "realtime.client_secrets.create", kind),
        _op("POST", "/realtime/transcription_sessions", "realtime.transcription_sessions.create", kind),
        _op("POST", "/realtime/translations/client_secrets", "realtime.translations.client_secrets.create", kind),
        _op("POST", "/realtime/calls", "realtime.calls.create", kind, "other"),
        *(
            _op("POST", f"/realtime/calls/{{call_id}}/{verb}", f"realtime.calls.{verb}", kind)
            for verb in ("accept", "hangup", "refer", "reject")
        ),
        *(
            _op(method, f"/{root}/**", root, kind, "json" if method not in ("GET", "DELETE") else "none")
            for root in ("organization", "projects")
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
        ),
    ]


_DEPLOYED = [
    "chat.completions.create",
    "completions.create",
    "embeddings.create",
    "audio.transcriptions",
    "audio.translations",
    "audio.speech",
    "images.generate",
    "images.edit",
]


def _deployments() -> list[Operation]:
    """Azure's paths: what a deployment serves stands below it."""
    rows = (row for row in _inference() if row.name in _DEPLOYED)
    return [replace(row, path=f"/deployments/{{deployment}}{row.path}") for row in rows]


TABLE: tuple[Operation, ...] = (
    *_inference(),
    *_deployments(),
    *_conversations(),
    *_threads(),
    *_files(),
    *_workshop(),
    *_training(),
    *_administration(),
)


class _Node:
    """One segment of the tree of paths. ``rest`` holds operations that take whatever follows."""

    __slots__ = ("children", "operations", "parameter", "rest")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.operations: dict[str, Operation] = {}
        self.rest: dict[str, Operation] = {}

    def add(self, segments: Sequence[str], operation: Operation) -> None:
        if not segments:
            self.operations[operation.method] = operation
        elif segments[0] == "**":
            self.rest[operation.method] = operation
        elif segments[0].startswith("{"):
            self.parameter = self.parameter or _Node()
            self.parameter.add(segments[1:], operation)
        else:
            self.children.setdefault(segments[0], _Node()).add(segments[1:], operation)

    def find(self, method: str, segments: Sequence[str], values: tuple[str, ...] = ()) -> _Match | None:
        """Literal segments win over parameters, parameters over ``**``."""
        if not segments:
            return _matched(self.operations.get(method), values)
        child = self.children.get(segments[0])
        found = child.find(method, segments[1:], values) if child else None
        if found is None and self.parameter:
            found = self.parameter.find(method, segments[1:], (*values, segments[0]))
        return found or _matched(self.rest.get(method), (*values, "/".join(segments)))


_Match = tuple[Operation, Params]


def _matched(operation: Operation | None, values: tuple[str, ...]) -> _Match | None:
    if operation is None:
        return None
    names = [s.strip("{}") if s != "**" else "rest" for s in operation.path.split("/") if s[:1] == "{" or s == "**"]
    return operation, tuple(zip(names, values, strict=True))


def _tree() -> _Node:
    root = _Node()
    for operation in TABLE:
        root.add(operation.path.split("/")[1:], operation)
    return root


_TREE = _tree()
COMPLETE = "uploads.complete"
UPLOADS = frozenset(("uploads.create", "uploads.parts.create", COMPLETE, "uploads.cancel"))
"""Steps of an upload in parts, which the guard answers itself until the file is whole."""


def find(method: str, path: str) -> tuple[Operation, Params] | None:
    """The operation and its path parameters (as written, undecoded), or None: unknown, and refused by default.

    ``path`` starts with ``/`` and has no query; a leading ``/v1`` is accepted.
    """
    if not path.startswith("/"):
        return None
    segments = path.split("/")[1:]
    if segments[0] == "v1":
        segments = segments[1:]
    if not segments or not all(map(_plain, segments)):
        return None
    return _TREE.find(method, segments)


def _plain(segment: str) -> bool:
    """Whether every server reads the segment the same way."""
    if not _SEGMENT.fullmatch(segment) or not segment.strip("."):
        return False
    if "%" not in segment:
        return True
    decoded = unquote_to_bytes(segment)
    return not _BAD_DECODED.search(decoded) and bool(decoded.strip(b". "))


def purposed(operation: Operation, purpose: str) -> Operation:
    """What becomes of a file depends on what it is uploaded for: training, the requests of a batch, or storage."""
    kinds: dict[str, Kind] = {"fine-tune": "training", "batch": "inference"}
    return replace(operation, kind=kinds.get(purpose, operation.kind)) if operation.kind == "stored" else operation
