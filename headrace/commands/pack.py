"""The commands `headrace pack` and `headrace pack verify`: data packs for other programs and people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from headrace.database.access import open_existing_database
from headrace.terminal.arguments import DatabaseOptions, grouped_options
from headrace.terminal.extras import require_extras
from headrace.terminal.output import print_note, stdout
from shared.errors import HeadraceError


class _PackGroup(TyperGroup):
    """A group in which `create` is the command if none is named: `headrace pack 2026-01 --to DIR`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, "--help"}:
            args = ["create", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_PackGroup, help="Write and verify data packs: Parquet files that other programs read.")


@app.command()
@grouped_options
def create(
    options: DatabaseOptions,
    span: Annotated[
        str, typer.Argument(metavar="SPAN", help="2026-01-31, 2026-01, 2026 or 2026-01-05/2026-01-09, inclusive.")
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="DIR|URL",
            help="A new folder, or s3://BUCKET/PREFIX with the access of the environment (AWS_ACCESS_KEY_ID,"
            " AWS_ENDPOINT_URL ...).",
        ),
    ],
) -> None:
    """Write the views of some days as Parquet, with a manifest, a data dictionary and the licences of the sources.

    All rows are of one moment. `create` may be left out: headrace pack 2026-01 --to january
    """
    require_extras("headrace pack", "frames")
    from headrace.frames.days import parse_span  # noqa: PLC0415 - pyarrow and pandas take a second to import
    from headrace.frames.packing import packed_views  # noqa: PLC0415
    from headrace.packs.writing import write_pack  # noqa: PLC0415

    days = parse_span(span)
    with open_existing_database(options.settings) as access, access.connect_reader() as connection:
        manifest = write_pack(connection, packed_views(days), days, to)
    size_mb = manifest.size_bytes / 1e6
    print_note(f"{to}: {manifest.rows:,} rows of {days} in {len(manifest.files):,} files, {size_mb:,.1f} MB")


@app.command()
def verify(folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a pack.")]) -> None:
    """Compare the files of a pack with its manifest: sizes, SHA-256, rows, columns. Needs no database."""
    require_extras("headrace pack verify", "parquet")
    from headrace.packs.verification import problems_of, read_manifest  # noqa: PLC0415

    manifest = read_manifest(folder)
    problems = problems_of(folder, manifest)
    for problem in problems:
        print_note(problem)
    if problems:
        raise HeadraceError(f"{folder}: {len(problems)} problem{'' if len(problems) == 1 else 's'}")
    stdout().print(f"{folder}: {len(manifest.files):,} files and {manifest.rows:,} rows are as in the manifest")
