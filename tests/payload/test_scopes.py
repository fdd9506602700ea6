"""Scopes of files, batches, evals and containers: what belongs to what, by their answers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.payload.operations import TABLE, find
from llmguard.payload.scopes import MANY, belonging, filed, linked

BATCH = {"id": "batch_1", "input_file_id": "file-in", "output_file_id": "file-out", "error_file_id": None}
BATCH_LINKS = (("batch:batch_1", "file:file-in"), ("file:file-out", "batch:batch_1"))
RUN = {"id": "evalrun_1", "eval_id": "eval_1", "data_source": {"source": {"type": "file_id", "id": "file-1"}}}


def links(method: str, path: str, answer: Any, sent: Any = None, calls: tuple[str, ...] = ()) -> Any:
    found = find(method, path)
    assert found is not None
    return linked(found[0], answer, found[1], sent, calls)


@pytest.mark.parametrize(
    ("method", "path", "answer", "wanted"),
    [
        ("POST", "/files", {"id": "file-1"}, [("file:file-1", "call:1")]),
        ("POST", "/batches", BATCH, [("batch:batch_1", "call:1"), *BATCH_LINKS]),
        ("GET", "/batches/batch_1", BATCH, [("batch:batch_1", "call:1"), *BATCH_LINKS]),
        (
            "POST",
            "/uploads/upload_1/complete",
            {"id": "upload_1", "file": {"id": "file-1"}},
            [("upload:upload_1", "call:1"), ("file:file-1", "upload:upload_1")],
        ),
        (
            "POST",
            "/evals/eval_1/runs",
            RUN,
            [
                ("eval_run:evalrun_1", "call:1"),
                ("eval_run:evalrun_1", "eval:eval_1"),
                ("eval_run:evalrun_1", "file:file-1"),
            ],
        ),
        ("POST", "/responses", {"id": "resp_1"}, []),
    ],
)
def test_an_answer_says_what_belongs_to_what(method: str, path: str, answer: Any, wanted: Any) -> None:
    assert links(method, path, answer, calls=("call:1",)) == tuple(wanted)


def test_a_listing_says_it_of_each() -> None:
    other = {"id": "batch_2", "input_file_id": "file-in"}
    listed = {"object": "list", "data": [BATCH, other, 7]}
    assert links("GET", "/batches", listed) == (*BATCH_LINKS, ("batch:batch_2", "file:file-in"))


def test_files_of_a_container_are_named_in_the_request() -> None:
    sent = {"name": "c", "file_ids": ["file-1", 2, "file-3"]}
    assert links("POST", "/containers", {"id": "cntr_1"}, sent) == (
        ("container:cntr_1", "file:file-1"),
        ("container:cntr_1", "file:file-3"),
    )


def test_what_was_sent_without_placeholders_is_no_source() -> None:
    assert links("POST", "/files", {"id": "file-1"}) == ()


@pytest.mark.parametrize(
    ("method", "path", "answer", "wanted"),
    [
        ("GET", "/files/file-1/content", None, ["file:file-1"]),
        ("GET", "/files", {"data": [{"id": "file-1"}, {"id": "file-2"}]}, ["file:file-1", "file:file-2"]),
        ("GET", "/batches/batch_1", BATCH, ["batch:batch_1"]),
        ("GET", "/evals/eval_1/runs/evalrun_1/output_items", {"data": []}, ["eval_run:evalrun_1", "eval:eval_1"]),
        (
            "POST",
            "/vector_stores/vs_1/search",
            {"data": [{"file_id": "file-1"}]},
            ["vector_store:vs_1", "file:file-1"],
        ),
        ("GET", "/containers/cntr_1/files/cfile_1/content", None, ["container:cntr_1"]),
    ],
)
def test_an_answer_may_restore_what_belongs_to_its_objects(method: str, path: str, answer: Any, wanted: Any) -> None:
    found = find(method, path)
    assert found is not None
    assert filed(found[0])
    assert belonging(found[0], answer, found[1]) == tuple(wanted)


def test_answers_of_models_are_not_looked_up_piece_by_piece() -> None:
    assert {op.kind for op in TABLE if filed(op)} <= {"inference", "stored", "training"}
    assert not [op.name for op in TABLE if filed(op) and op.name.startswith(("chat", "responses", "conversations"))]


def test_only_so_many_objects_count() -> None:
    found = find("GET", "/files")
    assert found is not None
    assert len(belonging(found[0], {"data": [{"id": f"file-{i}"} for i in range(MANY + 5)]})) == MANY


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda x: (
        st.lists(x, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "data", "file_id", "file_ids", "input_file_id", "file", "source"]), x)
    ),
    max_leaves=12,
)


@given(JSON, JSON, st.sampled_from(TABLE))
def test_no_answer_is_so_odd_that_it_raises(answer: Any, sent: Any, operation: Any) -> None:
    pairs = linked(operation, answer, (("file_id", "f"),), sent, ("call:1",))
    assert all(type(scope) is type(of) is str and scope != of for scope, of in pairs)
    belonging(operation, answer)
