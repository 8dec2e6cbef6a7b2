"""Runs a real sender in a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import NoReturn

from services.notifier.channels.base import Channel
from services.notifier.delivery.channel_loop import DeliveryOptions
from services.notifier.delivery.sender import Sender
from services.notifier.pacing import DeliveryPolicy
from shared.database.connection import limited_connection
from tests.waiting import DEADLINE_S


def open_connection() -> NoReturn:
    """For senders and composers of which a test calls single steps: these take their connection as an argument."""
    raise AssertionError("a step opens no connection")


@contextmanager
def sending(conninfo: str, *channels: Channel) -> Iterator[None]:
    """A sender of these channels, without rules that hold or pace anything."""
    options = DeliveryOptions(DeliveryPolicy(poll_s=0.01), lambda *_: None)
    sender, stop = (
        Sender(partial(limited_connection, conninfo, "sender", DEADLINE_S), channels, options),
        threading.Event(),
    )
    thread = threading.Thread(target=sender.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()
