"""Runs a real sender in a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import psycopg

from services.notifier.channels.base import Channel
from services.notifier.delivery.channel_loop import DeliveryOptions
from services.notifier.delivery.sender import Sender
from services.notifier.pacing import DeliveryPolicy
from tests.waiting import DEADLINE_S


@contextmanager
def sending(conninfo: str, *channels: Channel) -> Iterator[None]:
    """A sender of these channels, without rules that hold or pace anything."""
    options = DeliveryOptions(DeliveryPolicy(poll_s=0.01), lambda *_: None)
    sender, stop = Sender(partial(psycopg.connect, conninfo, autocommit=True), channels, options), threading.Event()
    thread = threading.Thread(target=sender.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()
