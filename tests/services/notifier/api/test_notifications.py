"""The notifier's endpoints over HTTP: a test message and the list of notifications."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import psycopg

from headrace.database.embedded import EmbeddedPostgres
from services.notifier.api.notifications import delivery_progress, router
from services.notifier.channels.console import ConsoleChannel
from services.notifier.delivery.channel_loop import DeliveryOptions
from services.notifier.delivery.sender import Sender
from services.notifier.pacing import DeliveryPolicy
from services.notifier.settings import NotifierSettings
from tests.services.endpoints import finished_operation, served, settings_of
from tests.shared.runtime.api.admin_apps import assert_problem


def test_a_test_message_is_sent_and_its_operation_ends(
    postgres: EmbeddedPostgres, database_url: str, tmp_path: Path
) -> None:
    settings = settings_of(NotifierSettings, postgres, database_url, tmp_path)
    conninfo, out = settings.database.conninfo(), io.StringIO()
    stop = threading.Event()
    sender = Sender(
        lambda: psycopg.connect(conninfo, autocommit=True),
        [ConsoleChannel(out)],
        DeliveryOptions(DeliveryPolicy(), lambda *_: None),
    )
    thread = threading.Thread(target=sender.run, args=(stop,))
    with served(settings, lambda context: router(context, ["console"])) as client:
        thread.start()
        try:
            operation = finished_operation(client, client.post("/test", json={}), settings, "test", delivery_progress)
            sent = client.get("/notifications", params={"state": "sent"}).json()
        finally:
            stop.set()
            thread.join()

        assert (operation["state"], operation["counts"]) == ("succeeded", {"console": "sent"})
        assert [each["rule"] for each in sent["notifications"]] == ["test"]
        assert operation["id"] in out.getvalue()
        response = client.post("/test", json={"channels": ["pigeon"]})
        assert "'pigeon'" in assert_problem(response, 422, "invalid-input")
