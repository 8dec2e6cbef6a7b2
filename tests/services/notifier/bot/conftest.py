"""Fixtures of the bot's tests."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.notifier.settings import PersonScope
from tests.waiting import wait_until

with warnings.catch_warnings():
    # discord.py imports audioop, which Python 3.13 dropped and 3.11 warns of.
    warnings.simplefilter("ignore", DeprecationWarning)
    from simulator.discord.fake import FakeDiscord
    from tests.services.notifier.bot.running import RunningBot, running_bot

# Tests must not depend on the machine's speed, so Discord's limit of 3 s is longer here.
SLOW_S = 120.0


@pytest.fixture
def fake() -> Iterator[FakeDiscord]:
    with FakeDiscord(first_answer_s=SLOW_S) as fake:
        yield fake


@pytest.fixture
def bot(fake: FakeDiscord, database_url: str, tmp_path: Path) -> Iterator[RunningBot]:
    """A bot that is connected and has published its commands."""
    roles: dict[int, PersonScope] = {fake.role("operator").id: "operate"}
    with running_bot(fake, database_url, tmp_path, roles=roles) as running:
        wait_until(lambda: fake.is_connected and bool(fake.commands()))
        yield running
