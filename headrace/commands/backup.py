"""The command `headrace backup`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from headrace.backup.creation import create_backup
from headrace.backup.files import DataFolders
from headrace.backup.manifest import BackupManifest
from headrace.backup.rotation import backup_name, remove_old_backups
from headrace.backup.verification import opened_backup, require_intact
from headrace.database.access import open_existing_database
from headrace.remote.registry import models_dir_of
from headrace.terminal.arguments import BrokerOptions, DatabaseOptions, Output, OutputOption, grouped_options
from headrace.terminal.output import print_json, print_note, stderr, stdout
from shared.errors import ConfigError


@grouped_options
def backup(
    options: DatabaseOptions,
    target: Annotated[
        Path, typer.Argument(metavar="PATH", help="A new folder, or a new file whose name ends in .tar.")
    ],
    verify: Annotated[
        bool, typer.Option("--verify", help="Write nothing: compare an existing backup with its manifest.")
    ] = False,
    keep: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Write to a new folder in DIR, named by the time, and remove all but the newest N of them.",
        ),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Back up the database and the files of the data directory: archive, models, states.

    Services may be at work. The backup holds no password and no token. Only its owner can read it.
    """
    if verify and keep is not None:
        raise ConfigError("--verify takes an existing backup, and --keep makes a new one: use one of them")
    target = target.expanduser().absolute()
    if verify:
        with opened_backup(target) as folder:
            manifest = require_intact(folder)
    else:
        if keep is not None:
            target.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder, target = target, target / backup_name()
        with open_existing_database(options.settings) as access:
            manifest = create_backup(access, folders_of(options), target, show_step)
        if keep is not None:
            for removed in remove_old_backups(folder, keep):
                print_note(f"{removed} is older than the newest {keep}: removed")
    if output is Output.JSON:
        print_json(summary_of(target, manifest))
    else:
        stdout().print(line_of(target, manifest), markup=False, soft_wrap=True)


def folders_of(options: DatabaseOptions | BrokerOptions) -> DataFolders:
    return DataFolders(options.settings.data_dir, models_dir_of(options.settings, options.config))


def show_step(text: str) -> None:
    """Show on standard error what is being done, if it is a terminal."""
    if stderr().is_terminal:
        print_note(text)


def summary_of(target: Path, manifest: BackupManifest) -> dict[str, Any]:
    body = manifest.model_dump(mode="json", exclude={"files"})
    return {"backup": str(target), **body, "files": len(manifest.files), "size_bytes": manifest.size_bytes}


def line_of(target: Path, manifest: BackupManifest) -> str:
    parts = ", ".join(manifest.parts) or "no files of a data directory"
    return (
        f"{target}: {len(manifest.files):,} files, {manifest.size_bytes / 1e6:,.1f} MB, complete; the rows of"
        f" {manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC, {parts}"
    )
