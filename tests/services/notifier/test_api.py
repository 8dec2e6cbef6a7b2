from __future__ import annotations

import io
import threading
from pathlib import Path

import psycopg

from headrace.database.embedded import EmbeddedPostgres
from services.notifier.api import router, test_message_status
from services.notifier.channels.console import ConsoleChannel
from services.notifier.pacing import DeliveryPolicy
from services.notifier.sender import Sender
from services.notifier.settings import NotifierSettings
from tests.services.endpoints import served, settings_of, settled
from tests.shared.runtime.api.desks import assert_problem


def test_a_trial_message_is_told_and_its_operation_ends(
    postgres: EmbeddedPostgres, database_url: str, tmp_path: Path
) -> None:
    settings = settings_of(NotifierSettings, postgres, database_url, tmp_path)
    conninfo, out = settings.database.conninfo(), io.StringIO()
    stop = threading.Event()
    sender = Sender(
        lambda: psycopg.connect(conninfo, autocommit=True), [ConsoleChannel(out)], DeliveryPolicy(), lambda *_: None
    )
    thread = threading.Thread(target=sender.run, args=(stop,))
    with served(settings, lambda desk: router(desk, ["console"])) as client:
        thread.start()
        try:
            over = settled(client, client.post("/test", json={}), settings, "test", test_message_status)
            told = client.get("/notifications", params={"state": "sent"}).json()
        finally:
            stop.set()
            thread.join()

        assert (over["state"], over["counts"]) == ("succeeded", {"console": "sent"})
        assert [each["rule"] for each in told["notifications"]] == ["test"]
        assert over["id"] in out.getvalue()
        refused = client.post("/test", json={"channels": ["pigeon"]})
        assert "'pigeon'" in assert_problem(refused, 422, "invalid-input")
