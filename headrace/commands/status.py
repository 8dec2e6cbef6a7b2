"""headrace status."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import psycopg
from rich.console import Console
from rich.table import Table

from headrace.access import access_of
from headrace.commands.arguments import (
    ConfigOption,
    DatabaseOption,
    DataDirOption,
    Output,
    OutputOption,
    settings_of,
    stdout,
)
from headrace.data_dir import DataDir
from headrace.observe import Replica, dead_letter_causes, failed_windows, replicas, with_stopped
from headrace.summary import cause_text, window_text
from shared.settings import Settings


def status(
    output: OutputOption = Output.TABLE,
    data_dir: DataDirOption = None,
    database: DatabaseOption = None,
    config: ConfigOption = None,
) -> None:
    """Show every service, what failed to be fetched, and why records became dead letters. Starts nothing."""
    found, failed, causes = look(settings_of(data_dir, database, config))
    if output is Output.JSON:
        sys.stdout.write(orjson.dumps([replica.as_json() for replica in found]).decode() + "\n")
        return
    show(stdout(), found, failed, causes)


def look(settings: Settings) -> tuple[list[Replica], Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]:
    """Replicas, failed windows, causes of dead letters; from the last run's notes where the database is down."""
    access = access_of(settings)
    if access.is_up():
        try:
            with access.connect("headrace status") as connection:
                found = replicas(connection)
                failed = failed_windows(connection) or _kept(settings)[0]
                return found, failed, dead_letter_causes(connection)
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):  # nothing ran there yet
            return with_stopped([]), [], []
    return with_stopped([]), *_kept(settings)


def show(
    console: Console,
    found: Sequence[Replica],
    failed: Sequence[Mapping[str, Any]],
    causes: Sequence[Mapping[str, Any]],
) -> None:
    table = Table("service", "replica", "pid", "state", "ready", "to go", "admin")
    for each in found:
        lag = "" if each.lag_records is None else f"{each.lag_records:,}"
        ready = "yes" if each.ready else "no"
        table.add_row(
            each.service, each.replica or "", str(each.pid or ""), each.state, ready, lag, each.admin_url or ""
        )
    console.print(table)
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
