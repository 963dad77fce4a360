"""The one error of this package."""

from __future__ import annotations


class ExportError(ValueError):
    """Nothing was written. The message names the thing, what was expected and what came."""
