"""Generated identities and secrets: the right shape, nobody's, and different for every seed."""

from __future__ import annotations

import random
import string

_ALNUM = string.ascii_letters + string.digits


class Fakes:
    """``Fakes(seed).card()`` and so on; the same seed gives the same values in the same order."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311  values for tests, not for secrecy

    def _some(self, alphabet: str, length: int) -> str:
        return "".join(self._random.choices(alphabet, k=length))

    def email(self) -> str:
        """A mailbox at a name that does not exist."""
        first, last, host = (self._some(string.ascii_lowercase, n) for n in (6, 8, 9))
        return f"{first}.{last}@{host}.org"

    def card(self) -> str:
        """A 16-digit card number of Visa's range with a right check digit (ISO/IEC 7812-1)."""
        digits = "4" + self._some(string.digits, 14)
        doubled = [int(d) * (2 if i % 2 == 0 else 1) for i, d in enumerate(digits)]
        return digits + str(-sum(d // 10 + d % 10 for d in doubled) % 10)

    def cloud_key(self) -> str:
        """An access key id in the shape of AWS."""
        return "AKIA" + self._some("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16)

    def token(self) -> str:
        """A personal access token in the shape of GitHub."""
        return "ghp_" + self._some(_ALNUM, 36)
