"""The site in a browser, opened from files: search and diagrams work, and nothing is requested from the network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulator.discord.browser import Browser, chromium

pytestmark = pytest.mark.browser


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    program = chromium()
    if program is None:
        pytest.skip("Chromium is not installed")
    with Browser(program, tmp_path / "profile") as browser:
        yield browser


def loaded_addresses(browser: Browser) -> list[str]:
    return list(browser.evaluate("performance.getEntriesByType('resource').map(entry => entry.name)"))


def test_search_finds_a_page_without_a_server(browser: Browser, site: Path) -> None:
    browser.open(f"{(site / 'index.html').as_uri()}?q=redrive+dead+letters")

    browser.wait_for_text("Control", "[data-md-component=search-result]")
    browser.wait_for_text("headrace dead-letters redrive", "[data-md-component=search-result]")
    assert browser.console == []


def test_diagrams_are_drawn_without_the_network(browser: Browser, site: Path, repository: Path) -> None:
    count = (repository / "docs" / "concepts.md").read_text(encoding="utf-8").count("```mermaid")
    assert count >= 5

    browser.open((site / "docs" / "concepts.html").as_uri())

    # Material draws a diagram into a closed shadow root.
    drawn = "[...document.querySelectorAll('div.mermaid')].filter(each => each.offsetHeight > 50).length"
    browser.wait_until(f"{drawn} == {count}")
    assert [address for address in loaded_addresses(browser) if not address.startswith(("file:", "data:"))] == []
    assert browser.console == []


@pytest.mark.parametrize(("scheme", "theme"), [("dark", "slate"), ("light", "default")])
def test_the_theme_follows_the_system(browser: Browser, site: Path, scheme: str, theme: str) -> None:
    browser.prefer(scheme)

    browser.open((site / "index.html").as_uri())

    browser.wait_until(f"document.body?.dataset.mdColorScheme == '{theme}'")
