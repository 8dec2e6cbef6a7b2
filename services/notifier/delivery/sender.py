"""Sends the notifications in the ledger, with one thread and one database connection for each kind of channel.

A slow channel therefore does not delay the others. A notification is claimed in one transaction and marked as sent in
another; storage/postgres_claims.py describes what happens if the sender dies in between.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from services.notifier.channels.base import Channel
from services.notifier.delivery.channel_loop import ChannelLoop, Connect, DeliveryOptions
from shared.runtime.process.watchdog import part_of


class Sender:
    """`connect` returns another connection at each call, for one thread."""

    def __init__(self, connect: Connect, channels: Sequence[Channel], options: DeliveryOptions) -> None:
        self._loops = {channel.name: ChannelLoop(connect, channel, options) for channel in channels}

    def run(self, stop: threading.Event) -> None:
        """Send until `stop` is set. An unexpected error in one channel sets `stop`, ends all channels and is raised."""
        if not self._loops:
            stop.wait()
            return
        with ThreadPoolExecutor(len(self._loops), thread_name_prefix="sender") as threads:
            runs = [threads.submit(loop.run, part_of(stop, f"sender {name}")) for name, loop in self._loops.items()]
            for ended in as_completed(runs):
                if ended.exception() is not None:
                    stop.set()
        for run in runs:
            run.result()
