"""The production code as syntax trees, read once for all rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture.tree import PRODUCTION, Tree, read_tree


@pytest.fixture(scope="session")
def production() -> Tree:
    return read_tree(Path(__file__).parents[2], PRODUCTION)
