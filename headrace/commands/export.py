"""The command `headrace export`."""

from __future__ import annotations

from headrace.remote.asking import ApiOptions
from headrace.remote.services import WaitOption, print_operation
from headrace.terminal.arguments import grouped_options
from headrace.terminal.days import DayOptions


@grouped_options
def export(api_options: ApiOptions, days: DayOptions, wait: WaitOption = False) -> None:
    """Let the loader rewrite the daily files of the given days."""
    with api_options.open_api("loader") as client:
        print_operation(client, client.post("/exports", days.required_days()), wait, api_options.output)
