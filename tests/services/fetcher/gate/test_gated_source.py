"""What a source does with the answers of its gate, and what it reports."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.fetcher.gate.gated_source import (
    DATABASE_RETRY_S,
    HISTORY_PATIENCE_S,
    LIVE_PATIENCE_S,
    MAX_DEFERRAL_S,
    GatedSource,
    Surroundings,
)
from services.fetcher.gate.state import Granted, RequestOutcome, TurnRequest, Wait
from services.fetcher.gate.waits import Waits
from services.fetcher.planning.windows import DueWindow, Window
from services.fetcher.sources.documents import Absence, Deferred, Document, SourceUnavailable, Throttled
from shared.clock import VirtualClock
from shared.errors import InvalidDocument, TransientError
from tests.services.fetcher.synthetic_documents import DAY, NOON, SettableClock

HISTORY, LIVE = DueWindow(Window("cards", DAY), historical=True), DueWindow(Window("cards", DAY), historical=False)
LEASE_S = 40.0


class Setup:
    """A gate that gives the answers of a list, then turns; a source that calls a function; a clock that sleeps move."""

    def __init__(self, *answers: Granted | Wait | TransientError, clock: Any = None) -> None:
        self.answers = list(answers)
        self.requests: list[TurnRequest] = []
        self.reports: list[RequestOutcome] = []
        self.slept: list[float] = []
        self.counts: list[str] = []
        self.now_s = 1000.0
        self.wait_after_report: Wait | None = None
        self.answer: Callable[[], Document | Absence] = lambda: Absence.NOT_PUBLISHED
        self.waits = Waits(lambda: self.now_s, self.counts.append)
        surroundings = Surroundings(
            clock or SettableClock(), self._sleep, lambda: None, lambda: self.now_s, lambda: "turn", self.waits
        )
        self.documents = GatedSource(_Source(self), _Gate(self), LEASE_S, surroundings)

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


class _Source:
    def __init__(self, setup: Setup) -> None:
        self._setup = setup

    def fetch(self, due: DueWindow, etag: str | None) -> Document | Absence:
        return self._setup.answer()

    def close(self) -> None:
        """Nothing to close."""


class _Gate:
    def __init__(self, setup: Setup) -> None:
        self._setup = setup

    def take(self, request: TurnRequest) -> Granted | Wait:
        self._setup.requests.append(request)
        answer = self._setup.answers.pop(0) if self._setup.answers else Granted("turn")
        if isinstance(answer, TransientError):
            raise answer
        return answer

    def report(self, outcome: RequestOutcome) -> Wait | None:
        self._setup.reports.append(outcome)
        return self._setup.wait_after_report

    def now(self) -> datetime:
        return datetime(2031, 5, 4, 12, tzinfo=UTC)

    def close(self) -> None:
        """Nothing to close."""


def raising(error: BaseException) -> Callable[[], Document | Absence]:
    def answer() -> Document | Absence:
        raise error

    return answer


def test_a_request_with_a_turn_is_made_and_reported() -> None:
    setup = Setup()

    assert setup.documents.fetch(LIVE, None) is Absence.NOT_PUBLISHED

    assert setup.requests == [TurnRequest("turn", f"cards/{DAY}", live=True, lease_s=LEASE_S)]
    assert setup.reports == [RequestOutcome("turn", "cards", "success")]


def test_a_short_wait_is_waited_for() -> None:
    setup = Setup(Wait(0.2, "budget"), Wait(0.3, "budget"))

    setup.documents.fetch(HISTORY, None)

    assert setup.slept == [0.2, 0.3]
    assert setup.counts == ["budget", "budget"]


@pytest.mark.parametrize(("due", "patience_s"), [(HISTORY, HISTORY_PATIENCE_S), (LIVE, LIVE_PATIENCE_S)])
def test_a_long_wait_puts_the_window_back(due: DueWindow, patience_s: float) -> None:
    setup = Setup(Wait(patience_s + 1, "retry-after"))

    with pytest.raises(Deferred) as raised:
        setup.documents.fetch(due, None)

    assert (raised.value.until, raised.value.reason) == (NOON + timedelta(seconds=patience_s + 1), "retry-after")
    assert (setup.slept, setup.reports) == ([], [])
    assert setup.waits.status("pond.example", NOON) == [
        {
            "host": "pond.example",
            "reason": "retry-after",
            "until": (NOON + timedelta(seconds=patience_s + 1)).isoformat(timespec="seconds"),
        }
    ]


def test_short_waits_in_a_row_are_one_long_wait() -> None:
    setup = Setup(*[Wait(0.4, "budget")] * 10)

    with pytest.raises(Deferred):
        setup.documents.fetch(HISTORY, None)

    assert sum(setup.slept) <= HISTORY_PATIENCE_S


def test_a_window_is_put_back_for_half_a_minute_at_most_because_an_operator_may_end_the_wait() -> None:
    setup = Setup(Wait(3600, "breaker"))

    with pytest.raises(Deferred) as raised:
        setup.documents.fetch(LIVE, None)

    assert raised.value.until == NOON + timedelta(seconds=MAX_DEFERRAL_S)
    assert setup.waits.seconds("breaker") == 3600


def test_waits_are_in_real_seconds_with_a_virtual_clock() -> None:
    clock = VirtualClock(NOON, speed=60, epoch_s=1e12)
    setup = Setup(Wait(10, "retry-after"), clock=clock)

    with pytest.raises(Deferred) as raised:
        setup.documents.fetch(LIVE, None)

    assert raised.value.until == NOON + timedelta(minutes=10)


def test_without_the_gates_state_no_request_is_made() -> None:
    setup = Setup(TransientError("away"))
    setup.answer = raising(AssertionError("a request"))

    with pytest.raises(Deferred) as raised:
        setup.documents.fetch(LIVE, None)

    assert (raised.value.until, raised.value.reason) == (NOON + timedelta(seconds=DATABASE_RETRY_S), "database")


@pytest.mark.parametrize(
    ("error", "kind", "retry_after_s"),
    [
        (InvalidDocument("403"), "success", 0),
        (TransientError("no answer"), "failure", 0),
        (RuntimeError("a bug"), "failure", 0),
        (Throttled("429"), "failure", 0),
        (Throttled("503", "soon"), "failure", 0),
        (Throttled("429", "30"), "throttled", 30),
        (Throttled("503", "Sun, 04 May 2031 12:01:00 GMT"), "throttled", 60),
        (Throttled("503", "Sun, 04 May 2031 12:01:00 GMT", "Sun, 04 May 2031 12:00:50 GMT"), "throttled", 10),
    ],
)
def test_each_end_of_a_request_is_reported(error: Exception, kind: Any, retry_after_s: float) -> None:
    setup = Setup()
    setup.answer = raising(error)

    with pytest.raises(type(error)):
        setup.documents.fetch(LIVE, None)

    assert setup.reports == [RequestOutcome("turn", "cards", kind, retry_after_s)]


def test_a_failure_that_opens_the_breaker_is_not_retried() -> None:
    setup = Setup()
    setup.answer, setup.wait_after_report = raising(TransientError("no answer")), Wait(10, "breaker")

    with pytest.raises(SourceUnavailable, match="no answer; no further request for 10 s"):
        setup.documents.fetch(LIVE, None)


def test_a_request_clears_what_was_waited_for() -> None:
    setup = Setup(Wait(3600, "retry-after"))
    with pytest.raises(Deferred):
        setup.documents.fetch(LIVE, None)

    setup.documents.fetch(LIVE, None)

    assert setup.waits.status("pond.example", NOON) == []


def test_a_closed_source_takes_no_turn() -> None:
    setup = Setup()
    setup.documents.close()

    with pytest.raises(TransientError, match="stopping"):
        setup.documents.fetch(LIVE, None)

    assert setup.requests == []
