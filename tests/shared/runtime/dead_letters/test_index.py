"""The index of a dead letter topic, on a real log."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from shared.broker.contract import NewRecord
from shared.broker.postgres.broker import PostgresBroker
from shared.ops.dead_letters import CAUSE, DeadLetterPlace
from shared.runtime.dead_letters.index import DeadLetterIndex, read_letter
from tests.shared.runtime.loop_harness import append, open_broker


@pytest.fixture
def broker(url: str) -> Iterator[PostgresBroker]:
    broker = open_broker(url)
    yield broker
    broker.close()


def letters(count: int, cause: str = "ValueError") -> list[NewRecord]:
    return [NewRecord("cleaner.dlq", b"k%d" % n, b"v%d" % n, {CAUSE: cause.encode()}) for n in range(count)]


def offsets(index: DeadLetterIndex) -> list[int]:
    return [letter.place.offset for letter in index.letters()]


def test_a_refresh_reads_new_letters_and_the_newest_are_listed_first(broker: PostgresBroker) -> None:
    index = DeadLetterIndex("cleaner")
    append(broker, letters(3))
    index.refresh(broker)
    append(broker, letters(2, "KeyError"))

    index.refresh(broker)

    assert offsets(index) == [4, 3, 2, 1, 0]
    assert [letter.cause for letter in index.letters()] == ["KeyError"] * 2 + ["ValueError"] * 3
    assert index.spans() == {0: (0, 5)}


def test_only_the_newest_letters_are_kept_and_the_spans_say_which(broker: PostgresBroker) -> None:
    index = DeadLetterIndex("cleaner", max_letters=3)
    append(broker, letters(2))
    index.refresh(broker)
    append(broker, letters(2))
    index.refresh(broker)

    assert (offsets(index), index.spans()) == ([3, 2, 1], {0: (1, 4)})

    late = DeadLetterIndex("cleaner", max_letters=3)
    late.refresh(broker)
    assert (offsets(late), late.spans()) == ([3, 2, 1], {0: (1, 4)})


def test_letters_removed_by_retention_are_forgotten(broker: PostgresBroker, url: str) -> None:
    index = DeadLetterIndex("cleaner")
    append(broker, letters(3))
    append(broker, letters(1))
    index.refresh(broker)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DELETE FROM broker.log WHERE base_off = 0")
        connection.execute("UPDATE broker.partitions SET begin_off = 3 WHERE end_off = 4")

    index.refresh(broker)

    assert (offsets(index), index.spans()) == ([3], {0: (3, 4)})
    assert read_letter(broker, "cleaner", DeadLetterPlace(0, 1)) is None


def test_a_letter_is_read_by_its_place(broker: PostgresBroker) -> None:
    append(broker, letters(3))

    records = [
        read_letter(broker, "cleaner", place)
        for place in (DeadLetterPlace(0, 1), DeadLetterPlace(0, 3), DeadLetterPlace(9, 0))
    ]

    assert [record and record.value for record in records] == [b"v1", None, None]


def test_the_letters_of_another_service_are_not_listed(broker: PostgresBroker) -> None:
    index = DeadLetterIndex("loader")
    append(broker, letters(3))

    index.refresh(broker)

    assert (index.letters(), index.spans()) == ([], {0: (0, 0)})
