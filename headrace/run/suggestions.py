"""What to try after a run: commands that work at that moment, on the data of this run."""

from __future__ import annotations

import shlex
import shutil
import sys
from datetime import date, timedelta
from pathlib import Path

from headrace.progress.summary import Suggestion

DEFAULT_DATA_DIR = ".headrace"


def command_name() -> str:
    """`headrace` as the user can type it here: the one of this environment, relative where that is possible."""
    command = Path(sys.executable).with_name("headrace")
    on_path = shutil.which("headrace")
    if not command.exists() or (on_path and Path(on_path).resolve() == command.resolve()):
        return "headrace"
    return str(command.relative_to(Path.cwd())) if command.is_relative_to(Path.cwd()) else str(command)


def after_a_demonstration(command: str, data_dir: Path, day: date, event_key: str | None) -> list[Suggestion]:
    """`event_key`: an event of the day worth a look, for example the one whose result was least expected."""
    where = _where(data_dir)
    query = (
        "select state, slot, round(probability::numeric, 3) as chance, place from predictions"
        f" join outcomes using (event_key, slot) where event_key = '{event_key}' and head = 'result' order by 1, 2"
    )
    looks = [Suggestion("How the day's biggest surprise was predicted:", (f'{command} sql{where} "{query}"',))]
    return [
        *(looks if event_key else ()),
        Suggestion(
            "Follow every record of the day from its document to its row:",
            (f"{command} audit{where} --from {day} --to {day}",),
        ),
        Suggestion(
            f"Run the next day, {day + timedelta(days=1)}; pause and resume a stage meanwhile, in a second terminal:",
            (
                f"{command} run{where}",
                f"{command} pause cleaner raw-events{where}",
                f"{command} resume cleaner raw-events{where}",
            ),
        ),
    ]


def after_a_run(command: str, data_dir: Path) -> list[Suggestion]:
    where = _where(data_dir)
    query = "select market, bets, round(rate::numeric, 3) as rate from return_rates where scope = 'all'"
    return [
        Suggestion("What a stake returned on average, by market:", (f'{command} sql{where} "{query}"',)),
        Suggestion("Follow every record from its document to its row:", (f"{command} audit{where}",)),
        Suggestion("Look at the records themselves:", (f"{command} topics tail clean-events -n 3{where}",)),
    ]


def _where(data_dir: Path) -> str:
    return "" if data_dir == Path.cwd() / DEFAULT_DATA_DIR else f" --data-dir {shlex.quote(str(data_dir))}"
