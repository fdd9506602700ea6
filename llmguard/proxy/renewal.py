"""Renewals: identity providers are asked again about the people whose groups matter at this moment.

Those are the people with a session or with a vote on something undecided or unspent. Who is revoked there loses groups
and sessions; a provider that does not answer changes nothing, and what it said stops to count by itself in time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from llmguard import identity
from llmguard.approvals.voters import voters
from llmguard.errors import GuardUnavailable, LLMGuardError
from llmguard.identity import vouching
from llmguard.identity.oidc import Provider, Revoked
from llmguard.identity.vouching import Renewal
from llmguard.store import Store, Transaction
from llmguard.vault import Vault

log = logging.getLogger("llmguard")
EVERY = 30.0
"""Longest time between two looks, in seconds; words are due at half their life."""


class Renewals:
    """Renews what is due. ``ttl``: seconds for which a provider's word counts."""

    def __init__(self, store: Store, vault: Vault, providers: Mapping[str, Provider], ttl: float) -> None:
        self._store = store
        self._vault = vault
        self._providers = providers
        self._ttl_ms = int(ttl * 1000)
        self._every = min(EVERY, ttl / 4)

    async def run(self) -> None:
        """Until it is cancelled. Without providers there is nothing to do."""
        while self._providers:
            await asyncio.sleep(self._every)
            try:
                await asyncio.to_thread(self.once)
            except LLMGuardError as e:
                log.error("what identity providers say was not renewed: %s", e.code)

    def once(self) -> None:
        """Asks about everybody who is due, a few at a time; a provider that does not answer is left alone. Blocks."""
        silent: set[str] = set()
        while found := self._store.transact(self._due):
            renewals, now = found
            for renewal in renewals:
                if renewal.provider not in silent and not self._renewed(renewal, now):
                    silent.add(renewal.provider)

    def _due(self, tx: Transaction) -> tuple[tuple[Renewal, ...], int] | None:
        found = vouching.due(tx, self._vault, identity.live(tx, self._vault) | voters(tx))
        return (found, tx.now) if found else None

    def _renewed(self, renewal: Renewal, now: int) -> bool:
        """Whether the provider answered."""
        provider = self._providers.get(renewal.provider)
        if provider is None:  # not configured any more: its word runs out
            return True
        try:
            word = provider.renew(renewal.refresh, renewal.person.subject or "", now)
        except Revoked:
            self._store.transact(lambda tx: vouching.withdraw(tx, self._vault, renewal), durable=True)
        except LLMGuardError as e:
            log.error("the identity provider %s confirms nobody: %s", renewal.provider, e.code)
            return not isinstance(e, GuardUnavailable)
        else:
            self._store.transact(lambda tx: vouching.renew(tx, self._vault, renewal, word, self._ttl_ms), durable=True)
        return True
