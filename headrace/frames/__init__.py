"""Typed DataFrames of the analytics views, read-only. docs/frames.md is the guide.

Example:
    from headrace.frames import connect

    hr = connect()
    hr.events("2026-01-31", venue=7)
"""

from headrace.frames.accessor.accessor import HeadraceAccessor
from headrace.frames.as_of.snapshot import AsOf
from headrace.frames.client import Headrace, connect
from headrace.frames.errors import (
    BadArgument,
    BadStatement,
    DatabaseUnavailable,
    EmbeddedServerNotRunning,
    ExtraMissing,
    FramesError,
    InvalidFrame,
    NoDatabase,
    QueryTimeout,
    UnknownArgument,
    UnknownColumn,
    UnknownView,
)

__all__ = [
    "AsOf",
    "BadArgument",
    "BadStatement",
    "DatabaseUnavailable",
    "EmbeddedServerNotRunning",
    "ExtraMissing",
    "FramesError",
    "Headrace",
    "HeadraceAccessor",
    "InvalidFrame",
    "NoDatabase",
    "QueryTimeout",
    "UnknownArgument",
    "UnknownColumn",
    "UnknownView",
    "connect",
]
