"""Restores a backup into a database and a data directory.

The backup is checked before anything is changed. Schemas that are replaced are renamed first, and come back if the
restore fails. Roles belong to the server and are not in a backup: the migrations create them, and the backup has their
privileges.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psycopg

from headrace.backup.files import DataFolders, ReportStep
from headrace.backup.manifest import DUMP, SCHEMAS, BackupManifest
from headrace.backup.placement import place_files, place_state_files
from headrace.backup.programs import find_program, run_program
from headrace.backup.rows import hold_messages, make_consistent
from headrace.backup.verification import require_intact
from headrace.database.access import Access, one_line, prepare
from headrace.database.data_dir import DataDir
from headrace.database.interrupted_restore import REPLACED
from shared.broker.postgres.identity import renew_database_id
from shared.database.migrations import migrate, migrations
from shared.errors import ConfigError, HeadraceError
from shared.ops.tables import audit
from shared.settings.sections import Settings

# As the other commands name themselves in the trail.
SERVICE = "headrace"
Owner = psycopg.Connection[tuple[object, ...]]


@dataclass(frozen=True)
class RestoreOptions:
    """`who` restores, for the trail. `replace`: the name of the database, if its content may be replaced. `send_again`:
    send messages at once; otherwise they wait until an operator releases them."""

    who: str
    replace: str | None = None
    send_again: bool = False


class RestoreTarget(NamedTuple):
    """Where a backup is restored to."""

    settings: Settings
    folders: DataFolders


@dataclass
class Restored:
    """What was restored. `placed`: files. `held`: messages that wait until an operator releases them; None if messages
    are sent at once."""

    manifest: BackupManifest
    placed: int
    held: int | None = None


def restore_backup(
    folder: Path, access: Access, target: RestoreTarget, options: RestoreOptions, report: ReportStep
) -> Restored:
    """Restore the backup in `folder`. Raises ConfigError if the backup or the database does not allow it, HeadraceError
    if a program fails; the database is then as before."""
    report("checking the backup")
    manifest = require_intact(folder)
    _require_known_migrations(manifest)
    DataDir(target.settings.data_dir).create()
    with DataDir(target.settings.data_dir).run_lock(), access.connect("headrace restore") as connection:
        _require_no_other_session(connection)
        _undo_interrupted(connection)
        _require_replaceable(connection, options.replace)
        report("restoring files")
        restored = Restored(manifest, placed=place_files(folder, manifest, target.folders))
        report("restoring the database")
        with _replaced_schemas(connection, access, folder, manifest), connection.transaction():
            make_consistent(connection)
            if not options.send_again:
                restored.held = hold_messages(connection, manifest.taken_at)
            renew_database_id(connection)
            _append_trail(connection, options.who, manifest)
        place_state_files(folder, manifest, target.folders)
    prepare(access, target.settings)
    return restored


def _require_known_migrations(manifest: BackupManifest) -> None:
    known = {f"{each.area}/{each.number}" for each in migrations()}
    if unknown := [name for name in manifest.migrations if name not in known]:
        raise ConfigError(
            f"the backup was made by a newer version of Headrace ({manifest.headrace}; {unknown[0]} is unknown here):"
            " restore it with that version"
        )


def _require_no_other_session(connection: Owner) -> None:
    rows = connection.execute(
        "SELECT DISTINCT coalesce(nullif(application_name, ''), usename) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend' ORDER BY 1"
    ).fetchall()
    if rows:
        names = ", ".join(str(name) for (name,) in rows[:5])
        raise ConfigError(
            f"the database {connection.info.dbname} is in use ({names}): stop the services and close other sessions"
        )


def _require_replaceable(connection: Owner, replace: str | None) -> None:
    name = connection.info.dbname
    existing = _existing(connection)
    if not existing or replace == name:
        return
    if replace is not None:
        raise ConfigError(f"--replace names {replace!r}, and the database is {name!r}: nothing was changed")
    raise ConfigError(
        f"the database {name} is not empty (it has the schemas {', '.join(existing)}): to replace its content with the"
        f" backup, add --replace {name}"
    )


def _existing(connection: Owner, suffix: str = "") -> list[str]:
    """The schemas of Headrace that exist, without the suffix."""
    names = [schema + suffix for schema in SCHEMAS]
    rows = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname = ANY(%s)", (names,)).fetchall()
    return [schema for schema in SCHEMAS if (schema + suffix,) in rows]


def _append_trail(connection: Owner, who: str, manifest: BackupManifest) -> None:
    after = {"taken_at": manifest.taken_at.isoformat(timespec="seconds")}
    audit.append(connection, SERVICE, who, "restore", manifest.database, after=after, request_id="command")


@contextmanager
def _replaced_schemas(connection: Owner, access: Access, folder: Path, manifest: BackupManifest) -> Iterator[None]:
    """The block sees the schemas of the backup, migrated to this version. If it or the restore fails, those from before
    come back."""
    server_version = connection.info.server_version
    if server_version // 10_000 < manifest.server_version // 10_000:
        raise ConfigError(
            f"the backup is of PostgreSQL {manifest.server_version // 10_000}, and the server is"
            f" {server_version // 10_000}: use a server of the same or a later version"
        )
    program = find_program("pg_restore", manifest.dump_version, embedded=access.server is not None)
    with connection.transaction():
        for schema in _existing(connection):
            connection.execute(f'ALTER SCHEMA "{schema}" RENAME TO "{schema}{REPLACED}"')
    try:
        _migrate(access)
        _drop(connection, "")  # the roles remain
        run_program(
            program, ["--exit-on-error", "--single-transaction", "--no-owner", str(folder / DUMP)], access.owner()
        )
        _migrate(access)
        yield
    except BaseException:
        _undo_interrupted(connection)
        raise
    _drop(connection, REPLACED)


def _migrate(access: Access) -> None:
    try:
        migrate(access.owner().conninfo("headrace restore"))
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigError(f"the database user lacks a privilege for the migrations: {one_line(error)}") from error
    except psycopg.Error as error:
        raise HeadraceError(f"the migrations failed: {one_line(error)}") from error


def _undo_interrupted(connection: Owner) -> None:
    """Bring back the schemas of a restore that failed or was killed."""
    if not (replaced := _existing(connection, REPLACED)):
        return
    with connection.transaction():
        _drop(connection, "")
        for schema in replaced:
            connection.execute(f'ALTER SCHEMA "{schema}{REPLACED}" RENAME TO "{schema}"')


def _drop(connection: Owner, suffix: str) -> None:
    with connection.transaction():
        for schema in _existing(connection, suffix):
            connection.execute(f'DROP SCHEMA "{schema}{suffix}" CASCADE')
