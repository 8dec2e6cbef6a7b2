"""The command `headrace restore`."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer

from headrace.backup.restoration import Restored, RestoreOptions, RestoreTarget, restore_backup
from headrace.backup.verification import opened_backup
from headrace.commands.backup import folders_of, show_step
from headrace.database.access import open_database
from headrace.terminal.arguments import BrokerOptions, grouped_options
from headrace.terminal.output import stdout


@grouped_options
def restore(
    options: BrokerOptions,
    source: Annotated[Path, typer.Argument(metavar="PATH", help="A backup that `headrace backup` made.")],
    replace: Annotated[
        str | None,
        typer.Option("--replace", metavar="DATABASE", help="Replace the content of the database, which has this name."),
    ] = None,
    send_again: Annotated[
        bool,
        typer.Option(
            "--send-again",
            help="Send the messages that were not sent when the backup was made. By default an operator decides:"
            " they may have been sent after it.",
        ),
    ] = False,
) -> None:
    """Restore a backup into an empty database and into the data directory. Stop the services before.

    The backup is checked first. If the restore fails, the database is as before.
    """
    settings = options.settings
    choice = RestoreOptions(f"command:{getpass.getuser()}", replace, send_again)
    with opened_backup(source.expanduser().absolute()) as folder, open_database(settings) as access:
        restored = restore_backup(folder, access, RestoreTarget(settings, folders_of(options)), choice, show_step)
        embedded = access.server is not None
    for line in lines_of(restored, kafka=settings.broker.address is not None, embedded=embedded):
        stdout().print(line, markup=False, soft_wrap=True)


def lines_of(restored: Restored, *, kafka: bool, embedded: bool) -> list[str]:
    """What was restored, and what happens next."""
    manifest = restored.manifest
    lines = [f"restored: the rows of {manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC, and {restored.placed:,} files"]
    if kafka:
        lines.append(
            "next: the loader and the notifier read the topics again from the positions of the backup, as far back as"
            " retention reaches"
        )
    else:
        lines.append("next: the fetcher fetches again what came after the backup, and all stages follow")
    if restored.held:
        lines.append(
            f"{restored.held:,} messages were not sent when the backup was made: `headrace notifications list --state"
            " unknown` lists them, to retry or discard"
        )
    lines.append("messages about events after the backup may be sent a second time")
    if "archive" not in manifest.parts:
        lines.append("the backup has no archive of documents: `headrace audit --archive-check` names what is missing")
    if not embedded:
        lines.append("passwords of roles are not in a backup: on a new server, run `headrace migrate --passwords DIR`")
    lines.append("start the services, then run `headrace audit`")
    return lines
