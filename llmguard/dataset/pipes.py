"""Pipes: messages between the process that reads and writes files and those that clean.

A message is two lengths, a pickled head and plain bytes, which are not copied into the pickle. Both ends are ours: a
worker is our own child, and nobody else can write into its pipes.
"""

from __future__ import annotations

import os
import pickle
import struct
from typing import Any

_LENGTHS = struct.Struct("<QQ")


def send(fd: int, head: Any, data: bytes = b"") -> None:
    """Raises OSError if nobody reads."""
    packed = pickle.dumps(head, pickle.HIGHEST_PROTOCOL)
    _write(fd, _LENGTHS.pack(len(packed), len(data)) + packed)
    _write(fd, data)


def receive(fd: int) -> tuple[Any, bytes]:
    """Raises EOFError if the other end is gone, also in the middle of a message."""
    head, data = _LENGTHS.unpack(_read(fd, _LENGTHS.size))
    return pickle.loads(_read(fd, head)), bytes(_read(fd, data))  # noqa: S301  from our own child or parent


def _write(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def _read(fd: int, size: int) -> bytearray:
    whole = bytearray(size)
    left = memoryview(whole)
    while left:
        count = os.readv(fd, [left])
        if not count:
            raise EOFError
        left = left[count:]
    return whole
