"""The errors of frames. Each message says what was asked for and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from shared.errors import HeadraceError


class FramesError(HeadraceError):
    """Base class of all errors of `headrace.frames`."""


class BadArgument(FramesError, ValueError):
    """An argument of a call is invalid. The message has the argument and an example."""


class UnknownArgument(BadArgument, TypeError):
    """A call has an argument that its method does not take. The message has the most similar names."""


class UnknownView(FramesError, LookupError):
    """There is no such view. The message has the most similar names."""


class UnknownColumn(FramesError, LookupError):
    """A view, a frame or a statement names a column that does not exist. The message has the most similar names."""


class BadStatement(FramesError, ValueError):
    """PostgreSQL refused a statement. The message has its reason."""


class QueryTimeout(FramesError, TimeoutError):
    """A query took longer than the timeout of the connection."""


class DatabaseUnavailable(FramesError, ConnectionError):
    """The database cannot be reached."""


class EmbeddedServerNotRunning(DatabaseUnavailable):
    """The data directory has a database, but its server is not running."""


class NoDatabase(FramesError, LookupError):
    """There is no database in the data directory, or it is not prepared for Headrace."""


class ExtraMissing(FramesError, ImportError):
    """A call needs packages that are not installed. The message has the extra."""


class InvalidFrame(FramesError, ValueError):
    """A frame lacks the columns of a method, or its values are not those of its view."""


def suggestion(name: str, candidates: Iterable[str], limit: int = 3) -> str:
    """`; did you mean a, b?`, or all candidates if none is similar and they are few."""
    choices = list(candidates)
    matches = difflib.get_close_matches(name, choices, n=limit, cutoff=0.6)
    if matches:
        return f"; did you mean {' or '.join(matches)}?"
    return f"; there are: {', '.join(choices)}" if choices else ""
