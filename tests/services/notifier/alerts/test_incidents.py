"""The states of an incident."""

from __future__ import annotations

import pytest

from services.notifier.alerts import incidents
from services.notifier.alerts.conditions import Condition
from shared.ops.operations import NotPossible
from tests.services.notifier.alerts.incident_samples import incident, later


def test_an_incident_is_open_then_acknowledged_then_resolved() -> None:
    acknowledged = incidents.acknowledge(incident(), "token:night-shift", later(1))
    resolved = incidents.resolve(acknowledged, later(2))

    assert [each.state for each in (incident(), acknowledged, resolved)] == ["open", "acknowledged", "resolved"]
    assert (resolved.acknowledged_by, resolved.resolved_at) == ("token:night-shift", later(2))


def test_the_first_acknowledgement_counts() -> None:
    first = incidents.acknowledge(incident(), "token:a", later(1))

    assert incidents.acknowledge(first, "token:b", later(2)) == first


def test_a_resolved_incident_is_neither_acknowledged_nor_resolved_again() -> None:
    resolved = incidents.resolve(incident(), later(1))

    with pytest.raises(NotPossible, match="resolved already"):
        incidents.acknowledge(resolved, "token:a", later(2))
    assert incidents.resolve(resolved, later(2)) == resolved


def test_a_refresh_keeps_the_acknowledgement() -> None:
    acknowledged = incidents.acknowledge(incident(), "token:a", later(1))

    refreshed = incidents.refresh(
        acknowledged, Condition("stage-down", "loader", "critical", {"replicas": 1}), later(2)
    )

    assert (refreshed.state, refreshed.detail, refreshed.last_seen_at) == ("acknowledged", {"replicas": 1}, later(2))


def test_opening_and_resolution_have_ids_of_their_own() -> None:
    ids = {of(number) for of in (incidents.record_id, incidents.resolution_id) for number in (1, 2)}

    assert len(ids) == 4
