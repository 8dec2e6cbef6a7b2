"""Metrics: their documentation and their registry."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import generate_latest

from shared.runtime.metrics import Metrics, markdown_table
from tests.shared.generated import compare


def test_the_docs_list_every_metric(repository: Path) -> None:
    compare(repository / "docs" / "metrics.md", "metrics", markdown_table(Metrics()))


def test_every_metric_is_an_attribute_under_its_own_name() -> None:
    metrics = Metrics()

    missing = [each.name for each in metrics.definitions if not hasattr(metrics, each.name.removeprefix("headrace_"))]

    assert not missing


def test_two_sets_of_metrics_are_independent() -> None:
    first, second = Metrics(), Metrics()

    first.units_total.labels("committed").inc()

    assert 'headrace_units_total{outcome="committed"} 1.0' in generate_latest(first.registry).decode()
    assert 'headrace_units_total{outcome="committed"} 0.0' in generate_latest(second.registry).decode()


def test_the_memory_of_the_process_is_a_metric() -> None:
    assert b"process_resident_memory_bytes" in generate_latest(Metrics().registry)
