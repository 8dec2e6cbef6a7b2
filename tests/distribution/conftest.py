from __future__ import annotations

from pathlib import Path

import pytest

from tests.distribution.build import Distributions, build


@pytest.fixture(scope="session")
def distributions(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    return build(repository, tmp_path_factory.mktemp("distribution"))
