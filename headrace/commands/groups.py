"""The command `headrace groups`: lists the readers of the embedded log, and forgets one."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from headrace.database.access import open_existing_database
from headrace.terminal.arguments import DatabaseOptions, Output, OutputOption, WideOption, grouped_options
from headrace.terminal.output import print_answer, stdout
from shared.broker.postgres.groups import GroupStatus, forget_group, list_groups
from shared.ops.tables import audit

COLUMNS = ("group", "members", "topics", "unread", "overdue (h)")

app = typer.Typer(help="Groups that read the embedded log.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def groups() -> None:
    """Groups that read the embedded log."""


@app.command("list")
@grouped_options
def show_groups(options: DatabaseOptions, output: OutputOption = Output.TABLE, wide: WideOption = False) -> None:
    """List the groups: members, topics, unread records, and since when records should have been deleted that the group
    has not read."""
    with open_existing_database(options.settings) as access, access.connect("headrace groups") as connection:
        statuses = list_groups(connection)
    rows = [(*each[:4], None if each.overdue_s is None else round(each.overdue_s / 3600, 1)) for each in statuses]
    print_answer(output, [each._asdict() for each in statuses], COLUMNS, rows, "no group has read the log", wide=wide)


@app.command()
@grouped_options
def forget(
    options: DatabaseOptions, group: Annotated[str, typer.Argument(metavar="GROUP", help="A group without members.")]
) -> None:
    """Delete the positions of a group that does not exist any more, so that retention deletes what it has not read.

    If the group returns, it begins at the oldest record.
    """
    who = f"command:{getpass.getuser()}"
    with (
        open_existing_database(options.settings) as access,
        access.connect("headrace groups") as connection,
        connection.transaction(),
    ):
        unread = forget_group(connection, group)
        before = {"unread": unread}
        audit.append(connection, "headrace", who, "forget", f"group {group}", before=before, request_id="command")
    stdout().print(f"the group {group} is forgotten; it had not read {unread:,} records", markup=False)


def forgotten_line(each: GroupStatus) -> str:
    """One line of `headrace status`."""
    days = (each.overdue_s or 0.0) / 86400
    return (
        f"{'forgotten':<14} group {each.group} has no member and keeps {each.unread:,} records, the oldest"
        f" {days:.1f} days too long: start it, or headrace groups forget {each.group}"
    )
