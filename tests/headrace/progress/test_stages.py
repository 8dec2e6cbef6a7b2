"""What a view shows of each stage."""

from __future__ import annotations

from headrace.progress.frame import Details, StageStatus
from headrace.progress.notices import notices_of
from headrace.progress.positions import FetcherReport, PipelinePositions, Reading
from headrace.progress.replicas import ReplicaStatus, with_stopped
from headrace.progress.stages import loaded_fraction, stage_statuses, stages_of
from headrace.progress.throughput import Throughput
from shared.broker.contract import TopicPartition

RAW, CLEAN = TopicPartition("raw-events", 0), TopicPartition("clean-events", 0)


def replica(service: str, state: str, name: str = "a", reason: str = "") -> ReplicaStatus:
    return ReplicaStatus(service, name, 1, "http://127.0.0.1:1", state, True, 0, reason)


def status(service: str, *live: ReplicaStatus, **given: object) -> StageStatus:
    paused, processes = given.get("paused", ()), given.get("processes", {})
    return stage_statuses(with_stopped(live), paused, processes)[service]  # type: ignore[arg-type]


def test_several_replicas_show_the_state_that_needs_attention_most() -> None:
    result = status("loader", replica("loader", "running"), replica("loader", "backing off", "b", "backing off: away"))

    assert result == StageStatus("waiting", 2, (), "away")


def test_a_service_without_a_heartbeat_is_what_its_process_is() -> None:
    assert status("cleaner").state == "stopped"
    assert status("cleaner", processes={"cleaner": "starting"}).state == "starting"
    assert status("cleaner", replica("cleaner", "running"), processes={"cleaner": "restarting"}).state == "restarting"


def test_a_pause_is_known_with_its_topics() -> None:
    result = status("cleaner", replica("cleaner", "paused"), paused=[("cleaner", "raw-events"), ("loader", "x")])

    assert result == StageStatus("paused", 1, ("raw-events",))


def test_a_stage_that_reads_only_its_retry_topic_is_paused() -> None:
    retrying = status("cleaner", replica("cleaner", "running"), paused=[("cleaner", "raw-events")])
    partly = status("loader", replica("loader", "running"), paused=[("loader", "clean-events")])

    assert retrying.state == "paused"
    assert (partly.state, partly.paused_on) == ("running", ("clean-events",))


def test_notices_say_what_to_do() -> None:
    details = Details(
        statuses={
            "cleaner": StageStatus("paused", 1, ("raw-events",)),
            "loader": StageStatus("held back", 1, (), "clean-events/3 is held back: ValueError"),
            "notifier": StageStatus("running", 1),
        }
    )
    failed = Reading(FetcherReport(0, 1, ({"window": "x"},), True), PipelinePositions(), 0, 0)

    assert notices_of(details, failed, ("the database does not answer",)) == (
        "the database does not answer",
        "the cleaner is paused on raw-events; to continue: headrace resume cleaner raw-events",
        "the loader holds records back until it is resumed: clean-events/3 is held back: ValueError",
        "1 window of the source failed; headrace status lists them",
    )


def test_loading_is_as_far_as_windows_and_records_together() -> None:
    start = PipelinePositions(end={RAW: 0, CLEAN: 0}, committed={("loader", CLEAN): 0})
    throughput = Throughput(start, 0.0)
    positions = PipelinePositions(end={RAW: 8, CLEAN: 8}, committed={("loader", CLEAN): 4})
    throughput.read(positions, 1.0)
    reading = Reading(FetcherReport(due=30, done=90, failed=(), exhausted=False), positions, 0, 0)

    assert loaded_fraction(reading, throughput) == 0.75 * 0.5
    assert loaded_fraction(None, throughput) == 0.0
    fetcher, _, loader, *_ = stages_of(reading, throughput, Details())
    assert (fetcher.product, fetcher.records, loader.behind) == ("90/120 windows", 8, 4)
