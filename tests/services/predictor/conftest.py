"""One database for the tests of a module, and one torch thread."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import torch

from headrace.database.embedded import EmbeddedPostgres
from tests.services.predictor.shared_database import database_of, emptied


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread() -> None:
    """As in the services. On a busy machine, several threads that wait for each other are many times slower."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def shared_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The owner's URL of a migrated database that all tests of a module share: creating one takes seconds."""
    with database_of(postgres) as url:
        yield url


@pytest.fixture
def database(shared_url: str) -> Iterator[psycopg.Connection[Any]]:
    """An autocommit connection of the owner; facts and operations are removed after each test."""
    with emptied(shared_url) as connection:
        yield connection
