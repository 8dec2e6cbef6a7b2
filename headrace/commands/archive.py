"""The command `headrace archive verify`: whether an archive of raw documents is whole."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from headrace.terminal.arguments import ConfigOption, DataDirOption, Output, OutputOption, WideOption, settings_of
from headrace.terminal.output import print_answer, print_note, stderr, stdout
from services.fetcher.archive.repair import SET_ASIDE, repaired
from services.fetcher.archive.verify import KINDS, SHARDS, ArchiveFinding, ShowProgress, Verification
from services.fetcher.archive.verify import Progress as Verified
from shared.errors import HeadraceError

# More are counted and not listed.
MAX_LISTED = 1000

app = typer.Typer(help="The archive of fetched documents.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def archive() -> None:
    """The archive of fetched documents."""


@app.command()
def verify(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="The archive. [default: that of the data directory]")
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help=f"Move what is wrong to DIR/{SET_ASIDE}, so that the rest is consistent.")
    ] = False,
    data_dir: DataDirOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TABLE,
    wide: WideOption = False,
) -> None:
    """Compare bodies with their hashes, the index with the bodies, and the bodies with the index.

    May run beside the fetcher. Exit code 1: something is wrong and was not repaired.
    """
    place = folder or settings_of(data_dir, None, config).data_dir / "archive"
    verification = Verification(place)
    with _shown_progress() as show:
        findings = verification.findings(show)
        counts, listed = _collect(repaired(place, findings) if repair else findings)
    verified = verification.progress
    body = {
        "archive": str(place),
        "lines": verified.lines,
        "bodies": verified.bodies,
        "bytes": verified.bytes,
        "counts": {kind: counts[kind] for kind in KINDS},
        "findings": [finding._asdict() for finding in listed],
        "repaired": repair,
    }
    _print(output, body, listed, wide=wide)
    total = counts.total()
    if total and repair:
        print_note(f"{total} of them moved to {place / SET_ASIDE}. {_advice(listed)}")
    elif total:
        raise HeadraceError(f"{place}: {total} problem{'' if total == 1 else 's'}")


def _collect(findings: Iterator[ArchiveFinding]) -> tuple[Counter[str], list[ArchiveFinding]]:
    counts: Counter[str] = Counter()
    listed: list[ArchiveFinding] = []
    for finding in findings:
        counts[finding.kind] += 1
        if len(listed) < MAX_LISTED:
            listed.append(finding)
    return counts, listed


def _print(output: Output, body: dict[str, Any], listed: list[ArchiveFinding], *, wide: bool) -> None:
    whole = f"{body['archive']}: {body['bodies']:,} bodies and {body['lines']:,} lines of the index are consistent"
    rows = [finding._asdict() | {"windows": ", ".join(finding.windows)} for finding in listed]
    print_answer(output, body, ("kind", "path", "windows", "detail"), rows, whole, wide=wide)
    hidden = sum(body["counts"].values()) - len(listed)
    if hidden and output is Output.TABLE:
        stdout().print(f"and {hidden:,} more")


def _advice(listed: list[ArchiveFinding]) -> str:
    """How to get the documents again that are no longer in the archive."""
    windows = sorted({window for finding in listed for window in finding.windows})
    if not windows:
        return "No document was lost."
    return f"Fetch their windows again with `headrace backfill --again`: {', '.join(windows[:20])}"


@contextmanager
def _shown_progress() -> Iterator[ShowProgress]:
    """Shows the progress on standard error, if it is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = (BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=stderr(), transient=True) as progress:
        task = progress.add_task("", total=len(SHARDS))

        def show(verified: Verified) -> None:
            text = f"{verified.bodies:,} bodies, {verified.bytes / 1e6:,.0f} MB unpacked"
            progress.update(task, completed=verified.folders, description=text)

        yield show
