"""Recipe: all that a process needs to know to sift: it can be pickled, and makes its own Sifter.

Never does: open the database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from llmguard import catalogue
from llmguard.config import Settings
from llmguard.detection import Engine, Scanner, chosen, match
from llmguard.model import Category
from llmguard.payload.lines import LineKind
from llmguard.sifting.blocks import Layout
from llmguard.sifting.sifter import Choice, Sifter, Watch
from llmguard.vault import Keyring, Vault


@dataclass(frozen=True)
class Recipe:
    """``style`` of all types but those that ``styles`` names (types or categories). ``names``: None as the settings
    say. The rest as in Sifter.
    """

    settings: Settings
    layout: Layout = "jsonl"
    line: LineKind | None = None
    style: str = "surrogate"
    styles: Mapping[str, str] = field(default_factory=dict)
    drop: bool = False
    names: bool | None = None
    names_budget: int | None = None
    decisions: Mapping[int, Choice] = field(default_factory=dict)
    avoid: frozenset[bytes] = frozenset()

    def style_of(self, type_: str, category: Category) -> str:
        return self.styles.get(type_) or self.styles.get(category) or self.style

    def scanner(self) -> Scanner:
        """Raises ConfigError."""
        settings = self.settings
        wanted = settings.names if self.names is None else self.names
        engine = Engine(catalogue.load(settings.detectors), cache=settings.cache, matcher=match.configured(settings))
        return Scanner(engine, chosen(wanted, settings.names_thresholds))

    def sifter(self, scanner: Scanner | None = None, watch: Watch | None = None) -> Sifter:
        """Opens the engine (unless a ``scanner`` is open already) and the keys. Raises ConfigError."""
        return Sifter(
            scanner or self.scanner(),
            Vault(Keyring.open(self.settings.data / "keys")),
            self.settings.tenant,
            layout=self.layout,
            line=self.line,
            style=self.style_of,
            drop=self.drop,
            decisions=self.decisions,
            avoid=self.avoid,
            names_budget=self.names_budget,
            watch=watch,
        )
