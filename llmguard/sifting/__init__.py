"""Sifting: the one way in which files are cleaned. Blocks of a file in; the bytes that may leave and a tally out.

``blocks`` cuts a file where records end, a ``Sifter`` cleans them one by one, a ``Recipe`` makes one in another
process.
"""

from __future__ import annotations

from llmguard.sifting.blocks import MAX_RECORD, Block, Layout, blocks
from llmguard.sifting.choices import Choice, Choices, Decided, Met
from llmguard.sifting.recipe import Recipe
from llmguard.sifting.records import Problem
from llmguard.sifting.sifter import Cleaned, Excepting, Sifted, Sifter, Watch
from llmguard.sifting.tally import Tally

__all__ = [
    "MAX_RECORD",
    "Block",
    "Choice",
    "Choices",
    "Cleaned",
    "Decided",
    "Excepting",
    "Layout",
    "Met",
    "Problem",
    "Recipe",
    "Sifted",
    "Sifter",
    "Tally",
    "Watch",
    "blocks",
]
