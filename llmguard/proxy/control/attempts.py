"""Attempts: how often an address may try to log in."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from llmguard.errors import TooManyAttempts


class Attempts:
    """Login attempts of each address: ten a minute, for at most 1,024 addresses at a time. A success forgives."""

    LIMIT, SECONDS, ADDRESSES = 10, 60.0, 1024

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def take(self, address: str) -> None:
        """Counts an attempt before it is made. Raises TooManyAttempts."""
        begun, count = self._seen.pop(address, (self._clock(), 0))
        if self._clock() - begun >= self.SECONDS:
            begun, count = self._clock(), 0
        self._seen[address] = (begun, count + 1)
        if len(self._seen) > self.ADDRESSES:
            self._seen.popitem(last=False)
        if count >= self.LIMIT:
            raise TooManyAttempts("too many logins failed from this address: wait a minute")

    def forgive(self, address: str) -> None:
        self._seen.pop(address, None)

    def __len__(self) -> int:
        return len(self._seen)
