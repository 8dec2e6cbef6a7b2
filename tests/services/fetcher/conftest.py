from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.services.fetcher.site import Site


@pytest.fixture
def site() -> Iterator[Site]:
    """A web server that runs until the test ends."""
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
