"""The site as a whole. Its build fails at a warning of MkDocs, so the fixture `site` proves that there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.website.conftest import SOURCE_URL
from tests.website.html_pages import HtmlPage, broken_links, remote_resources
from website.staging import PAGES

Pages = dict[Path, HtmlPage]
# Elements that only exist if the Markdown was understood as a Git host does.
COMPARED = ("li", "table", "tr", "h1", "h2", "h3", "pre", "code", "img", "strong")


def markdown_files(repository: Path) -> list[str]:
    return [*PAGES, *(path.relative_to(repository).as_posix() for path in (repository / "docs").rglob("*.md"))]


def html_file(site: Path, page: str) -> Path:
    return site / page.replace("README.md", "index.html").replace(".md", ".html")


def test_every_document_is_a_page_and_is_linked_from_the_front_page(repository: Path, site: Path, pages: Pages) -> None:
    front = {(site / link.partition("#")[0]).resolve() for link in pages[site / "index.html"].links}

    expected = {html_file(site, page) for page in markdown_files(repository)}
    assert expected <= set(pages)
    assert expected <= front


def test_every_document_looks_as_on_a_git_host(repository: Path, site: Path, pages: Pages) -> None:
    parser = MarkdownIt("gfm-like", {"linkify": False})
    different = list[tuple[str, ...]]()
    for page in markdown_files(repository):
        text = (repository / page).read_text(encoding="utf-8")
        expected, actual = HtmlPage(f"<article>{parser.render(text)}</article>"), pages[html_file(site, page)]
        counts = ((tag, str(expected.elements[tag]), str(actual.elements[tag])) for tag in COMPARED)
        different += [(page, *count) for count in counts if count[1] != count[2]]
        pairs = zip(expected.codes, actual.codes, strict=False)
        different += [(page, *pair) for pair in pairs if pair[0].split() != pair[1].split()]

    assert different == []


def test_every_link_and_anchor_of_the_site_exists(pages: Pages) -> None:
    assert broken_links(pages) == []


def test_nothing_is_loaded_from_the_network(site: Path, pages: Pages) -> None:
    assert remote_resources(pages) == []
    styles = "".join(file.read_text(encoding="utf-8") for file in site.rglob("*.css"))
    assert "url(http" not in styles
    assert "@import" not in styles


def test_links_to_code_lead_to_the_repository(site: Path, pages: Pages) -> None:
    assert f"{SOURCE_URL}.github/workflows/ci.yml" in pages[site / "CONTRIBUTING.html"].links


def test_generated_pages_have_endpoints_and_fields(site: Path) -> None:
    loader = (site / "docs" / "openapi" / "loader.html").read_text(encoding="utf-8")
    clean_event = (site / "docs" / "schemas" / "clean-event.1.html").read_text(encoding="utf-8")

    assert "GET /v1/parked" in loader
    assert "known_at" in clean_event


def test_the_python_api_has_the_views_with_their_columns(site: Path, pages: Pages) -> None:
    page = site / "headrace" / "frames" / "index.html"

    assert {"headrace.frames.connect", "headrace.frames.Headrace.events"} <= pages[page].anchors
    assert "scheduled_at" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("link", "problem"),
    [("b.html#there", ""), ("b.html#nowhere", "a.html: b.html#nowhere"), ("c.html", "a.html: c.html")],
)
def test_a_broken_link_is_found(tmp_path: Path, link: str, problem: str) -> None:
    pages = {tmp_path / "a.html": HtmlPage(f'<a href="{link}">'), tmp_path / "b.html": HtmlPage('<p id="there">')}
    for file in pages:
        file.touch()

    assert broken_links(pages) == ([f"{tmp_path}/{problem}"] if problem else [])


def test_a_script_of_another_host_is_found(tmp_path: Path) -> None:
    page = HtmlPage(
        '<script src="//example.com/a.js"></script><link rel="stylesheet" href="https://example.com/a.css">'
    )

    assert len(remote_resources({tmp_path: page})) == 2
