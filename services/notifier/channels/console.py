"""Writes messages to a stream, one line each."""

from __future__ import annotations

from typing import TextIO

from services.notifier.channels.base import ChannelBusy, Message, Receipt
from services.notifier.pacing import RateLimit
from services.notifier.texts.message import plain_text


class ConsoleChannel:
    rate = RateLimit(burst=1_000, per_s=1_000)

    def __init__(self, stream: TextIO, name: str = "console") -> None:
        self.name = name
        self._stream = stream

    def send(self, message: Message) -> Receipt:
        line = plain_text(message.text)
        # Characters that the stream's encoding lacks are replaced: a name must not stop the channel.
        encoding = self._stream.encoding or "utf-8"
        try:
            self._stream.write(line.encode(encoding, "replace").decode(encoding) + "\n")
            self._stream.flush()
        except OSError as error:
            raise ChannelBusy(f"cannot write to {self.name}: {error.strerror}") from error
        return Receipt()
