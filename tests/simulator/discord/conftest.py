"""A simulated Discord and a plain HTTP client of its API."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import httpx2
import pytest

from simulator.discord.fake import FakeDiscord
from tests.waiting import DEADLINE_S

with warnings.catch_warnings():
    # discord.py imports audioop, which Python 3.13 dropped and 3.11 warns of.
    warnings.simplefilter("ignore", DeprecationWarning)
    import discord  # noqa: F401


def api_client(fake: FakeDiscord) -> httpx2.Client:
    headers = {"Authorization": f"Bot {fake.token}"}
    return httpx2.Client(base_url=fake.api_url, headers=headers, timeout=DEADLINE_S)


@pytest.fixture
def fake() -> Iterator[FakeDiscord]:
    """Discord's limit of 3 s for an answer is longer here: a test must not depend on the machine's speed."""
    with FakeDiscord(first_answer_s=DEADLINE_S) as fake:
        yield fake


@pytest.fixture
def api(fake: FakeDiscord) -> Iterator[httpx2.Client]:
    with api_client(fake) as client:
        yield client
