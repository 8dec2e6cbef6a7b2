"""What the notifier's tests share."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.services.notifier.http_receiver import Receiver, receiving
from tests.services.notifier.samples import Rows

with warnings.catch_warnings():
    # discord.py imports audioop, which Python 3.13 dropped and 3.11 warns of.
    warnings.simplefilter("ignore", DeprecationWarning)
    import discord  # noqa: F401


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


@pytest.fixture
def rows(database: psycopg.Connection[Any]) -> Rows:
    return Rows(database)
