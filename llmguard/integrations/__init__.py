"""Integrations: llmguard within other people's tools. Each is a thin layer over one of the ways in; none has rules of
its own. Importing this loads none of those tools.
"""

from __future__ import annotations

from llmguard.integrations.maps import Cleaner, cleaner

__all__ = ["Cleaner", "cleaner"]
