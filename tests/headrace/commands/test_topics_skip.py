"""The command `headrace topics skip` against the cleaner's API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from headrace.cli import command
from headrace.database.embedded import EmbeddedPostgres
from shared.broker.contract import Damaged, TopicPartition
from shared.ops.holds import Hold, cause_of_damage
from shared.ops.tables import holds as holds_table
from shared.topics import RAW
from tests.services.apps import server_of
from tests.shared.runtime.api.admin_apps import FILE_TOKEN, as_role, write_token_file

Database = psycopg.Connection[Any]
Skip = Callable[..., tuple[int, str, str]]
TP = TopicPartition(RAW, 2)


@pytest.fixture
def skip(
    postgres: EmbeddedPostgres, database_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> Iterator[Skip]:
    login = as_role(postgres, database_url, "headrace_cleaner")
    with server_of("cleaner", database_url, login, tmp_path, FILE_TOKEN) as server:

        def run(*arguments: str) -> tuple[int, str, str]:
            capfd.readouterr()
            options = ["--url", server.url, "--token-file", str(write_token_file(tmp_path)), "--reason", "bad disk"]
            code = command(["topics", "skip", *arguments, *options])
            return code, *capfd.readouterr()

        yield run


def hold_for_damage(database: Database) -> None:
    cause = cause_of_damage("cleaner", Damaged(TP, 5120, 5140, "wrong checksum"))
    holds_table.hold(database, "cleaner", Hold(TP, "damaged", cause, 0, datetime(2031, 5, 4, tzinfo=UTC)))


def test_damaged_records_are_skipped_with_a_line_in_the_trail(skip: Skip, database: Database) -> None:
    hold_for_damage(database)

    code, out, _ = skip(RAW, "2", "5120")

    assert (code, out) == (0, f"the cleaner continues {RAW}/2 at offset 5140\n")
    assert [hold.continue_at for hold in holds_table.holds(database, "cleaner")] == [5140]
    assert database.execute("SELECT action, target, after ->> 'reason' FROM ops.audit").fetchall() == [
        ("skip", f"{RAW}/2/5120", "bad disk")
    ]


def test_records_that_are_not_damaged_are_not_skipped(skip: Skip, database: Database) -> None:
    nothing = skip(RAW, "2", "5120")
    hold_for_damage(database)
    elsewhere = skip(RAW, "2", "77")

    assert (nothing[0], "no running service is held back by damaged records" in nothing[2]) == (1, True)
    assert (elsewhere[0], "is held for the records at 5120, not for those at 77" in elsewhere[2]) == (1, True)
    assert [hold.continue_at for hold in holds_table.holds(database, "cleaner")] == [None]
