"""The panels of the dashboards: titles, expressions and units, by dashboard and row.

State metrics are the same fact in every replica, hence `max`; counters are each replica's own, hence `sum`. $service,
$topic and $source are variables (build_dashboards.py).
"""

from __future__ import annotations

from typing import NamedTuple


class Query(NamedTuple):
    expr: str
    legend: str = ""


class PanelSpec(NamedTuple):
    """`kind`: stat (one number, or one per label), timeseries or table. `limits`: from where a value is yellow and
    red; a single limit is red. `width`: of 24 columns."""

    title: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: str = "timeseries"
    description: str = ""
    limits: tuple[float, ...] = ()
    width: int = 8


class DashboardSpec(NamedTuple):
    uid: str
    title: str
    description: str
    variables: tuple[str, ...]
    rows: tuple[tuple[str, tuple[PanelSpec, ...]], ...]


S, T = 'service=~"$service"', 'service=~"$service", topic=~"$topic"'


def _panel(
    title: str, expr: str, legend: str = "", unit: str = "short", *, description: str = "", width: int = 8
) -> PanelSpec:
    return PanelSpec(title, (Query(expr, legend),), unit, description=description, width=width)


def _stat(
    title: str, expr: str, legend: str = "", unit: str = "short", *, limits: tuple[float, ...] = (), width: int = 4
) -> PanelSpec:
    return PanelSpec(title, (Query(expr, legend),), unit, "stat", limits=limits, width=width)


OVERVIEW = DashboardSpec(
    "headrace-overview", "Headrace / Is it well?", "One screen: green is well. The other dashboards show why not.", (),
    (
        (
            "Services",
            (
                _stat("Services that answer", 'count(up{job="headrace"} == 1)'),
                _stat("Not ready", "count(max by (service, instance) (headrace_ready) == 0) or vector(0)", limits=(1,)),
                _stat("Alerts that fire", 'count(ALERTS{alertstate="firing"}) or vector(0)', limits=(1,)),
                _stat("Paused topics", "count(headrace:paused:max == 1) or vector(0)", limits=(1, 1e9)),
                _stat("Held-back partitions", "count(headrace_tripped_partitions == 1) or vector(0)", limits=(1,)),
                _stat(
                    "Stored within 60 s (1 h)", "1 - headrace:late_facts:ratio_rate1h or vector(1)", unit="percentunit"
                ),
            ),
        ),
        (
            "Work",
            (
                _stat("Records per second", "sum(headrace:records:rate5m)", unit="cps"),
                _stat("Records that wait", "sum(headrace:lag_unpaused:sum)"),
                _stat(
                    "Oldest waiting record", "max(headrace_consumer_lag_seconds)", unit="s", limits=(60, 600)
                ),
                _stat(
                    "Dead letters (15 min)", "max(headrace:dead_letter_ratio:rate15m >= 0) or vector(0)",
                    unit="percentunit", limits=(0.001, 0.01),
                ),
                _stat("Failed windows", 'max(headrace_fetch_windows{state="failed"}) or vector(0)', limits=(1,)),
                _stat(
                    "Oldest unsent message", "max(headrace_notifications_oldest_age_seconds)", unit="s",
                    limits=(60, 300),
                ),
            ),
        ),
        (
            "Results",
            (
                _stat("Events of the last hour", "sum(max by (predicted) (headrace_started_events))"),
                _stat("Without a prediction", 'max(headrace_started_events{predicted="no"})', limits=(1,)),
                _stat(
                    "Findings of the audit", "sum(max by (kind) (headrace_audit_findings)) or vector(0)", limits=(1,)
                ),
                _stat(
                    "A model behind the base rate", "max(headrace_model_behind_base_rate) or vector(0)", limits=(1,)
                ),
                _stat(
                    "Disk used", "max(1 - headrace_disk_free_bytes / headrace_disk_size_bytes)", unit="percentunit",
                    limits=(0.7, 0.8),
                ),
                _stat(
                    "Connections used", "max(headrace_database_connections) / max(headrace_database_connections_limit)",
                    unit="percentunit", limits=(0.7, 0.8),
                ),
            ),
        ),
        (
            "Last hours",
            (
                _panel(
                    "Records per second", "sum by (service) (headrace:records:rate5m)", "{{service}}", "cps", width=12
                ),
                _panel("Records that wait", "headrace:lag_unpaused:sum", "{{service}}", width=12),
            ),
        ),
    ),
)  # fmt: skip

PIPELINE = DashboardSpec(
    "headrace-pipeline", "Headrace / Pipeline", "Throughput, backlog and units of each service.", ("service", "topic"),
    (
        (
            "Throughput",
            (
                _panel("Records per second", f"headrace:records:rate5m{{{T}}}", "{{service}} {{topic}}", "cps"),
                _panel(
                    "Records by outcome", f"sum by (service, outcome) (rate(headrace_records_total{{{T}}}[5m]))",
                    "{{service}} {{outcome}}", "cps",
                ),
                _panel(
                    "Records per unit",
                    f"sum by (service) (rate(headrace_batch_size_records_sum{{{S}}}[5m]))"
                    f" / sum by (service) (rate(headrace_batch_size_records_count{{{S}}}[5m]))",
                    "{{service}}",
                ),
            ),
        ),
        (
            "Backlog",
            (
                _panel("Records that wait", f"headrace:lag_records:sum{{{T}}}", "{{service}} {{topic}}"),
                _panel(
                    "Age of the oldest", f"max by (service, topic) (headrace_consumer_lag_seconds{{{T}}})",
                    "{{service}} {{topic}}", "s",
                ),
                _panel("Growth in 15 minutes", f"headrace:lag_records:growth15m{{{T}}}", "{{service}} {{topic}}"),
            ),
        ),
        (
            "Units",
            (
                _panel("Duration of units, 95 %", "headrace:unit_duration_seconds:p95", "{{stage}}", "s"),
                _panel(
                    "Units by outcome", f"sum by (service, outcome) (rate(headrace_units_total{{{S}}}[5m]))",
                    "{{service}} {{outcome}}", "cps",
                ),
                _panel(
                    "Time since the last unit",
                    f"time() - (max by (service) (headrace_last_success_timestamp_seconds{{{S}}}) > 0)",
                    "{{service}}", "s",
                ),
            ),
        ),
        (
            "Freshness",
            (
                _panel("Age of the newest record of a stage", "headrace:freshness_seconds:max", "{{stage}}", "s"),
                _panel(
                    "Age of live facts, 99 %",
                    "histogram_quantile(0.99, sum by (le) (rate(headrace_live_fact_age_seconds_bucket[1h])))",
                    "99 %", "s",
                ),
                _panel("Late facts (1 h)", "headrace:late_facts:ratio_rate1h", "late", "percentunit"),
            ),
        ),
        (
            "Outbox (with Kafka)",
            (
                _panel(
                    "Records that are not relayed", "max by (topic) (headrace_outbox_records)", "{{topic}}", width=12
                ),
                _panel(
                    "Age of the oldest", "max by (topic) (headrace_outbox_age_seconds)", "{{topic}}", "s", width=12
                ),
            ),
        ),
    ),
)  # fmt: skip

SOURCES = DashboardSpec(
    "headrace-sources", "Headrace / Sources", "Requests to the sources, and their windows (feed and day).", ("source",),
    (
        (
            "Windows",
            (
                _panel(
                    "Windows by state", 'max by (source, state) (headrace_fetch_windows{source=~"$source"})',
                    "{{source}} {{state}}", width=12, description="Only while a fetcher is active and not paused.",
                ),
                _panel(
                    "Time since the last document",
                    'time() - max by (source) (headrace_fetch_last_document_timestamp_seconds{source=~"$source"})',
                    "{{source}}", "s", width=12,
                ),
            ),
        ),
        (
            "Requests",
            (
                _panel(
                    "Requests by answer",
                    'sum by (source, status) (rate(headrace_fetch_requests_total{source=~"$source"}[5m]))',
                    "{{source}} {{status}}", "reqps", width=12,
                ),
                _panel(
                    "Follows the current day",
                    'max by (source) (headrace_fetch_document_expected{source=~"$source"})', "{{source}}", width=12,
                ),
                _panel(
                    "Time until the next request", "max by (reason) (headrace_fetch_wait_seconds)", "{{reason}}", "s",
                    width=12, description="What the requests wait for (docs/operations.md#requests-to-a-source).",
                ),
                _panel("Open breakers", "max by (host) (headrace_fetch_breaker_open)", "{{host}}", width=12),
            ),
        ),
    ),
)  # fmt: skip

QUALITY = DashboardSpec(
    "headrace-quality", "Headrace / Data quality", "Dead letters, parked facts, regressions, audits.",
    ("service", "topic"),
    (
        (
            "Failures",
            (
                _panel(
                    "Dead letters by cause",
                    f"sum by (service, reason) (increase(headrace_dead_letters_total{{{T}}}[15m]))",
                    "{{service}} {{reason}}",
                ),
                _panel(
                    "Ratio of dead letters", f"headrace:dead_letter_ratio:rate15m{{{S}}}", "{{service}}", "percentunit"
                ),
                _panel(
                    "Redriven", f"sum by (service, outcome) (increase(headrace_redriven_total{{{S}}}[15m]))",
                    "{{service}} {{outcome}}",
                ),
            ),
        ),
        (
            "Facts",
            (
                _panel("Parked facts", "max by (kind) (headrace_parked_rows)", "{{kind}}"),
                _panel("Regressions", "sum by (feed) (increase(headrace_regressions_total[1h]))", "{{feed}}"),
                _panel(
                    "Filtered records",
                    'sum by (outcome) (rate(headrace_records_total{outcome=~"filtered.*"}[5m]))', "{{outcome}}", "cps",
                ),
            ),
        ),
        (
            "The last recorded audit",
            (
                PanelSpec(
                    "Records by fate", (Query("max by (fate) (headrace_audit_records)", "{{fate}}"),), kind="stat",
                    width=12,
                ),
                PanelSpec(
                    "Findings", (Query("max by (kind) (headrace_audit_findings)", "{{kind}}"),), kind="stat",
                    limits=(1,), width=8,
                ),
                _stat("Age", "time() - (max(headrace_audit_timestamp_seconds) > 0)", unit="s", limits=(93_600,)),
            ),
        ),
        (
            "The last recorded quality report",
            (
                PanelSpec(
                    "Broken thresholds",
                    (Query("max by (threshold) (headrace_quality_findings) > 0", "{{threshold}}"),), kind="stat",
                    limits=(1,), width=20,
                ),
                _stat("Age", "time() - (max(headrace_quality_timestamp_seconds) > 0)", unit="s"),
            ),
        ),
        (
            "Retention",
            (
                _panel(
                    "Offsets removed unread", f"max by (service, topic) (headrace_unread_removed_offsets{{{T}}})",
                    "{{service}} {{topic}}", width=24,
                ),
            ),
        ),
    ),
)  # fmt: skip

PREDICTIONS = DashboardSpec(
    "headrace-predictions", "Headrace / Predictions", "The live model and its shadows: coverage, scores, drift.", (),
    (
        (
            "Coverage",
            (
                _stat("Model in use", "max by (version) (headrace_model_info)", "{{version}}", width=8),
                _panel(
                    "Events of the last hour", "max by (predicted) (headrace_started_events)",
                    "predicted: {{predicted}}",
                ),
                _panel(
                    "Time to predict a batch, 95 %",
                    "histogram_quantile(0.95, sum by (le) (rate(headrace_prediction_duration_seconds_bucket[5m])))",
                    "95 %", "s",
                ),
            ),
        ),
        (
            "Scores of recently settled events",
            (
                PanelSpec(
                    "Log-loss, and of the base rate",
                    (
                        Query("max by (head, model) (headrace_prediction_log_loss)", "{{model}} {{head}}"),
                        Query("max by (head, model) (headrace_prediction_base_log_loss)", "base, {{model}} {{head}}"),
                    ),
                    width=12,
                ),
                _panel(
                    "Calibration error", "max by (head, model, of) (headrace_prediction_calibration_error)",
                    "{{model}} {{head}} {{of}}",
                ),
                _stat("Behind the base rate", "max(headrace_model_behind_base_rate)", limits=(1,)),
            ),
        ),
        (
            "Drift",
            (
                _panel(
                    "Feature groups", "max by (group) (headrace_feature_group_drift_index)", "{{group}}", width=12,
                    description="Above 0.25, the input differs much from the training set.",
                ),
                _panel(
                    "The most drifted features", "max by (feature) (headrace_feature_drift_index)", "{{feature}}",
                    width=12,
                ),
            ),
        ),
    ),
)  # fmt: skip

OPERATORS = DashboardSpec(
    "headrace-operators", "Headrace / Notifications and operators", "Messages to people, and what operators requested.",
    ("service",),
    (
        (
            "Messages",
            (
                _panel(
                    "Attempts to send",
                    "sum by (channel, outcome) (increase(headrace_notifications_total[15m]))",
                    "{{channel}} {{outcome}}",
                ),
                _panel(
                    "Waiting messages", "max by (channel, state) (headrace_notifications_waiting)",
                    "{{channel}} {{state}}",
                ),
                _panel(
                    "Oldest unsent message", "max by (channel) (headrace_notifications_oldest_age_seconds)",
                    "{{channel}}", "s",
                ),
            ),
        ),
        (
            "Discord bot",
            (
                _panel("Connected replicas", "sum(headrace_bot_connected)", "replicas"),
                _panel(
                    "Commands and buttons", "sum by (result) (increase(headrace_bot_interactions_total[15m]))",
                    "{{result}}",
                ),
                _panel(
                    "Time to the first answer, 95 %",
                    "histogram_quantile(0.95, sum by (le) (rate(headrace_bot_first_answer_seconds_bucket[15m])))",
                    "95 %", "s",
                ),
            ),
        ),
        (
            "Orders and operations",
            (
                _panel("Paused", f"headrace:paused:max{{{S}}}", "{{service}} {{topic}}"),
                _panel(
                    "Age of pauses",
                    f'max by (service, topic) (headrace_order_age_seconds{{desired="paused", {S}}})',
                    "{{service}} {{topic}}", "s",
                ),
                _panel(
                    "Open operations", f"max by (service, kind, state) (headrace_operations_open{{{S}}})",
                    "{{service}} {{kind}} {{state}}",
                ),
                _panel(
                    "Progress", f"max by (service, kind) (headrace_operation_progress_ratio{{{S}}})",
                    "{{service}} {{kind}}", "percentunit", width=12,
                ),
                _panel(
                    "Time without progress", f"max by (service, kind) (headrace_operation_idle_seconds{{{S}}})",
                    "{{service}} {{kind}}", "s", width=12,
                ),
            ),
        ),
        (
            "Admin API",
            (
                _panel(
                    "Requests by route",
                    f'sum by (service, route) (rate(headrace_admin_requests_total{{route!="/metrics", {S}}}[5m]))',
                    "{{service}} {{route}}", "reqps", width=12,
                ),
                _panel(
                    "Refused and failed requests",
                    "sum by (service, route, status)"
                    f' (rate(headrace_admin_requests_total{{status=~"[45]..", {S}}}[5m]))',
                    "{{service}} {{route}} {{status}}", "reqps", width=12,
                ),
            ),
        ),
    ),
)  # fmt: skip

UNDERNEATH = DashboardSpec(
    "headrace-underneath", "Headrace / Underneath", "Processes, groups, retries, database and disk.", ("service",),
    (
        (
            "Processes",
            (
                _panel("Targets that answer", f'up{{job="headrace", {S}}}', "{{service}} {{instance}}"),
                _panel("Ready", f"headrace_ready{{{S}}}", "{{service}} {{instance}}"),
                PanelSpec(
                    "Versions", (Query(f"max by (service, version, python) (headrace_build_info{{{S}}})"),),
                    kind="table",
                ),
                _panel("Memory", f"process_resident_memory_bytes{{{S}}}", "{{service}} {{instance}}", "bytes"),
                _panel(
                    "Processor", f"rate(process_cpu_seconds_total{{{S}}}[5m])", "{{service}} {{instance}}",
                    "percentunit",
                ),
                _panel("Open files", f"process_open_fds{{{S}}}", "{{service}} {{instance}}"),
            ),
        ),
        (
            "Groups and retries",
            (
                _panel(
                    "Retries", f"sum by (service, operation, reason) (rate(headrace_retries_total{{{S}}}[5m]))",
                    "{{operation}} {{reason}}", "cps",
                ),
                _panel(
                    "Rebalances", f"sum by (service) (increase(headrace_rebalances_total{{{S}}}[15m]))", "{{service}}"
                ),
                _panel(
                    "Held-back partitions",
                    f"max by (service, topic, partition) (headrace_tripped_partitions{{{S}}})",
                    "{{service}} {{topic}}/{{partition}}",
                ),
            ),
        ),
        (
            "Database and disk",
            (
                PanelSpec(
                    "Connections",
                    (
                        Query("max(headrace_database_connections)", "used"),
                        Query("max(headrace_database_connections_limit)", "limit"),
                    ),
                    width=6,
                ),
                _panel("Size of the database", "max(headrace_database_size_bytes)", "size", "bytes", width=6),
                PanelSpec(
                    "Disk",
                    (
                        Query(f"min by (service) (headrace_disk_free_bytes{{{S}}})", "free, {{service}}"),
                        Query(f"max by (service) (headrace_disk_size_bytes{{{S}}})", "size, {{service}}"),
                    ),
                    "bytes", width=6,
                ),
                _panel(
                    "Time since the last measurement",
                    f"time() - max by (service) (headrace_measured_timestamp_seconds{{{S}}})", "{{service}}", "s",
                    width=6,
                ),
            ),
        ),
    ),
)  # fmt: skip

DASHBOARDS = (OVERVIEW, PIPELINE, SOURCES, QUALITY, PREDICTIONS, OPERATORS, UNDERNEATH)
