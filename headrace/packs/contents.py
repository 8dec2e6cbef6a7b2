"""What a pack contains: its views, the query of each, and the names of its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from headrace.packs.manifest import PackColumn

MANIFEST, README, DICTIONARY, LICENCE = "manifest.json", "README.md", "dictionary.csv", "LICENCE.txt"


@dataclass(frozen=True)
class PackedView:
    """A view of a pack. `is_dated`: it has one file for each day.

    `statement`: a SELECT whose first column is the day (YYYY-MM-DD; empty for a view without days), in the order of day
    and key, and whose other columns are `types`, by name (`pg_type.typname`).
    """

    name: str
    meaning: str
    key: Sequence[str]
    is_dated: bool
    columns: Sequence[PackColumn]
    types: Mapping[str, str]
    statement: str

    def path_of(self, day: date | None) -> str:
        """The file of a day; of all rows for None."""
        return f"{self.name}/part.parquet" if day is None else f"{self.name}/date={day}/part.parquet"
