"""The sizing arithmetic and the tables of `make bench-scale`, from figures that are chosen here."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from bench.scale_figures import BROKERS, TOGETHER, IdleCost, ScaleFigures, ScaleKey, StageCost, StorageSize
from bench.scale_report import number, replace_tables, tables_of
from bench.scale_sizing import (
    BUSIEST_MINUTE_RAW,
    FACTS_PER_EVENT,
    GROWING,
    PREDICTION_RECORD_BYTES,
    PREDICTION_ROW_BYTES,
    PREDICTIONS_PER_EVENT,
    RAW_PER_EVENT,
    log_bytes_per_event,
    rows_per_fact,
    sizing_of,
    table_bytes_per_event,
)
from shared.topics import SERVICES

EVENTS = 100
SIZE = StorageSize(
    days=1,
    events=EVENTS,
    topics={"raw-events": (300, 90_000), "clean-events": (300, 60_000), "loaded-events": (300, 30_000)},
    tables={f"facts.{name}": (500, 50_000) for name in GROWING} | {"facts.versions": (300, 240_000)},
    archive_bytes=40_000,
    export_bytes=20_000,
    cursor_bytes=10_000,
)


def cost(elapsed_s: float = 2.0, cpu_s: float = 1.0) -> StageCost:
    return StageCost(1000, elapsed_s, cpu_s, 0.5, 0.25, 80.0, 13.0)


@pytest.fixture
def figures() -> ScaleFigures:
    """Each stage needs 1 s of its own CPU for 1,000 records, 0.5 s of PostgreSQL and 0.25 s of Kafka."""
    figures = ScaleFigures()
    for broker in BROKERS:
        for stage in (*SERVICES, TOGETHER):
            figures.add(ScaleKey(broker, stage, 1), cost())
        figures.add(ScaleKey(broker, "loader", 2), cost(elapsed_s=1.0))
        figures.storage[broker] = SIZE
        figures.idle[broker] = [IdleCost(0.01, 0.02, 0.03, dict.fromkeys(SERVICES, 70.0), 200.0, 400.0)]
    return figures


def test_a_median_is_taken_of_each_figure(figures: ScaleFigures) -> None:
    figures.add(ScaleKey("kafka", "loader", 1), cost(elapsed_s=4.0, cpu_s=9.0))
    figures.add(ScaleKey("kafka", "loader", 1), cost(elapsed_s=1.0, cpu_s=3.0))

    median = figures.median("kafka", "loader")

    assert (median.elapsed_s, median.cpu_s, median.records) == (2.0, 3.0, 1000)


def test_figures_survive_a_file(figures: ScaleFigures) -> None:
    restored = ScaleFigures.from_json(orjson.loads(orjson.dumps(figures.as_json())))

    assert tables_of(restored) == tables_of(figures)


def test_cores_are_the_rate_times_the_cpu_time_of_a_record(figures: ScaleFigures) -> None:
    sizing = sizing_of(figures, "kafka", 100)

    raw_per_s = BUSIEST_MINUTE_RAW * 100 / 60
    facts_per_s = raw_per_s * FACTS_PER_EVENT / RAW_PER_EVENT
    assert sizing.cores["cleaner"] == pytest.approx(raw_per_s / 1000)
    assert sizing.cores["loader"] == pytest.approx(facts_per_s / 1000)
    assert sizing.cores["postgres"] == pytest.approx(0.5 * (2 * raw_per_s + 3 * facts_per_s) / 1000)
    assert sizing.cores["predictor"] > sizing.cores["notifier"]


def test_replicas_and_partitions_grow_with_the_cores_and_the_fetcher_stays_alone(figures: ScaleFigures) -> None:
    small, large = (sizing_of(figures, "embedded", factor) for factor in (1, 1000))

    assert set(small.replicas.values()) == {1}
    assert small.partitions == 6
    assert large.replicas["fetcher"] == 1
    assert large.replicas["cleaner"] == 12  # 8 cores at 70 percent
    assert large.partitions == max(large.replicas.values())


def test_an_event_takes_its_rows_its_versions_and_its_predictions() -> None:
    rows = len(GROWING) * 50_000 / EVENTS

    assert table_bytes_per_event(SIZE) == pytest.approx(
        rows + FACTS_PER_EVENT * 800 + PREDICTIONS_PER_EVENT * PREDICTION_ROW_BYTES
    )
    assert rows_per_fact(SIZE) == pytest.approx((len(GROWING) * 500 + 300) / 300)


def test_the_log_holds_three_copies_on_kafka(figures: ScaleFigures) -> None:
    embedded, kafka = (sizing_of(figures, broker, 10) for broker in BROKERS)

    assert log_bytes_per_event(SIZE) == pytest.approx(
        RAW_PER_EVENT * 300 + FACTS_PER_EVENT * 300 + PREDICTIONS_PER_EVENT * PREDICTION_RECORD_BYTES
    )
    assert kafka.log_gb == pytest.approx(3 * embedded.log_gb)


def test_the_document_has_a_place_for_each_table(figures: ScaleFigures, repository: Path) -> None:
    document = (repository / "docs" / "scaling.md").read_text()

    changed = replace_tables(document, tables_of(figures))

    assert "| kafka | loader | 500 (500 to 500) | 1,000 (1,000 to 1,000) |" in changed
    assert replace_tables(changed, tables_of(figures)) == changed
    assert [line for line in changed.splitlines() if line.startswith("#")] == [
        line for line in document.splitlines() if line.startswith("#")
    ]


def test_a_table_without_a_place_is_an_error() -> None:
    with pytest.raises(ValueError, match="one place for the table rates, found 0"):
        replace_tables("# Scaling\n", {"rates": "| |\n"})


@pytest.mark.parametrize(
    ("value", "text"), [(0.0123, "0.012"), (1.26, "1.3"), (42.4, "42"), (151.4, "150"), (1_514_000.0, "1,500,000")]
)
def test_a_number_has_two_significant_digits(value: float, text: str) -> None:
    assert number(value) == text
