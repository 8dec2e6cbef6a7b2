"""`headrace db rebuild` repairs the rows that it computes, and changes nothing in a sound database."""

from __future__ import annotations

import psycopg
import pytest

from headrace.verification.postgres_rebuild import rebuild
from tests.headrace.verification.test_verify import Loaded, NoProgress, inconsistencies_of, loaded, template
from tests.services.loader.views import Tables, tables

__all__ = ["loaded", "template"]
DAMAGES = {
    "facts.return_rates": "UPDATE facts.return_rates SET returned = returned + 1",
    "facts.profiles": "DELETE FROM facts.profiles",
    "facts.entities": "UPDATE facts.entities SET name = 'x'",
    "facts.events": "UPDATE facts.events SET session_title = 'x', session_grade = 9",
    "facts.sessions": "UPDATE facts.sessions SET title = 'x', grade = NULL",
    "facts.past_facts": "DELETE FROM facts.past_facts",
}


def rebuilt(loaded: Loaded, *statements: str) -> Tables:
    with psycopg.connect(loaded.url, autocommit=True) as connection:
        for statement in statements:
            assert connection.execute(statement.encode()).rowcount > 0
        assert rebuild(connection, NoProgress()) == 3
        return tables(connection, without=())


def test_a_rebuild_of_a_sound_database_changes_no_row(loaded: Loaded) -> None:
    with psycopg.connect(loaded.url) as connection:
        before = tables(connection, without=())
    assert rebuilt(loaded) == before
    assert inconsistencies_of(loaded) == []


def test_a_rebuild_repairs_what_it_computes(loaded: Loaded) -> None:
    with psycopg.connect(loaded.url) as connection:
        before = tables(connection, without=())
    assert rebuilt(loaded, *DAMAGES.values()) == before
    assert inconsistencies_of(loaded) == []


@pytest.mark.parametrize(("table", "statement"), DAMAGES.items(), ids=DAMAGES)
def test_verify_says_that_a_rebuild_repairs_it(loaded: Loaded, table: str, statement: str) -> None:
    with psycopg.connect(loaded.url, autocommit=True) as connection:
        connection.execute(statement.encode())
    remedies = {each.remedy for each in inconsistencies_of(loaded) if each.table == table}
    assert [remedy.startswith("headrace db rebuild") for remedy in remedies] == [True]
