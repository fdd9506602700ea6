"""Files, batches and evals of the echoing provider: what was uploaded is kept, a batch answers every line as a call."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import md5
from typing import Any

CREATED = 1_700_000_000
Answer = Callable[[str, Any], Any]
"""What the provider answers to a path and the body of a request."""

_NAMED = re.compile(rb'name="([^"]*)"')
_FILENAME = re.compile(rb'filename="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of a file, as an answer."""

    data: bytes = field(repr=False)
    media_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class File:
    """One field of a form that has a file's name."""

    name: str
    data: bytes = field(repr=False)


def form(content_type: str, body: bytes) -> Mapping[str, Any]:
    """The fields of a form: strings, and of files a File. {} if it is none."""
    boundary = re.search(r'boundary="?([^";]+)', content_type)
    if boundary is None:
        return {}
    fields: dict[str, Any] = {}
    for part in body.split(b"--" + boundary[1].encode())[1:-1]:
        head, _, data = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name, filename = _NAMED.search(head), _FILENAME.search(head)
        if name:
            data = data.removesuffix(b"\r\n")
            fields[name[1].decode()] = File(filename[1].decode(), data) if filename else data.decode()
    return fields


class Files:
    """``answer`` says what a line of a batch is answered with."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._contents: dict[str, bytes] = {}
        self._objects: dict[str, dict[str, Any]] = {}

    def put(self, name: str, data: bytes, purpose: str, filename: str = "data.jsonl") -> Any:
        """Keeps a file. What its object is."""
        said = {"object": "file", "purpose": purpose, "filename": filename, "bytes": len(data), "status": "processed"}
        self._contents[name] = data
        self._objects[name] = {"id": name, "created_at": CREATED, **said}
        return self._objects[name]

    def create(self, asked: Mapping[str, Any], number: int) -> Any:
        file = asked.get("file")
        given = file if isinstance(file, File) else File("", b"")
        return self.put(f"file-{number}", given.data, str(asked.get("purpose")), given.name)

    def get(self, name: str) -> Any:
        return self._objects.get(name, {"object": "echo"})

    def listed(self, prefix: str) -> Any:
        data = [value for name, value in self._objects.items() if name.startswith(prefix)]
        return {"object": "list", "data": data, "has_more": False, "first_id": None, "last_id": None}

    def content(self, name: str) -> Content:
        return Content(self._contents.get(name, b""))

    # ----------------------------------------------------------------- uploads in parts

    def upload(self, asked: Mapping[str, Any], number: int) -> Any:
        name = f"upload_{number}"
        told = {"object": "upload", "status": "pending", "created_at": CREATED, "expires_at": CREATED + 3600}
        self._objects[name] = {"id": name, **told, **asked}
        return self._objects[name]

    def part(self, upload: str, asked: Mapping[str, Any], number: int) -> Any:
        name, data = f"part_{number}", asked.get("data")
        self._contents[name] = data.data if isinstance(data, File) else b""
        return {"id": name, "object": "upload.part", "created_at": CREATED, "upload_id": upload}

    def complete(self, upload: str, asked: Mapping[str, Any], number: int) -> Any:
        """The upload with its file, which fails if it has another size or MD5 than was said."""
        begun = self._objects.get(upload, {})
        data = b"".join(self._contents.pop(part, b"") for part in asked.get("part_ids", ()))
        right = begun.get("bytes") == len(data) and asked.get("md5") in (
            None,
            md5(data, usedforsecurity=False).hexdigest(),
        )
        file = (
            self.put(f"file-{number}", data, str(begun.get("purpose")), str(begun.get("filename"))) if right else None
        )
        return begun | {"status": "completed" if right else "failed", "file": file}

    # ----------------------------------------------------------------- batches

    def batch(self, asked: Mapping[str, Any], number: int) -> Any:
        """A batch that has just begun. Whoever asks for it again finds it completed."""
        name, given = f"batch_{number}", str(asked.get("input_file_id"))
        rows = _rows(self._contents.get(given, b""))
        outputs, errors = b"".join(self._outputs(rows)), b"".join(self._errors(rows))
        self.put(f"file-{number}o", outputs, "batch_output")
        self.put(f"file-{number}e", errors, "batch_output")
        begun = {
            "id": name,
            "object": "batch",
            "endpoint": asked.get("endpoint"),
            "errors": None,
            "input_file_id": given,
        }
        begun |= {"completion_window": "24h", "created_at": CREATED, "metadata": asked.get("metadata") or {}}
        ends = {"status": "completed", "output_file_id": f"file-{number}o", "error_file_id": f"file-{number}e"}
        self._objects[name] = begun | ends
        return begun | {"status": "validating", "output_file_id": None, "error_file_id": None}

    def _outputs(self, rows: list[Any]) -> Iterator[bytes]:
        for i, row in enumerate(rows):
            if "fail" not in row["custom_id"]:
                said = {"status_code": 200, "request_id": f"req_{i}", "body": self._answer(row["url"], row["body"])}
                yield _line({"id": f"batch_req_{i}", "custom_id": row["custom_id"], "response": said, "error": None})

    def _errors(self, rows: list[Any]) -> Iterator[bytes]:
        for i, row in enumerate(rows):
            if "fail" in row["custom_id"]:
                error = {"code": "failed", "message": f"cannot answer {json.dumps(row['body'])}"}
                yield _line({"id": f"batch_req_{i}", "custom_id": row["custom_id"], "response": None, "error": error})

    # ----------------------------------------------------------------- evals

    def eval(self, asked: Mapping[str, Any], number: int) -> Any:
        name = f"eval_{number}"
        self._objects[name] = {"id": name, "object": "eval", "created_at": CREATED, **asked}
        return self._objects[name]

    def run(self, eval_id: str, asked: Mapping[str, Any], number: int) -> Any:
        name = f"evalrun_{number}"
        told = {"object": "eval.run", "eval_id": eval_id, "status": "completed", "created_at": CREATED}
        self._objects[name] = {"id": name, **told, **asked}
        return self._objects[name]

    def outputs(self, run_id: str) -> Any:
        """The items of a run: every line of its file, and what was answered to it."""
        source = self._objects.get(run_id, {}).get("data_source", {}).get("source", {})
        rows = [row["item"] for row in (*_rows(self._contents.get(source.get("id"), b"")), *source.get("content", ()))]
        data = [
            {"id": f"outputitem_{i}", "object": "eval.run.output_item", "run_id": run_id, "status": "pass"}
            | {"datasource_item_id": i, "datasource_item": row, "results": []}
            | {"sample": {"output": [{"role": "assistant", "content": f"You wrote: {json.dumps(row)}"}]}}
            for i, row in enumerate(rows)
        ]
        return {"object": "list", "data": data, "has_more": False, "first_id": None, "last_id": None}


def _rows(data: bytes) -> list[Any]:
    return [json.loads(line) for line in data.splitlines()]


def _line(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"
