"""Styles: how a value is redacted. Only placeholders come back in the answer; the others are one way."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, get_args

from llmguard.errors import ConfigError
from llmguard.model import Category

Style = Literal["placeholder", "surrogate", "mask", "hash", "drop"]
STYLES: tuple[Style, ...] = get_args(Style)
_TYPE = re.compile(r"[A-Z][A-Z0-9_]{1,63}")


def checked_styles(styles: Any) -> dict[str, Style]:
    """Styles by type (``CREDIT_CARD``) or category (``pii``). Raises ConfigError."""
    if not isinstance(styles, Mapping):
        raise ConfigError('styles is a table: CREDIT_CARD = "mask"')
    for name, style in styles.items():
        if not (name in get_args(Category) or _TYPE.fullmatch(str(name))):
            raise ConfigError(f"styles: {name!r} is no type (CREDIT_CARD) and none of {', '.join(get_args(Category))}")
        if style not in STYLES:
            raise ConfigError(f"styles: {name} is one of {', '.join(STYLES)}")
    return {str(name): style for name, style in sorted(styles.items())}
