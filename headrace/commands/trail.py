"""headrace trail."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from headrace.database.access import opened_if_made
from headrace.remote.asking import Asking
from headrace.remote.services import MaybeServiceArgument, of_each
from headrace.terminal.arguments import grouped_options
from headrace.terminal.output import give
from shared.ops.tables import audit as audit_table
from shared.settings.sections import Settings

TRAIL = ("id", "at", "service", "who", "action", "target", "outcome", "request_id")


@grouped_options
def trail(
    asking: Asking,
    service: MaybeServiceArgument = None,
    before: Annotated[int | None, typer.Option(metavar="ID", help="Older than this line.")] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000, help="How many.")] = 50,
) -> None:
    """Who asked for what, of a service or of this command, and what came of it; the newest first.

    Nobody can change a line. It is read from the database, also when nothing runs; with --url, from a replica.
    """
    if asking.url is None:
        lines = in_database(asking.settings, service and service.value, before, limit)
    else:
        found = of_each(asking, service, "/audit", before=before, limit=limit)
        lines = [line for _, page in found[:1] for line in page["lines"]]
    give(asking.output, lines, TRAIL, lines, "nobody did anything")


def in_database(settings: Settings, service: str | None, before: int | None, limit: int) -> list[dict[str, Any]]:
    with opened_if_made(settings) as access, access.connect("headrace trail") as connection:
        connection.execute("SET timezone = 'UTC'")
        found = audit_table.lines(connection, service, before_id=before, limit=limit)
    return [{**line._asdict(), "at": line.at.isoformat()} for line in found]
