"""Calculates what a multiple of the boat races' load needs, from the figures of `make bench-scale`.

The load is counted in the recorded archive (260 days) and in the one recorded day with all versions. docs/scaling.md
explains each step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.scale_figures import ScaleFigures, StorageSize
from shared.topics import CLEAN, LOADED, RAW, SERVICES

# Of 260 recorded days.
EVENTS_PER_DAY = 151.4
MOST_EVENTS_PER_DAY = 240
# Of 2026-01-31 with 168 events: 1,671 raw slices changed, 1,335 of them became facts.
RAW_PER_EVENT, FACTS_PER_EVENT = 1671 / 168, 1335 / 168
# Of a simulated day with one model: 45 events were predicted 163 times, from cards, updated cards and observations.
PREDICTIONS_PER_EVENT = 163 / 45
# Bytes of these predictions: rows with their indexes, and records.
PREDICTION_ROW_BYTES, PREDICTION_RECORD_BYTES = 1860, 808
# All events of a day are published at once, in two feeds, and fetched in one minute.
BUSIEST_MINUTE_RAW = 2 * MOST_EVENTS_PER_DAY
# Documents of that day: 48 versions of together 16.5 MB. Three feeds are polled every 300 s.
FETCHED_MB_PER_DAY = 16.5
# The same documents in the archive of documents, which compresses them to 8 percent.
ARCHIVED_MB_PER_DAY = 1.3
REQUESTS_PER_S = 3 / 300
# docs/predictor.md: 1,950 events a second in batches on one core, including features.
PREDICT_S = 1 / 1950
# A replica is one process and uses one core; it should not need more than this share of it.
TARGET_SHARE = 0.7
RETENTION_DAYS, REPLICATION_FACTOR = 14, 3
DAYS_PER_YEAR = 365
# Tables that grow with the events. The others grow with venues, entities and codes.
GROWING = ("entries", "observations", "transactions", "events", "outcomes", "sessions")
VERSIONS = "facts.versions"
PARTITIONS = 6


@dataclass(frozen=True)
class Sizing:
    """What `factor` times the load needs. Cores are those of the busiest minute, bytes those of a mean day."""

    factor: int
    events_per_day: float
    raw_per_day: float
    raw_per_s: float
    cores: dict[str, float]
    replicas: dict[str, int]
    partitions: int
    tables_gb_per_year: float
    rows_per_s: float
    log_gb: float
    log_mb_per_s: float
    archive_gb_per_year: float
    requests_per_s: float
    fetched_gb_per_day: float


def sizing_of(figures: ScaleFigures, broker: str, factor: int) -> Sizing:
    """The needs of `factor` times the load. With Kafka, the log has REPLICATION_FACTOR copies."""
    raw_per_s = BUSIEST_MINUTE_RAW * factor / 60
    cores = stage_cores(figures, broker, raw_per_s)
    replicas = {
        stage: 1 if stage == "fetcher" else max(1, math.ceil(cores[stage] / TARGET_SHARE)) for stage in SERVICES
    }
    size = figures.storage[broker]
    events = EVENTS_PER_DAY * factor
    copies = REPLICATION_FACTOR if broker == "kafka" else 1
    log_bytes = copies * log_bytes_per_event(size)
    return Sizing(
        factor=factor,
        events_per_day=events,
        raw_per_day=events * RAW_PER_EVENT,
        raw_per_s=raw_per_s,
        cores=cores,
        replicas=replicas,
        partitions=max(PARTITIONS, *replicas.values()),
        tables_gb_per_year=events * table_bytes_per_event(size) * DAYS_PER_YEAR / 1e9,
        rows_per_s=raw_per_s / RAW_PER_EVENT * FACTS_PER_EVENT * rows_per_fact(size),
        log_gb=events * log_bytes * RETENTION_DAYS / 1e9,
        log_mb_per_s=raw_per_s / RAW_PER_EVENT * log_bytes / 1e6,
        archive_gb_per_year=ARCHIVED_MB_PER_DAY * factor * DAYS_PER_YEAR / 1000,
        requests_per_s=REQUESTS_PER_S * factor,
        fetched_gb_per_day=FETCHED_MB_PER_DAY * factor / 1000,
    )


def stage_cores(figures: ScaleFigures, broker: str, raw_per_s: float) -> dict[str, float]:
    """Cores that each stage and server needs for `raw_per_s` records, of which the share that is filtered ends at the
    cleaner. Every listed event is predicted."""
    facts_per_s = raw_per_s * FACTS_PER_EVENT / RAW_PER_EVENT
    rates = dict.fromkeys(("fetcher", "cleaner"), raw_per_s)
    rates |= dict.fromkeys(("loader", "predictor", "notifier"), facts_per_s)
    costs = {stage: figures.median(broker, stage) for stage in rates}
    cores = {stage: rates[stage] * costs[stage].per_thousand_s("cpu_s") / 1000 for stage in rates}
    cores["predictor"] += facts_per_s * PREDICT_S
    for server in ("postgres", "kafka"):
        part = f"{server}_cpu_s"
        cores[server] = sum(rates[stage] * costs[stage].per_thousand_s(part) / 1000 for stage in rates)
    return cores


def table_bytes_per_event(size: StorageSize) -> float:
    """Rows of a followed event with its predictions: one version for each of its facts."""
    rows = sum(size.tables[f"facts.{name}"][1] for name in GROWING) / size.events
    return rows + FACTS_PER_EVENT * version_bytes(size) + PREDICTIONS_PER_EVENT * PREDICTION_ROW_BYTES


def version_bytes(size: StorageSize) -> float:
    """Bytes of one stored version of a fact."""
    versions, table_bytes = size.tables[VERSIONS]
    return table_bytes / versions


def rows_per_fact(size: StorageSize) -> float:
    """Rows that one fact writes, on average over the three kinds."""
    rows = sum(size.tables[name][0] for name in (*(f"facts.{name}" for name in GROWING), VERSIONS))
    return rows / size.tables[VERSIONS][0]


def record_bytes(size: StorageSize, topic: str) -> float:
    records, topic_bytes = size.topics[topic]
    return topic_bytes / records


def log_bytes_per_event(size: StorageSize) -> float:
    """One copy of all records of a followed event."""
    facts = FACTS_PER_EVENT * (record_bytes(size, CLEAN) + record_bytes(size, LOADED))
    return RAW_PER_EVENT * record_bytes(size, RAW) + facts + PREDICTIONS_PER_EVENT * PREDICTION_RECORD_BYTES
