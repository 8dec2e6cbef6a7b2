from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.services.fetcher.site import Site, serving_site


@pytest.fixture
def site() -> Iterator[Site]:
    with serving_site() as server:
        yield server
