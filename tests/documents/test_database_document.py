"""docs/database.md has the tables of the schema dictionary."""

from __future__ import annotations

from pathlib import Path

from tests.documents import database_tables
from tests.shared.generated import compare

DOCUMENT = Path(__file__).parents[2] / "docs" / "database.md"


def test_the_diagram_is_that_of_the_dictionary() -> None:
    compare(DOCUMENT, "diagram", database_tables.diagram())


def test_the_tables_are_those_of_the_dictionary() -> None:
    compare(DOCUMENT, "tables", database_tables.tables())
