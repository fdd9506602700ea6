"""The mint: placeholders of one call, and the vault entries behind them.

Never does: reading a vault. Invariant: a placeholder of a call is unlike anything that the call's own text looks like,
and no two values share one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from llmguard.model import Finding, Origin, TextPart, VaultEntry
from llmguard.vault import TAG_LENGTH, Vault

TRUST: tuple[Origin, ...] = ("user", "assistant", "tool", "system")
"""Origins, the most trusted first."""
_RUN = re.compile(rf"[A-Za-z0-9]{{{TAG_LENGTH},}}")
_FORM = 4
"""Characters that a shorter form of a name adds to the tag of its person."""


class Mint:
    """Placeholders of one call: unique, and unlike anything that the call's own text looks like.

    The tag of a shorter form of a name begins with the tag of the whole name: one person, and each form comes back as
    it was written.
    """

    def __init__(
        self,
        vault: Vault,
        tenant: str,
        parts: Sequence[TextPart],
        taken: frozenset[str],
        links: Mapping[str, str],
    ) -> None:
        self.entries: dict[str, VaultEntry] = {}
        self._vault, self._tenant, self._taken = vault, tenant, taken
        self._parts = parts
        self._links = links
        self._issued: dict[tuple[str, str], str] = {}
        self._runs: frozenset[str] | None = None
        self._prefixes: dict[int, frozenset[str]] = {}

    def placeholder(self, finding: Finding, value: str, origin: Origin) -> str:
        key = (finding.type, value)
        name = self._issued.get(key)
        if name is None:
            name = self._issued[key] = self._free(finding.type, value)
            self.entries[name] = VaultEntry(name, value, finding.type, finding.category, origin)
        elif TRUST.index(origin) < TRUST.index(self.entries[name].origin):
            self.entries[name] = replace(self.entries[name], origin=origin)
        return name

    def _free(self, type_: str, value: str) -> str:
        length = TAG_LENGTH
        while True:
            name = self._name(type_, value, length)
            if name not in self._taken and name not in self.entries and not self._looked_like(name):
                return name
            length += 4 if length > TAG_LENGTH else 2

    def _name(self, type_: str, value: str, length: int) -> str:
        name = self._vault.placeholder(self._tenant, type_, value, length)
        whole = self._links.get(value) if type_ == "PERSON" else None
        if whole is None:
            return name
        person = self._vault.placeholder(self._tenant, type_, whole)
        return f"{person[:-1]}{name[len(type_) + 2 :][: length - TAG_LENGTH + _FORM]}]"

    def _looked_like(self, name: str) -> bool:
        tag = name[1:-1].rpartition("_")[2].upper()
        if self._runs is None:
            self._runs = frozenset(run.upper() for part in self._parts for run in _RUN.findall(part.text))
        if len(tag) not in self._prefixes:
            self._prefixes[len(tag)] = frozenset(run[: len(tag)] for run in self._runs)
        return tag in self._prefixes[len(tag)]
