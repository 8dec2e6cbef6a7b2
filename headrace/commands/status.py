"""headrace status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import psycopg

from headrace.database.access import Access, access_of, notice
from headrace.database.data_dir import DataDir
from headrace.progress.observer import dead_letter_causes, failed_windows
from headrace.progress.replicas import ReplicaStatus, replicas, with_stopped
from headrace.progress.summary import cause_text, window_text
from headrace.terminal.arguments import DatabaseOptions, Output, OutputOption, grouped_options
from headrace.terminal.output import print_json, print_table, stdout
from shared.errors import HeadraceError
from shared.ops.tables.orders import FRESH_S
from shared.settings.sections import Settings

_PAUSED = (
    "SELECT service || ' on ' || topic || ', by ' || ordered_by || coalesce(': ' || reason, '') FROM ops.orders"
    " WHERE desired = 'paused' ORDER BY service, topic"
)
_HELD_BACK = (
    "SELECT o.service || ' on ' || o.topic || '/' || o.p || ' in ' || o.replica || coalesce(': ' || o.cause, '')"
    " || '; `headrace resume ' || o.service || ' ' || o.topic || '` tries again' FROM ops.observed o"
    " JOIN ops.replicas r USING (service, replica) WHERE o.state = 'tripped' AND r.state <> 'stopped'"
    f" AND r.seen_at > now() - make_interval(secs => {FRESH_S}) ORDER BY 1"
)
_OPEN = (
    "SELECT service || ' ' || kind || ' ' || id::bigint || ' ' || state || ', ' || round(progress * 100) || ' %'"
    " || coalesce(', waits: ' || waiting_for, '') FROM ops.operations WHERE finished_at IS NULL ORDER BY id"
)
_CONTROL = (("paused", _PAUSED), ("held back", _HELD_BACK), ("operation", _OPEN))


@grouped_options
def status(place: DatabaseOptions, output: OutputOption = Output.TABLE) -> None:
    """Show every service, what failed, what became dead letters, what is paused and under way. Starts nothing."""
    found, failed, causes, control = look(place.settings)
    if output is Output.JSON:
        print_json([replica.as_json() for replica in found])
        return
    show(found, failed, causes)
    for line in control:
        stdout().print(line, markup=False)


def look(
    settings: Settings,
) -> tuple[list[ReplicaStatus], Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]], Sequence[str]]:
    """Replicas, failed windows, causes of dead letters, from the last run's notes where the database is down; and what
    operators paused, what is held back, and which operations are open."""
    access = access_of(settings)
    if access.is_up():
        try:
            with access.connect("headrace status") as connection:
                found = replicas(connection)
                failed = failed_windows(connection) or _kept(settings)[0]
                control = [f"{name:<14} {text}" for name, query in _CONTROL for (text,) in connection.execute(query)]
                return found, failed, dead_letter_causes(connection), control
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):  # nothing ran there yet
            return with_stopped([]), [], [], []
    if access.server is None:
        notice(f"the database does not answer, so this is what the last run noted; {_why(access)}")
    return with_stopped([]), *_kept(settings), []


def _why(access: Access) -> str:
    try:
        access.require()
    except HeadraceError as error:
        return str(error)
    return "it does now"


def show(
    found: Sequence[ReplicaStatus], failed: Sequence[Mapping[str, Any]], causes: Sequence[Mapping[str, Any]]
) -> None:
    columns = ("service", "replica", "pid", "state", "ready", "to go", "admin")
    rows = [
        each.as_json() | {"pid": str(each.pid or ""), "to go": each.lag_records, "admin": each.admin_url}
        for each in found
    ]
    print_table(columns, rows)
    console = stdout()
    for window in failed:
        console.print(f"failed window  {window_text(window)}", markup=False)
    for cause in causes:
        console.print(f"dead letters   {cause_text(cause)}", markup=False)
    if not failed and not causes:
        console.print("no failed windows, no dead letters")


def _kept(settings: Settings) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    try:
        kept = orjson.loads(DataDir(settings.data_dir).last_run.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return [], []
    return kept.get("failed_windows", []), kept.get("dead_letters", [])
