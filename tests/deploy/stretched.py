"""Stretches scrapes of a short fault over hours and evaluates the shipped rules on them, with promtool.

A fault is made in milliseconds, but an alert waits for hours. Each scrape therefore stands for a phase of given
length. What moved since the scrape before moves through the whole phase, and what stood still stands still.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from shared.runtime.metrics import Metrics
from shared.topics import SERVICES

RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "rules"
COUNTERS = ("_total", "_bucket", "_count", "_sum")
AGES = ("_age_seconds", "_idle_seconds", "_lag_seconds")
TIMESTAMP = "_timestamp_seconds"
MINUTE_S = 60

Series = tuple[str, frozenset[tuple[str, str]]]
"""Name and labels."""

Scrape = Mapping[Series, float]


class Phase(NamedTuple):
    """A scrape that stands for `minutes`, and the alerts that fire at the end of them."""

    scrape: Scrape
    minutes: int
    firing: Collection[str] = ()


def series_of(name: str, **labels: str) -> Series:
    return name, frozenset(labels.items())


def scrape_of(registries: Mapping[str, Metrics]) -> Scrape:
    """The text of each service's /metrics as Prometheus reads it, and `up` of all services."""
    values = {series_of("up", job="headrace", service=service, instance="0"): 1.0 for service in SERVICES}
    for service, metrics in registries.items():
        target = {"job": "headrace", "instance": "0"}
        for family in text_string_to_metric_families(generate_latest(metrics.registry).decode()):
            for sample in family.samples:
                if sample.name.startswith("headrace_"):
                    values[series_of(sample.name, **{"service": service, **sample.labels, **target})] = sample.value
    return values


def stretched(phases: Sequence[Phase]) -> dict[Series, list[float | None]]:
    """One value a minute of each series; None while it does not exist. A phase begins after the last minute of the one
    before; the first one has its first value at 0."""
    values: dict[Series, list[float | None]] = {each: [] for phase in phases for each in phase.scrape}
    start_s = -MINUTE_S
    for number, phase in enumerate(phases):
        before = phases[number - 1].scrape if number else {}
        end_s = start_s + MINUTE_S * (phase.minutes if number else phase.minutes + 1)
        times_s = range(start_s + MINUTE_S, end_s + 1, MINUTE_S)
        for series, samples in values.items():
            last = samples[-1] if samples else None
            samples.extend(_samples(series[0], before.get(series), phase.scrape.get(series), last, start_s, times_s))
        start_s = end_s
    return values


def _samples(
    name: str, before: float | None, now: float | None, last: float | None, start_s: int, times_s: range
) -> Iterable[float | None]:
    """`before` and `now`: scraped values; `last`: the sample at `start_s`.

    A counter grows evenly. A timestamp that advanced is the time of the sample. An age that grew grows with the time.
    """
    if now is None:
        return [None] * len(times_s)
    if name.endswith(COUNTERS):
        begin = now if before is None or last is None or now < before else last
        growth = 0.0 if before is None else max(0.0, now - before)
        return [begin + growth * (number + 1) / len(times_s) for number in range(len(times_s))]
    if name.endswith(TIMESTAMP) and now:
        return [max(1, time_s) if before != now or last is None else last for time_s in times_s]
    if name.endswith(AGES) and before is not None and last is not None and now > before:
        return [last + time_s - start_s for time_s in times_s]
    return [now] * len(times_s)


def assert_alerts(phases: Sequence[Phase], folder: Path, ignored: Collection[str] = ()) -> None:
    """Assert that exactly the alerts of a phase fire at its end, and none before the first phase that has alerts; after
    the last phase, and if no phase has alerts, none waits for its `for` either. `folder`: for the files of promtool."""
    case = _case(phases, "|".join(ignored))
    (folder / "case.yml").write_text(yaml.safe_dump(case), encoding="utf-8")
    promtool = shutil.which("promtool")
    assert promtool is not None
    command = [promtool, "test", "rules", str(folder / "case.yml")]
    process = subprocess.run(command, check=False, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr


def _case(phases: Sequence[Phase], ignored: str) -> dict[str, Any]:
    end_s, has_fired, checks = 0, False, []
    for number, phase in enumerate(phases):
        end_s += MINUTE_S * phase.minutes
        has_fired = has_fired or bool(phase.firing)
        is_quiet = number == len(phases) - 1 or not any(each.firing for each in phases)
        firing = "" if is_quiet else 'alertstate="firing",'
        alerts = f'ALERTS{{{firing}alertname!~"{ignored}"}}'
        checks.append(
            {
                "eval_time": f"{end_s}s",
                "expr": f"group by (alertname) ({alerts if has_fired else f'last_over_time({alerts}[{end_s + 1}s])'})",
                "exp_samples": [{"labels": f'{{alertname="{each}"}}', "value": 1} for each in sorted(phase.firing)],
            }
        )
    series = [
        {"series": _selector(each), "values": " ".join("_" if value is None else f"{value:.15g}" for value in values)}
        for each, values in stretched(phases).items()
    ]
    return {
        "rule_files": [str(path) for path in sorted(RULES.glob("*.yml"))],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": checks}],
    }


def _selector(series: Series) -> str:
    name, labels = series
    return f"{name}{{{','.join(f'{label}={_quoted(value)}' for label, value in sorted(labels))}}}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", r"\\").replace('"', r"\"") + '"'
