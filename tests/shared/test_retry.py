"""Retries with exponential backoff."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.errors import InvalidDocument, NotReady, TransientError
from shared.retry import Retry


class Stopwatch:
    """A clock that only its own sleep moves."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept_s: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.now_s += seconds


class Flaky:
    """Raises an error a number of times, then returns."""

    def __init__(self, failures: int, error: type[Exception] = TransientError) -> None:
        self.calls = 0
        self._failures = failures
        self._error = error

    def __call__(self, result: str = "ok") -> str:
        self.calls += 1
        if self.calls <= self._failures:
            raise self._error("away")
        return result


def retry(watch: Stopwatch, tries: int = 5, jitter: float = 0, total_s: float = 1000, random: float = 0) -> Retry:
    return Retry(
        tries,
        first_delay_s=1,
        factor=2,
        max_delay_s=5,
        jitter=jitter,
        total_s=total_s,
        clock=watch,
        sleep=watch.sleep,
        random=lambda: random,
    )


def test_a_successful_call_is_made_once() -> None:
    watch, flaky = Stopwatch(), Flaky(0)

    assert retry(watch).call(flaky, result="done") == "done"

    assert (flaky.calls, watch.slept_s) == (1, [])


def test_delays_grow_up_to_the_maximum() -> None:
    watch = Stopwatch()

    retry(watch).call(Flaky(4))

    assert watch.slept_s == [1, 2, 4, 5]


def test_jitter_shortens_a_delay_by_at_most_its_share() -> None:
    watch = Stopwatch()

    retry(watch, jitter=0.5, random=1.0).call(Flaky(2))

    assert watch.slept_s == [0.5, 1.0]


def test_the_last_error_is_raised_with_the_number_of_tries() -> None:
    watch, flaky = Stopwatch(), Flaky(99)

    with pytest.raises(TransientError, match=r"away \(3 tries in 3\.0 s\)"):
        retry(watch, tries=3).call(flaky)

    assert flaky.calls == 3


def test_no_try_starts_after_the_total_time() -> None:
    watch, flaky = Stopwatch(), Flaky(99)

    with pytest.raises(TransientError):
        retry(watch, tries=99, total_s=8).call(flaky)

    assert watch.slept_s == [1, 2, 4]


def test_a_permanent_error_is_not_retried() -> None:
    watch, flaky = Stopwatch(), Flaky(1, InvalidDocument)

    with pytest.raises(InvalidDocument):
        retry(watch).call(flaky)

    assert (flaky.calls, watch.slept_s) == (1, [])


def test_retries_can_be_limited_to_one_error_class() -> None:
    watch, not_ready, away = Stopwatch(), Flaky(2, NotReady), Flaky(1)
    policy = replace(retry(watch), retryable=NotReady)

    assert policy.call(not_ready) == "ok"
    with pytest.raises(TransientError, match=r"^away$"):
        policy.call(away)

    assert (not_ready.calls, away.calls) == (3, 1)


def test_the_last_error_keeps_its_class() -> None:
    with pytest.raises(NotReady, match=r"away \(2 tries in 1.0 s\)"):
        replace(retry(Stopwatch(), tries=2), retryable=NotReady).call(Flaky(2, NotReady))


def test_only_the_first_failure_of_a_call_is_reported() -> None:
    reported: list[TransientError] = []
    policy = replace(retry(Stopwatch()), on_first_failure=reported.append)

    for failures in (0, 3):
        policy.call(Flaky(failures))

    assert [str(error) for error in reported] == ["away"]


def test_an_error_in_sleep_ends_the_retries() -> None:
    def interrupted(_: float) -> None:
        raise TransientError("stop requested")

    flaky = Flaky(99)

    with pytest.raises(TransientError, match="stop requested"):
        Retry(sleep=interrupted).call(flaky)

    assert flaky.calls == 1


@pytest.mark.parametrize("policy", [{"tries": 0}, {"factor": 0.5}, {"jitter": 1.5}, {"first_delay_s": -1}])
def test_invalid_policies_are_refused(policy: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Retry(**policy)  # type: ignore[arg-type]
