"""The command `headrace trail`: prints the audit trail."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from headrace.backup.trail_archive import archive_trail
from headrace.database.access import open_existing_database
from headrace.remote.asking import ApiOptions
from headrace.remote.services import MaybeServiceArgument, get_from_each
from headrace.terminal.arguments import WideOption, grouped_options
from headrace.terminal.output import print_answer, stdout
from shared.errors import ConfigError
from shared.ops.tables import audit as audit_table
from shared.settings.sections import Settings

COLUMNS = ("id", "at", "service", "who", "action", "target", "outcome")
WIDE_COLUMNS = (*COLUMNS, "request_id", "before", "after")


@grouped_options
def trail(
    api_options: ApiOptions,
    service: MaybeServiceArgument = None,
    before: Annotated[int | None, typer.Option(metavar="ID", help="Only lines older than this one.")] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000, help="How many at most.")] = 50,
    archive: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Move old lines to a new file (JSON lines) instead; with --older-than."),
    ] = None,
    older_than: Annotated[
        datetime | None, typer.Option(metavar="YYYY-MM", formats=["%Y-%m"], help="The first month (UTC) that stays.")
    ] = None,
    wide: WideOption = False,
) -> None:
    """List the changes that were requested of the services or made by this command, the newest first: who, what, and
    the outcome.

    Lines cannot be changed. They are read from the database, even if no service runs; with --url, from a replica.
    Times are in UTC. --archive FILE --older-than 2026-01 moves old lines to a file.
    """
    if (archive is None) is not (older_than is None):
        raise ConfigError(
            "--archive and --older-than belong together: headrace trail --archive FILE --older-than 2026-01"
        )
    if archive is not None and older_than is not None:
        move_lines(api_options.settings, archive.expanduser().absolute(), older_than.replace(tzinfo=UTC))
        return
    if api_options.url is None:
        lines = lines_in_database(api_options.settings, service and service.value, before, limit)
    else:
        answers = get_from_each(api_options, service, "/audit", before=before, limit=limit)
        lines = [line for _, page in answers[:1] for line in page["lines"]]
    rows = [{**line, "id": str(line["id"])} for line in lines]  # without a thousands separator, as --before expects it
    columns = WIDE_COLUMNS if wide else COLUMNS
    print_answer(api_options.output, lines, columns, rows, "the trail is empty", times=("at",), wide=wide)


def move_lines(settings: Settings, file: Path, before: datetime) -> None:
    who = f"command:{getpass.getuser()}"
    with open_existing_database(settings) as access, access.connect("headrace trail") as connection:
        connection.execute("SET timezone = 'UTC'")
        count = archive_trail(connection, file, before, who)
    stdout().print(f"{file}: {count:,} lines older than {before:%Y-%m}", markup=False, soft_wrap=True)


def lines_in_database(settings: Settings, service: str | None, before: int | None, limit: int) -> list[dict[str, Any]]:
    with open_existing_database(settings) as access, access.connect("headrace trail") as connection:
        connection.execute("SET timezone = 'UTC'")
        lines = audit_table.list_entries(connection, service, before_id=before, limit=limit)
    return [{**line._asdict(), "at": line.at.isoformat()} for line in lines]
