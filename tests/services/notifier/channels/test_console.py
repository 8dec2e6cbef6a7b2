"""The console channel writes one line per message."""

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


def test_a_character_that_the_terminal_cannot_show_is_replaced() -> None:
    content = io.BytesIO()
    stream = io.TextIOWrapper(content, encoding="ascii")

    ConsoleChannel(stream).send(message("日本 1"))

    assert content.getvalue() == b"?? 1\n"


def test_a_closed_reader_is_a_temporary_failure() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")

    with pytest.raises(ChannelBusy, match="cannot write to console"):
        ConsoleChannel(stream).send(message("a"))

    with pytest.raises(BrokenPipeError):
        stream.close()
