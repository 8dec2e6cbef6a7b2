"""When incidents open and end: durations, hysteresis, and what must stay quiet."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.notifier.alerts.reading import (
    BotToken,
    DeadLetterReading,
    PipelineReading,
    TopicBacklog,
    TrippedPartition,
    WindowReading,
)
from shared.topics import READS, SERVICES
from tests.services.notifier.alerts.readings import (
    ALL_TOPICS,
    NOON,
    STEP_S,
    Run,
    default_rules,
    detail_of,
    healthy,
    rule,
    with_backlog,
    without,
)

RAW = ("cleaner", "raw-events")
LAG = rule("lag-growing", for_s=300, threshold=100)


def growing(begin: int, steps: int, stage: tuple[str, str] = RAW, **changes: Any) -> list[PipelineReading]:
    return [with_backlog(stage, begin + 10 * n, **changes) for n in range(steps)]


def test_an_incident_opens_after_the_time_of_its_rule_and_once() -> None:
    run = Run(rule("stage-down", for_s=60))
    run.last(without("loader"), 60)
    assert run.opened == []

    run.last(without("loader"), 600)

    assert run.opened == ["loader"]


def test_a_short_outage_opens_nothing() -> None:
    run = Run(rule("stage-down", for_s=60))

    for _ in range(10):
        run.last(without("loader"), 50)
        run.last(healthy(), 30)

    assert run.opened == []


def test_a_stage_that_crashes_in_a_loop_is_down() -> None:
    run = Run(rule("stage-down", for_s=60))

    for _ in range(6):
        run.last(without("loader"), 10)
        run.last(healthy(), 10)

    assert run.opened == ["loader"]


def test_an_incident_ends_when_its_condition_was_absent_for_a_while() -> None:
    run = Run(rule("stage-down", for_s=60), clear_s=120)
    run.last(without("loader"), 70)

    run.last(healthy(), 120)
    assert run.resolved == []
    run.last(healthy(), 10)

    assert run.resolved == ["loader"]


def test_an_incident_does_not_flap() -> None:
    run = Run(rule("stage-down", for_s=60), clear_s=120)

    for _ in range(20):
        run.last(without("loader"), 70)
        run.last(healthy(), 100)

    assert (run.opened, run.resolved) == (["loader"], [])


def test_a_condition_that_returns_after_the_end_opens_a_new_incident() -> None:
    run = Run(rule("stage-down", for_s=60), clear_s=120)

    for _ in range(2):
        run.last(without("loader"), 70)
        run.last(healthy(), 130)

    assert (run.opened, run.resolved) == (["loader"] * 2, ["loader"] * 2)


def test_an_outage_of_the_database_is_no_outage_of_the_services() -> None:
    """No replica can write its heartbeat meanwhile, so all of them look dead when the database is back."""
    run = Run(rule("stage-down", for_s=60))
    run.last(healthy(), 60)
    run.step(healthy(replicas=()))

    run.step(healthy(replicas=()), after_s=600)
    run.last(healthy(replicas=()), 20)
    run.last(healthy(), 600)

    assert run.opened == []


def test_a_new_process_continues_with_the_open_incidents() -> None:
    run = Run(rule("stage-down", for_s=60), clear_s=120)
    run.last(without("loader"), 70)

    run.restart()
    run.last(without("loader"), 600)
    assert (run.opened, run.resolved) == (["loader"], [])
    run.restart()
    run.last(healthy(), 130)

    assert (run.opened, run.resolved) == (["loader"], ["loader"])


def test_an_incident_lasts_while_nobody_reports_its_condition() -> None:
    run = Run(rule("windows-failed", for_s=60), clear_s=120)
    run.last(healthy(windows=WindowReading(0, 2, 0)), 70)

    run.last(without("fetcher"), 600)
    assert run.resolved == []
    run.last(healthy(), 130)

    assert run.resolved == ["fetcher"]


def test_the_time_of_failed_windows_continues_after_a_restart_of_the_fetcher() -> None:
    run = Run(rule("windows-failed", for_s=300))
    failed = healthy(windows=WindowReading(0, 2, 0))

    run.last(failed, 200)
    run.last(without("fetcher"), 60)
    run.last(failed, 50)

    assert run.opened == ["fetcher"]


def test_an_incident_of_a_rule_that_was_removed_ends() -> None:
    run = Run(rule("stage-down", for_s=60), clear_s=120)
    run.last(without("loader"), 70)

    run.rules = ()
    run.last(without("loader"), 130)

    assert run.resolved == ["loader"]


def test_two_rules_of_one_kind_have_incidents_of_their_own() -> None:
    run = Run(rule("stage-down", for_s=60), rule("stage-down", name="urgent", for_s=10))

    run.last(without("loader"), 20)

    assert [key.rule for key in run.open] == ["urgent"]


def test_a_backlog_that_does_not_shrink_opens_an_incident() -> None:
    run = Run(LAG)

    run.follow(growing(200, 61))
    assert run.opened == []
    changes = run.step(with_backlog(RAW, 900))

    assert run.opened == ["cleaner/raw-events"]
    assert detail_of(changes)["records"] == 900


def test_a_backlog_that_is_stuck_opens_an_incident() -> None:
    run = Run(LAG)

    run.last(with_backlog(RAW, 500), 310)

    assert run.opened == ["cleaner/raw-events"]


@pytest.mark.parametrize(
    "readings",
    [
        pytest.param([with_backlog(RAW, 5_000 - 10 * n) for n in range(200)], id="it shrinks"),
        pytest.param([with_backlog(RAW, 90)] * 200, id="it is small"),
        pytest.param([with_backlog(RAW, 5_000, oldest_s=20)] * 200, id="its records are young"),
        pytest.param([with_backlog(RAW, 5_000), healthy()] * 100, id="it is gone now and then"),
        pytest.param(growing(200, 200, paused=frozenset({RAW})), id="an order pauses it"),
        pytest.param(growing(200, 200, replaying=frozenset({"cleaner"})), id="its service replays"),
        pytest.param(growing(200, 200, replaying=frozenset({"fetcher"})), id="a service before it replays"),
        pytest.param(growing(200, 200, is_backfilling=True), id="a backfill runs"),
        pytest.param(growing(200, 200, windows=WindowReading(300, 0, 0)), id="history is loaded"),
        pytest.param(
            growing(200, 200, held=(TrippedPartition("cleaner", "raw-events", 1, ""),)), id="a partition is held back"
        ),
    ],
)
def test_a_backlog_that_is_no_fault_opens_nothing(readings: list[PipelineReading]) -> None:
    run = Run(LAG)

    run.follow(readings)

    assert run.opened == []


def test_the_backlog_of_a_pause_is_no_fault_after_the_resume() -> None:
    run = Run(LAG)
    run.follow(growing(200, 200, paused=frozenset({RAW})))

    run.follow(with_backlog(RAW, 2_200 - 10 * n) for n in range(200))

    assert run.opened == []


def test_a_pause_that_ends_on_a_stuck_backlog_is_noticed_after_the_whole_time() -> None:
    run = Run(LAG)
    run.last(with_backlog(RAW, 200), 100)
    run.follow(growing(200, 200, paused=frozenset({RAW})))

    run.last(with_backlog(RAW, 2_200), 295)
    assert run.opened == []
    run.last(with_backlog(RAW, 2_200), 15)

    assert run.opened == ["cleaner/raw-events"]


def test_a_gap_between_readings_does_not_count_as_time_of_a_backlog() -> None:
    run = Run(LAG)
    run.last(with_backlog(RAW, 500), 100)

    run.step(with_backlog(RAW, 500), after_s=600)
    run.last(with_backlog(RAW, 500), 290)

    assert run.opened == []


def test_a_replay_of_a_later_service_hides_no_backlog() -> None:
    run = Run(LAG)

    run.follow(growing(200, 70, replaying=frozenset({"predictor"})))

    assert run.opened == ["cleaner/raw-events"]


def test_only_the_first_of_two_services_that_fall_behind_is_reported() -> None:
    both = {RAW: TopicBacklog(500, 300.0), ("loader", "clean-events"): TopicBacklog(900, 300.0)}
    run = Run(LAG)

    run.last(healthy(backlogs=both), 400)

    assert run.opened == ["cleaner/raw-events"]


def test_a_backlog_that_was_reported_lasts_until_it_is_small() -> None:
    run = Run(LAG, clear_s=60)
    run.follow(growing(200, 70))

    run.follow(with_backlog(RAW, records) for records in range(890, 50, -10))
    assert run.resolved == []
    run.last(with_backlog(RAW, 40), 70)

    assert (run.opened, run.resolved) == (["cleaner/raw-events"], ["cleaner/raw-events"])


def test_a_pause_ends_the_incident_of_a_backlog() -> None:
    run = Run(LAG, clear_s=60)
    run.follow(growing(200, 70))

    run.last(with_backlog(RAW, 900, paused=frozenset({RAW})), 70)

    assert run.resolved == ["cleaner/raw-events"]


def test_the_default_rules_are_quiet_for_a_demonstration() -> None:
    """Two minutes of history, services that stop for a training of two minutes, a day at 300 times the speed."""
    run = Run(*default_rules(["console"]))
    loading = healthy(
        windows=WindowReading(90, 0, 0), backlogs={stage: TopicBacklog(20_000, 90.0) for stage in healthy().backlogs}
    )
    starting = tuple(replace(each, state="starting", is_ready=False) for each in healthy().replicas)

    run.last(healthy(replicas=starting, backlogs={}, windows=None, models=None), 60)
    run.last(loading, 120)
    run.restart()
    run.step(healthy(replicas=(), backlogs={}, windows=None, models=None), after_s=150)
    run.last(healthy(replicas=starting, backlogs={}, windows=None, models=None), 60)
    run.last(with_backlog(("predictor", "loaded-events"), 700, oldest_s=2), 120)

    assert run.opened == []


def test_the_default_rules_are_quiet_for_a_paused_pipeline() -> None:
    run = Run(*default_rules(["console"]))
    waiting = {(service, topic): 200 for service in SERVICES for topic in READS[service]}

    for _ in range(1_000):
        waiting = {stage: records + 5 for stage, records in waiting.items()}
        backlogs = {stage: TopicBacklog(records, 3_000.0) for stage, records in waiting.items()}
        run.step(healthy(backlogs=backlogs, paused=ALL_TOPICS))

    assert run.opened == []


def test_the_default_rules_are_quiet_for_a_replay() -> None:
    run = Run(*default_rules(["console"]))

    run.follow(growing(1_000, 1_000, ("loader", "clean-events"), replaying=frozenset({"cleaner"})))
    run.follow(with_backlog(("loader", "clean-events"), 11_000 - 10 * n) for n in range(1_000))

    assert run.opened == []


def test_the_default_rules_report_each_kind_in_time() -> None:
    run = Run(*default_rules(["console"]))
    wrong = without(
        "predictor",
        held=(TrippedPartition("cleaner", "raw-events", 0, "InvalidEvent"),),
        windows=WindowReading(0, 3, 0),
        dead_letters={"cleaner": DeadLetterReading(30, 30, "InvalidEvent")},
        bot_token=BotToken(False, "HTTP 401", NOON - timedelta(hours=1)),
        backlogs={("loader", "clean-events"): TopicBacklog(900, 100.0)},
    )

    run.last(wrong, 3 * 3_600 + 2 * STEP_S)

    assert sorted(key.rule for key in run.open) == [
        "bot-token", "dead-letters", "lag-growing", "partition-held", "stage-down", "windows-failed",
    ]  # fmt: skip
