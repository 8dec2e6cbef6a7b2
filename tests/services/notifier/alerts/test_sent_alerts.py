"""Alerts as people see them: through the real sender, on a channel that cannot edit messages and on one that can."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from services.notifier.alerts import postgres_incidents as storage
from services.notifier.alerts.watch import AlertWatch
from services.notifier.channels.base import Message, Receipt
from services.notifier.channels.console import ConsoleChannel
from services.notifier.pacing import RateLimit
from tests.services.notifier.alerts.pipeline_rows import Database, PipelineRows
from tests.services.notifier.alerts.readings import rule
from tests.services.notifier.books import book_of, default_book
from tests.services.notifier.sending import sending
from tests.waiting import wait_until

DOWN = rule("stage-down", for_s=0, addresses=("console", "board/alerts"))


class Board:
    """A channel that keeps its messages, and can edit them."""

    name = "board"
    rate = RateLimit(burst=100, per_s=100)

    def __init__(self) -> None:
        self.texts: list[str] = []

    def send(self, message: Message) -> Receipt:
        self.texts.append(message.text)
        return Receipt(str(len(self.texts) - 1))

    def edit(self, external_id: str, message: Message) -> None:
        self.texts[int(external_id)] = message.text

    def titles(self) -> list[str]:
        return [text.splitlines()[0] for text in self.texts]


@pytest.fixture
def console() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def board(database_url: str, console: io.StringIO) -> Iterator[Board]:
    """The channel, while a sender works."""
    board = Board()
    with sending(database_url, ConsoleChannel(console), board):
        yield board


def test_an_incident_is_one_message_that_follows_it_and_two_where_messages_cannot_be_edited(
    database: Database, database_url: str, console: io.StringIO, board: Board
) -> None:
    rows, watch = PipelineRows(database), AlertWatch(database_url, lambda: [DOWN], default_book, {"board"}, clear_s=0)
    rows.start()
    rows.stop("loader")

    watch.step(database)
    wait_until(lambda: board.titles() == ["**Stage down** · loader"] and console.getvalue())
    watch.step(database)
    with database.transaction():
        storage.acknowledge_incident(database, storage.list_incidents(database)[0].id, "token:a", default_book())
    wait_until(lambda: board.titles() == ["**Acknowledged: Stage down** · loader"])
    rows.start("loader")
    watch.step(database)
    wait_until(lambda: board.titles() == ["**Resolved: Stage down** · loader"])
    wait_until(lambda: console.getvalue().count("\n") == 2)

    first, second = console.getvalue().splitlines()
    assert first.startswith("Stage down · loader · 0 of 1 replicas work.")
    assert second.startswith("Resolved: Stage down · loader · Resolved 20")


TEMPLATE = """\
{{ title }} of {{ subject }}: {{ state }}
{% if is_second %}
(see above)
{% endif %}
"""


def test_a_template_gives_the_text_of_every_message_of_an_incident(
    database: Database, database_url: str, console: io.StringIO, board: Board
) -> None:
    book = book_of(stage_down={"finding": "stage-down", "template": TEMPLATE})
    rows, watch = PipelineRows(database), AlertWatch(database_url, lambda: [DOWN], lambda: book, {"board"}, clear_s=0)
    rows.start()
    rows.stop("loader")

    watch.step(database)
    wait_until(lambda: board.texts == ["Stage down of loader: open"] and console.getvalue())
    with database.transaction():
        storage.acknowledge_incident(database, storage.list_incidents(database)[0].id, "token:a", book)
    wait_until(lambda: board.texts == ["Stage down of loader: acknowledged"])
    rows.start("loader")
    watch.step(database)
    wait_until(lambda: board.texts == ["Stage down of loader: resolved"])
    wait_until(lambda: console.getvalue().count("\n") == 2)

    assert console.getvalue().splitlines() == [
        "Stage down of loader: open", "Stage down of loader: resolved · (see above)",
    ]  # fmt: skip
