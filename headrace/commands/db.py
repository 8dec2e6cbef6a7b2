"""The commands `headrace db ...`: the connection URI, and work on stored rows after an upgrade."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from headrace.database.access import Access, access_of, connection_uri, open_existing_database, service_settings
from headrace.database.data_dir import DataDir
from headrace.database.embedded import OWNER, READER
from headrace.terminal.arguments import DatabaseOptions, Output, OutputOption, grouped_options
from headrace.terminal.output import print_json, stderr, stdout
from headrace.verification.postgres_rebuild import rebuild
from headrace.verification.readers.verify import DatabaseVerification, VerificationProgress, verify
from services.loader.exports.assembly import target_of
from services.loader.exports.target import Target
from services.loader.postgres_packing import FIRST, PackedBatch, pack_batch
from services.loader.settings import LoaderSettings
from shared.errors import ConfigError

app = typer.Typer(help="The database.", no_args_is_help=True, rich_markup_mode=None)


class Role(StrEnum):
    OWNER = "owner"
    READER = "reader"


@app.callback()
def db() -> None:
    """The database."""


@app.command("uri")
@grouped_options
def show_uri(
    options: DatabaseOptions,
    role: Annotated[Role, typer.Option(help="The role to log in as; the owner has all privileges.")] = Role.OWNER,
) -> None:
    """Print a URI for psql and other clients: psql "$(headrace db uri)". It names the password's file, and does not
    contain the password."""
    settings = options.settings
    access = access_of(settings)
    if access.server is not None and not access.server.password_file(OWNER).exists():
        raise ConfigError(f"there is no database in {settings.data_dir} yet; `headrace run` makes one")
    sys.stdout.write(
        connection_uri(access, READER if role is Role.READER else OWNER, DataDir(settings.data_dir)) + "\n"
    )
    if access.server is not None and not access.server.accepts_connections():
        stderr().print("the server is not running: `headrace run` starts it, `headrace sql` starts and stops it")


@app.command("pack-predictions")
@grouped_options
def pack_predictions(
    options: DatabaseOptions,
    batch: Annotated[
        int, typer.Option("--batch", metavar="N", min=1, max=100_000, help="Predictions in one transaction.")
    ] = 2_000,
) -> None:
    """Pack predictions that an earlier version stored, so that frames read them several times as fast.

    Services may run meanwhile: each batch is a transaction of its own. A run that was stopped can be repeated, and only
    packs what is left. Newer predictions are packed when they are stored.
    """
    total = 0
    with open_existing_database(options.settings) as access, access.connect("headrace db") as connection:
        done = PackedBatch(0, FIRST)
        while done.last is not None:
            done = pack_batch(connection, done.last, batch)
            total += done.rows
            if done.rows:
                stderr().print(f"{total:,} predictions packed", markup=False, highlight=False)
    stdout().print(f"{total:,} predictions packed; none is left", markup=False, highlight=False)


@app.command("verify")
@grouped_options
def verify_database(
    options: DatabaseOptions,
    exports: Annotated[bool, typer.Option("--exports/--no-exports", help="Compare the daily files too.")] = True,
    output: OutputOption = Output.TABLE,
) -> int:
    """Compute again what the rows must be, and report each difference with what to do. Exit code 1: there are some.

    It folds all stored versions, adds up the return rates, checks references, counts and the embedded log, and compares
    the daily files. It reads one snapshot and blocks no writer, so services may run meanwhile.
    """
    with (
        open_existing_database(options.settings) as access,
        access.connect("headrace db") as snapshot,
        access.connect("headrace db") as current,
        _bars() as progress,
    ):
        target = _exports_target(access, options.settings.data_dir, options.config) if exports else None
        result = verify(snapshot, current, target, progress)
    if output is Output.JSON:
        items = [each._asdict() for each in result.inconsistencies]
        print_json({"ok": not items, "events": result.event_count, "inconsistencies": items})
    else:
        stdout().print("\n".join(verification_lines(result)), markup=False, highlight=False)
    return 1 if result.inconsistencies else 0


@app.command("rebuild")
@grouped_options
def rebuild_tables(options: DatabaseOptions) -> None:
    """Compute return rates, profiles, entities, titles of sessions and past facts again from the stored versions.

    Needed once after an upgrade from a version without profiles, past facts or rates by month and selection, and if
    `headrace db verify` says so. Loaders wait meanwhile.
    """
    with (
        open_existing_database(options.settings) as access,
        access.connect("headrace db") as connection,
        _bars() as progress,
    ):
        count = rebuild(connection, progress)
    stdout().print(f"rebuilt from {count:,} events", markup=False, highlight=False)


def verification_lines(result: DatabaseVerification) -> Iterator[str]:
    for each in result.inconsistencies:
        yield f"{each.table} {each.key}"
        yield f"    expected: {each.expected}"
        yield f"    actual:   {each.actual}"
        yield f"    remedy:   {each.remedy}"
    count = len(result.inconsistencies)
    yield f"{result.event_count:,} events verified: {f'{count:,} inconsistencies' if count else 'no inconsistency'}"


class _TerminalProgress:
    """Bars on standard error; on a file there are none."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars

    def begin(self, name: str, total: int) -> Callable[[int], object]:
        task = self._bars.add_task(name, total=total)
        return lambda count: self._bars.advance(task, count)


@contextmanager
def _bars() -> Iterator[VerificationProgress]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=stderr(), transient=True, disable=not sys.stderr.isatty()) as bars:
        yield _TerminalProgress(bars)


def _exports_target(access: Access, data_dir: Path, config: Path | None) -> Target | None:
    settings = service_settings(LoaderSettings, access, data_dir, config)
    return target_of(settings) if settings.loader.exports else None
