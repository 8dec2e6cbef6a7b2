"""Schedules: repeatable, printable, and with every kind."""

from __future__ import annotations

import pytest

from tests.faults.schedule import ACCIDENT_DAYS, ACCIDENTS, EMBEDDED, KAFKA, Kind, Schedule, make_schedule

ONLY_KAFKA = {Kind.BROKER_RESTART, Kind.BROKER_KILL, Kind.NEW_KAFKA}
ALL = tuple(ACCIDENTS.values())


def test_a_seed_always_makes_the_same_schedule() -> None:
    assert make_schedule(7, EMBEDDED, 3) == make_schedule(7, EMBEDDED, 3) != make_schedule(8, EMBEDDED, 3)
    assert make_schedule(7, KAFKA, 3, accidents=ALL) == make_schedule(7, KAFKA, 3, accidents=ALL)


@pytest.mark.parametrize("accidents", [(), ALL])
def test_a_printed_schedule_can_be_run_again(accidents: tuple[Kind, ...]) -> None:
    for seed in range(5):
        schedule = make_schedule(seed, KAFKA, 2, accidents=accidents)
        assert Schedule.model_validate_json(schedule.model_dump_json()) == schedule


@pytest.mark.parametrize("broker", [EMBEDDED, KAFKA])
def test_a_long_schedule_has_every_kind_of_fault(broker: str) -> None:
    kinds = {fault.kind for fault in make_schedule(1, broker, 4, accidents=ALL).faults}

    assert kinds == set(Kind) - (set() if broker == KAFKA else ONLY_KAFKA)


def test_accidents_occur_only_if_they_are_named_and_once() -> None:
    named = (Kind.RESTORE, Kind.SLOW)

    faults = [fault.kind for fault in make_schedule(1, EMBEDDED, 4, accidents=named).faults]

    assert [kind for kind in faults if kind in ALL] in ([*named], [*reversed(named)])
    assert not set(ALL) & make_schedule(1, EMBEDDED, 4).kinds


def test_accidents_can_be_alone() -> None:
    schedule = make_schedule(1, EMBEDDED, 0, accidents=(Kind.FAILOVER,))

    assert [fault.kind for fault in schedule.faults] == [Kind.FAILOVER]


def test_accidents_make_the_run_longer() -> None:
    assert make_schedule(1, EMBEDDED, 1, accidents=ALL).days > make_schedule(1, EMBEDDED, 1).days


def test_an_accident_of_one_service_affects_only_its_stage() -> None:
    schedule = make_schedule(3, KAFKA, 0, accidents=ALL)

    services = {fault.kind: fault.service for fault in schedule.faults}

    assert services[Kind.RETENTION] in {"predictor", "notifier"}
    assert services[Kind.ARCHIVE_FULL] == "fetcher"
    assert not any(services[kind] for kind in set(ALL) - {Kind.RETENTION, Kind.ARCHIVE_FULL})


@pytest.mark.parametrize("broker", [EMBEDDED, KAFKA])
def test_a_limit_of_the_days_leaves_enough_for_each_accident(broker: str) -> None:
    schedule = make_schedule(11, broker, 0, 14, accidents=ALL)

    assert schedule.days >= ACCIDENT_DAYS * len(schedule.faults)
    assert make_schedule(11, broker, 3, 14).days == 14
