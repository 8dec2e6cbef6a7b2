"""A simulated Discord and a real client of it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest

from simulator.discord.fake import FakeDiscord

with warnings.catch_warnings():
    # discord.py imports audioop, which Python 3.13 dropped and 3.11 warns of.
    warnings.simplefilter("ignore", DeprecationWarning)
    import discord  # noqa: F401

# Tests must not depend on the machine's speed, so Discord's limit of 3 s is longer here.
SLOW_S = 120.0


@pytest.fixture
def fake() -> Iterator[FakeDiscord]:
    with FakeDiscord(first_answer_s=SLOW_S) as fake:
        yield fake
