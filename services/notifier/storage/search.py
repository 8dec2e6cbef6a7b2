"""Turns what a person typed into a pattern of SQL's LIKE."""

from __future__ import annotations


def pattern_of(typed: str) -> str:
    """The pattern for texts that contain what was typed, literally."""
    literal = typed.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{literal}%"
