"""The manifest of a pack: what is in it, from when, and the hash of each file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import HeadraceError
from shared.records import reason_of

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class BadPack(HeadraceError):
    """A folder contains no pack, or a pack cannot be written there. The message says why."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PackFile(_Part):
    """One file. `view`, `date` and `rows` are null for texts; `day` also for a view without days."""

    path: str
    view: str | None = None
    day: date | None = None
    rows: int | None = None
    bytes: int
    sha256: Sha256


class PackColumn(_Part):
    """`type` is the type in PostgreSQL; `none` is the meaning of a missing value, empty if there is none."""

    name: str
    type: str
    unit: str
    meaning: str
    none: str


class PackView(_Part):
    """`partitioned_by`: the column that is in the paths of the files and not in the files."""

    meaning: str
    key: tuple[str, ...]
    partitioned_by: Literal["date"] | None
    rows: int
    columns: tuple[PackColumn, ...]


class PackManifest(_Part):
    """`as_of` is the time of the database's clock at which all rows were read, in one snapshot."""

    format: Literal["headrace-pack/1"] = "headrace-pack/1"
    first_day: date | None
    last_day: date | None
    as_of: datetime
    headrace_version: str
    sources: tuple[str, ...]
    licences: Mapping[str, str | None]
    views: Mapping[str, PackView]
    files: tuple[PackFile, ...]

    def encode(self) -> bytes:
        return self.model_dump_json(indent=2).encode()

    @property
    def rows(self) -> int:
        return sum(view.rows for view in self.views.values())

    @property
    def size_bytes(self) -> int:
        return sum(file.bytes for file in self.files)


def decode(content: bytes) -> PackManifest:
    """Raises BadPack."""
    try:
        return PackManifest.model_validate_json(content)
    except ValidationError as error:
        raise BadPack(f"manifest.json is not the manifest of a pack: {reason_of(error)}") from None
