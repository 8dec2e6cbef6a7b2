"""A DocumentSource that takes a turn at the gate of its host before each request, and reports how the request ended."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple, Protocol

import structlog

from services.fetcher.gate.retry_after import retry_after_s
from services.fetcher.gate.state import Granted, RequestOutcome, TurnRequest, Wait
from services.fetcher.gate.waits import Waits
from services.fetcher.planning.windows import DueWindow
from services.fetcher.sources.documents import Absence, Deferred, Document, DocumentSource, SourceUnavailable, Throttled
from shared.clock import Clock, later
from shared.errors import InvalidDocument, TransientError

# How long a request waits in its thread. The back-fill leaves the threads to the current day.
LIVE_PATIENCE_S = 5.0
HISTORY_PATIENCE_S = 1.0
# A window that is put back asks again after this time at the latest, because an operator can end a wait.
MAX_DEFERRAL_S = 30.0
# When a window is due again that was put back because the database is unavailable.
DATABASE_RETRY_S = 2.0


class Gate(Protocol):
    """The gate of the source's host (postgres_gate.py). Thread-safe. Raises TransientError while it is unavailable."""

    def take(self, request: TurnRequest) -> Granted | Wait: ...

    def report(self, outcome: RequestOutcome) -> Wait | None: ...

    def now(self) -> datetime: ...

    def close(self) -> None: ...


class Surroundings(NamedTuple):
    """What a GatedSource depends on beside its gate. `sleep` ends early when `wake` is called. `now_s` is a monotonic
    clock, `new_id` returns a new id of a turn."""

    clock: Clock
    sleep: Callable[[float], object]
    wake: Callable[[], object]
    now_s: Callable[[], float]
    new_id: Callable[[], str]
    waits: Waits


class GatedSource:
    """Makes no request without a turn, also while the database is unavailable.

    A short wait is waited for; for a longer one Deferred is raised. A turn whose end cannot be reported, because the
    process was killed, ends after `lease_s`.
    """

    def __init__(self, inner: DocumentSource, gate: Gate, lease_s: float, surroundings: Surroundings) -> None:
        self._inner = inner
        self._gate = gate
        self._lease_s = lease_s
        self._surroundings = surroundings
        self._is_closed = False
        self._log = structlog.get_logger(__name__)

    def fetch(self, due: DueWindow, etag: str | None) -> Document | Absence:
        turn, feed = self._take(due), due.window.feed
        try:
            answer = self._inner.fetch(due, etag)
        except InvalidDocument:
            self._gate.report(RequestOutcome(turn, feed, "success"))  # of the server, which answered
            raise
        except Throttled as error:
            self._report_throttled(turn, feed, error)
            raise
        except BaseException as error:
            wait = self._gate.report(RequestOutcome(turn, feed, "failure"))
            if isinstance(error, TransientError) and wait is not None and wait.reason == "breaker":
                raise SourceUnavailable(f"{error}; no further request for {wait.seconds:.0f} s") from error
            raise
        self._gate.report(RequestOutcome(turn, feed, "success"))
        return answer

    def close(self) -> None:
        self._is_closed = True
        self._surroundings.wake()
        self._inner.close()
        self._gate.close()

    def _take(self, due: DueWindow) -> str | None:
        """The id of a turn. Raises Deferred."""
        around = self._surroundings
        live = not due.historical
        place = f"{due.window.feed}/{due.window.date}"
        request = TurnRequest(around.new_id(), place, live, self._lease_s)
        deadline_s = around.now_s() + (LIVE_PATIENCE_S if live else HISTORY_PATIENCE_S)
        while not self._is_closed:
            try:
                answer = self._gate.take(request)
            except TransientError as error:
                around.waits.add("database", DATABASE_RETRY_S)
                raise Deferred(later(around.clock, DATABASE_RETRY_S), "database") from error
            if isinstance(answer, Granted):
                around.waits.clear()
                return answer.turn
            around.waits.add(answer.reason, answer.seconds)
            if around.now_s() + answer.seconds > deadline_s:
                raise Deferred(later(around.clock, min(answer.seconds, MAX_DEFERRAL_S)), answer.reason)
            around.sleep(answer.seconds)
        raise TransientError("the fetcher is stopping")

    def _report_throttled(self, turn: str | None, feed: str, error: Throttled) -> None:
        """Without a valid Retry-After the answer is a failure like any other."""
        asked_s = retry_after_s(error.retry_after, error.date, self._gate.now())
        if asked_s is None:
            self._gate.report(RequestOutcome(turn, feed, "failure"))
            return
        self._gate.report(RequestOutcome(turn, feed, "throttled", asked_s))
        self._log.warning("source_asked_to_wait", feed=feed, seconds=asked_s, answer=str(error))
