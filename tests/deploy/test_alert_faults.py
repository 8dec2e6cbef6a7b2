"""Every alert fires on its fault and clears.

The faults of service_faults.py are made on single parts and stretched over hours; those of run_faults.py are made in a
real run (test_scraped_run.py).
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import psycopg
import pytest
import yaml

from shared.runtime.metrics import Metrics
from tests.deploy.run_faults import FAULTS as RUN_FAULTS
from tests.deploy.service_faults import FAULTS, Fault, Parts
from tests.deploy.stretched import RULES, Phase, assert_alerts, scrape_of


def test_every_alert_has_a_fault() -> None:
    faults = [alert for alerts in (*FAULTS.values(), *RUN_FAULTS.values()) for alert in alerts]
    groups = yaml.safe_load((RULES / "alerts.yml").read_text())["groups"]

    assert sorted(faults) == sorted(rule["alert"] for group in groups for rule in group["rules"])


# Parts of a service do not set these metrics.
OF_WHOLE_SERVICES = {"NotReady", "MeasurementsStale"}


@pytest.mark.prometheus
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_alerts_fire_on_a_fault_and_clear(
    fault: Fault, database_url: str, database: psycopg.Connection[tuple[object, ...]], tmp_path: Path
) -> None:
    parts = Parts(database_url, database, tmp_path, defaultdict(Metrics))

    phases = [Phase(scrape_of(parts.metrics), minutes, firing) for minutes, firing in fault(parts)]

    assert {alert for phase in phases for alert in phase.firing} == FAULTS[fault]
    assert not phases[0].firing
    assert not phases[-1].firing
    assert_alerts(phases, tmp_path, ignored=OF_WHOLE_SERVICES - FAULTS[fault])
