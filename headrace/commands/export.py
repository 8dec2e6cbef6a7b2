"""The command `headrace export`."""

from __future__ import annotations

from headrace.remote.asking import Asking
from headrace.remote.services import WaitOption, conclude
from headrace.terminal.arguments import grouped_options
from headrace.terminal.days import DayOptions


@grouped_options
def export(asking: Asking, days: DayOptions, wait: WaitOption = False) -> None:
    """Let the loader rewrite the CSV files of the given days."""
    with asking.api("loader") as asked:
        conclude(asked, asked.post("/exports", days.span()), wait, asking.output)
