"""What tests of sifting share: an engine, keys, and values that are made when they run."""

from __future__ import annotations

import json
from typing import Any

from llmguard import catalogue
from llmguard.detection import Engine, Scanner
from llmguard.sifting import Block, Problem, Sifted, Sifter, Tally, blocks
from llmguard.vault import Keyring, Vault

SCANNER = Scanner(Engine(catalogue.load()))
VAULT = Vault(Keyring.generate())
EMAIL = "jane.doe@example.com"
PHONE = "+1 415 555 0123"
KEY = "AKIA" + "IOSFODNN7EXAMPLE"[:12] + "QX7Z"
CARD = "4111 1111 1111 1111"
VALUES = (EMAIL, PHONE, CARD)


def surrogate(type_: str, category: str) -> str:
    return "surrogate"


def chat(*texts: str, **more: Any) -> bytes:
    roles = ("user", "assistant") * len(texts)
    messages = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]
    return json.dumps({"messages": messages, **more}, ensure_ascii=False).encode() + b"\n"


def sift(data: bytes, layout: Any = "jsonl", size: int = 1 << 20, *, chunk: int = 1000, **options: Any) -> Sifted:
    """A whole file, block by block, as one answer."""
    sifter = Sifter(SCANNER, VAULT, "default", layout=layout, **options)
    done = [sifter.block(b) for b in blocks(chunked(data, chunk), layout, size)]
    problems = tuple(p for s in done for p in s.problems)
    entries = {e.placeholder: e for s in done for e in s.entries}
    tally = sum((s.tally for s in done), Tally())
    whole = b"".join(s.data for s in done)
    return Sifted(whole, sum(s.records for s in done), tally, tuple(entries.values()), problems)


def chunked(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


__all__ = ["CARD", "EMAIL", "KEY", "PHONE", "SCANNER", "VALUES", "VAULT", "Block", "Problem", "chat", "sift"]
