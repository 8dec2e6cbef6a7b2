"""Reads the metrics of the services that run."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg

_BATCHES = re.compile(r'^headrace_batch_size_records_bucket\{.*le="(?P<limit>[^"]*)"\} (?P<value>\S+)$', re.MULTILINE)
_REPLICAS = "SELECT admin_url FROM ops.replicas WHERE service = %s AND state <> 'stopped'"
_ANSWER_S = 5.0


def large_batches(connection: psycopg.Connection[Any], service: str, records: int) -> float:
    """How many batches of the live replicas had more than about this many records."""
    return sum(large_in(text, records) for text in _metrics_of(connection, service))


def large_in(text: str, records: int) -> float:
    """The same of one replica. The histogram has bounds: those that the next bound above `records` excludes."""
    buckets = {float(each["limit"]): float(each["value"]) for each in _BATCHES.finditer(text)}
    small = [value for limit, value in sorted(buckets.items()) if limit >= records]
    return max(buckets.values()) - small[0] if small else 0.0


def _metrics_of(connection: psycopg.Connection[Any], service: str) -> Iterator[str]:
    for (url,) in connection.execute(_REPLICAS, (service,)).fetchall():
        with suppress(OSError), urllib.request.urlopen(f"{url}/metrics", timeout=_ANSWER_S) as answer:
            yield answer.read().decode()
