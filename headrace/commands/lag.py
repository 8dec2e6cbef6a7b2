"""The command `headrace lag`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer

from headrace.remote.asking import ApiOptions
from headrace.remote.services import MaybeServiceArgument, get_from_each
from headrace.terminal.arguments import WideOption, grouped_options
from headrace.terminal.output import print_answer

BY_TOPIC = ("service", "topic", "partitions", "records", "seconds", "exact")
BY_PARTITION = (
    "service", "topic", "partition", "position", "end", "records", "seconds", "exact", "ignored_group_offset",
)  # fmt: skip


@grouped_options
def lag(
    api_options: ApiOptions,
    service: MaybeServiceArgument = None,
    partitions: Annotated[bool, typer.Option("--partitions", help="One row per partition.")] = False,
    wide: WideOption = False,
) -> None:
    """Show how many records wait for each service, and the age of the oldest in seconds. JSON lists all partitions."""
    answers = get_from_each(api_options, service, "/lag")
    body = [{"service": name, **each} for name, partition_lags in answers for each in partition_lags]
    columns, rows = (BY_PARTITION, body) if partitions else (BY_TOPIC, lag_by_topic(body))
    print_answer(api_options.output, body, columns, rows, "no service reads a topic", wide=wide)


def lag_by_topic(partitions: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per service and topic: the waiting records, and the age of the oldest in seconds."""
    totals: dict[tuple[str, str], dict[str, Any]] = {}
    for each in partitions:
        row = totals.setdefault(
            (each["service"], each["topic"]),
            {"service": each["service"], "topic": each["topic"], "partitions": 0, "records": 0, "seconds": 0.0,
             "exact": True},
        )  # fmt: skip
        row["partitions"] += 1
        row["records"] += each["records"]
        row["seconds"] = max(row["seconds"], each["seconds"] or 0.0)
        row["exact"] = row["exact"] and each["exact"]
    return list(totals.values())
