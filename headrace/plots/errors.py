"""Errors of pictures."""

from __future__ import annotations

from shared.errors import HeadraceError


class NothingToPlot(HeadraceError):
    """The selected rows do not suffice for the picture. The message says what is missing."""
