"""Messages and predictions that overtook their events are noticed."""

from __future__ import annotations

from typing import Any

import psycopg

from tests.faults.accidents.of_predictions import overtaken

LEDGER = (
    "INSERT INTO notifier.ledger (record_id, rule, channel, event_key, text, created_at, due_at)"
    " VALUES (gen_random_uuid(), %s, 'webhook', %s, 'a text', now(), now())"
)


def test_a_tip_whose_event_is_not_loaded_has_overtaken_it(database: psycopg.Connection[Any]) -> None:
    assert overtaken(database) == set()

    database.execute(LEDGER, ("incident", "incident/1"))
    assert overtaken(database) == set()

    database.execute(LEDGER, ("tip", "unknown/event"))
    assert overtaken(database) == {"messages about predictions of events that are not loaded"}
