"""One line a message."""

from __future__ import annotations

import io
import os
from uuid import uuid4

import pytest

from services.notifier.channels.base import ChannelBusy, Message
from services.notifier.channels.console import ConsoleChannel


def message(text: str) -> Message:
    return Message("m", uuid4(), "tip", "k", text)


def test_a_message_is_one_line() -> None:
    stream = io.StringIO()

    ConsoleChannel(stream).send(message("**Tip** · a\nb \\*c\\*"))

    assert stream.getvalue() == "Tip · a · b *c*\n"


def test_a_character_the_terminal_lacks_stops_nothing() -> None:
    content = io.BytesIO()
    stream = io.TextIOWrapper(content, encoding="ascii")

    ConsoleChannel(stream).send(message("日本 1"))

    assert content.getvalue() == b"?? 1\n"


def test_a_reader_that_went_away_is_busy_not_fatal() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")

    with pytest.raises(ChannelBusy, match="cannot write to console"):
        ConsoleChannel(stream).send(message("a"))

    with pytest.raises(BrokenPipeError):
        stream.close()
