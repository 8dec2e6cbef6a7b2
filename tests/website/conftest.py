from __future__ import annotations

from pathlib import Path

import pytest

from tests.website.html_pages import HtmlPage, read_pages
from website.build import build_site

SOURCE_URL = "https://git.example.com/headrace/blob/main/"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of this repository, with links to its code at a Git host."""
    folder = tmp_path_factory.mktemp("site")
    build_site(folder, SOURCE_URL)
    return folder


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[Path, HtmlPage]:
    return read_pages(site)
