"""headrace export."""

from __future__ import annotations

from headrace.commands.asking import Asking, asks
from headrace.commands.days import FromOption, ToOption, span_of
from headrace.commands.remote import WaitOption, conclude


@asks
def export(
    asking: Asking,
    from_day: FromOption = None,
    to_day: ToOption = None,
    wait: WaitOption = False,
) -> None:
    """Let the loader write the CSV files of some days anew."""
    with asking.api("loader") as asked:
        conclude(asked, asked.post("/exports", span_of(from_day, to_day)), wait, asking.output)
