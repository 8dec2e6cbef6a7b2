"""The command `headrace plot`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.database.access import open_existing_database
from headrace.terminal.arguments import DatabaseOptions, grouped_options
from headrace.terminal.days import DayOptions
from headrace.terminal.extras import require_extras
from headrace.terminal.output import print_note, print_text
from shared.errors import ConfigError

if TYPE_CHECKING:
    from headrace.plots.image import ImageFormat

TIMEOUT_S = 600.0
DEFAULT_HOURS = 6.0


class PlotKind(StrEnum):
    """The picture."""

    RATES = "rates"
    CALIBRATION = "calibration"
    LOG_LOSS = "log-loss"
    LAG = "lag"


class StateOfKnowledge(StrEnum):
    """What was known of an event when it was predicted."""

    CARD = "card"
    OBSERVATION = "observation"


@dataclass(frozen=True)
class PlotOptions:
    """The rows to draw."""

    source: Annotated[str | None, typer.Option(metavar="S", help="Only this source.")] = None
    venue: Annotated[list[int] | None, typer.Option(metavar="N", help="Only this venue; repeatable.")] = None
    model: Annotated[str | None, typer.Option(metavar="V", help="Only this model. [default: all that were live]")] = (
        None
    )
    state: Annotated[StateOfKnowledge | None, typer.Option(help="Only predictions from this knowledge.")] = None
    hours: Annotated[
        float | None, typer.Option(metavar="H", min=0.1, max=168, help="Hours until now, for lag. [default: 6]")
    ] = None
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write this file, .png or .svg.")] = None


@grouped_options
def plot(
    options: DatabaseOptions,
    kind: Annotated[PlotKind, typer.Argument(metavar="KIND", help="The picture.")],
    days: DayOptions,
    selected: PlotOptions,
) -> None:
    """Draw loaded data: as a file, or without --out as text on the terminal. Needs the extra `frames`.

    rates: share of wins and mean return by venue and slot. calibration: predicted probabilities against results.
    log-loss: by month, against the base rate. lag: what waited for each service, and what it handled. Without --from,
    all days.
    """
    image_format = _image_format(selected.out)
    given_days, rows, state = _days(kind, days), _rows(kind, selected), _state(kind, selected)
    require_extras("headrace plot", "frames")
    from headrace.frames.client import Headrace  # noqa: PLC0415 - pandas and matplotlib take seconds to import
    from headrace.frames.connection import ReaderConnection  # noqa: PLC0415
    from headrace.plots.image import image_of  # noqa: PLC0415
    from headrace.plots.kinds import KINDS, Selection  # noqa: PLC0415

    selection = Selection(given_days, rows, selected.model, state, selected.hours or DEFAULT_HOURS)
    with open_existing_database(options.settings) as access:
        connection = ReaderConnection(lambda: access.reader().conninfo("headrace plot"), TIMEOUT_S, None)
        with Headrace(connection) as reader:
            picture = KINDS[kind.value](reader, selection)
    if selected.out is None or image_format is None:
        print_text("\n".join(picture.text()))
        return
    _write_atomically(selected.out, image_of(picture.figure(), image_format))
    print_note(f"wrote {selected.out}")


def _image_format(out: Path | None) -> ImageFormat | None:
    """None: text on the terminal. Raises ConfigError before anything is read."""
    if out is None:
        if not sys.stdout.isatty():
            raise ConfigError("standard output is not a terminal: name a file with --out FILE.png or FILE.svg")
        return None
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}")
    match out.suffix.lower():
        case ".png":
            return "png"
        case ".svg":
            return "svg"
    raise ConfigError(f"--out {out}: expected a file that ends in .png or .svg")


def _days(kind: PlotKind, days: DayOptions) -> dict[str, Any]:
    given = days.request_days()
    first, last = given["from"], given["to"]
    if kind is PlotKind.LAG and (first or last):
        raise ConfigError("--from and --to are not for lag, which is about the last hours: --hours H")
    return {"from_day": first, "to_day": last or first}


def _rows(kind: PlotKind, selected: PlotOptions) -> dict[str, Any]:
    if kind is PlotKind.LAG and (selected.source or selected.venue):
        raise ConfigError("--source and --venue are not for lag: services handle all of them")
    if kind is not PlotKind.LAG and selected.hours is not None:
        raise ConfigError(f"--hours is for lag; for {kind.value}, name days with --from and --to")
    return {"source": selected.source, "venue": selected.venue or None}


def _state(kind: PlotKind, selected: PlotOptions) -> str | None:
    if kind in {PlotKind.LAG, PlotKind.RATES} and (selected.model or selected.state):
        raise ConfigError(f"--model and --state are for calibration and log-loss, not for {kind.value}")
    return None if selected.state is None else selected.state.value


def _write_atomically(file: Path, content: bytes) -> None:
    partial = file.with_name(f".{file.name}.part")
    try:
        partial.write_bytes(content)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
