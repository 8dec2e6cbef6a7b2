"""The manifest of a backup: what it contains, of which moment, and the SHA-256 of each file.

BACKUP/manifest.json     written last: a folder without it is not a backup
BACKUP/database.dump     the schemas of Headrace, in pg_dump's custom format
BACKUP/files/...         files of the data directory, under the same paths
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError, field_validator

from shared.errors import ConfigError

FORMAT = "headrace-backup/1"
MANIFEST, DUMP, FILES = "manifest.json", "database.dump", "files"
# In order of dependency: the ones at the front are used by the ones behind.
SCHEMAS = ("ops", "broker", "fetcher", "facts", "notifier", "analytics")


class BackupFile(BaseModel):
    """A file of the backup. `path` is relative to the backup, with `/` between folders."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    size_bytes: int
    sha256: str

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or ".." in parts or "\0" in path:
            raise ValueError(f"expected a path inside the backup, got {path[:200]!r}")
        return path


class BackupManifest(BaseModel):
    """`taken_at`: the moment of the rows, in UTC. `positions` and `ends`: offsets at this moment, the positions by
    consumer group, each partition as `TOPIC/PARTITION`; with Kafka, those that are stored in the database.
    `migrations`: the applied ones, as `AREA/NUMBER`. `parts`: the folders of the data directory that existed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["headrace-backup/1"] = "headrace-backup/1"
    headrace: str
    taken_at: AwareDatetime
    database: str
    database_id: str | None
    server_version: int
    dump_version: int
    broker: str | None
    migrations: list[str]
    positions: dict[str, dict[str, int]]
    ends: dict[str, int]
    parts: list[str]
    files: list[BackupFile]

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    def encode(self) -> bytes:
        return self.model_dump_json(indent=1).encode()


def decode_manifest(text: bytes, place: object) -> BackupManifest:
    """Raises ConfigError that names the place."""
    try:
        return BackupManifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(
            f"{place} is not the manifest of a backup that this version can read ({where}: {first['msg']}):"
            " expected one that `headrace backup` wrote"
        ) from error
