"""The order of the pages: docs/README.md, whose headings are sections and whose tables link to the pages."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from typing import NamedTuple

from website.links import SiteError

MAP = "docs/README.md"
_LINK = r"\[(?P<label>[^\]]+)\]\((?P<target>[^)#\s]+)[^)]*\)"
_HEADING_OR_LINK = re.compile(rf"^## (?P<heading>.+)$|{_LINK}", re.MULTILINE)


class UnlistedPage(SiteError):
    """A page that is not in the navigation."""


class Page(NamedTuple):
    title: str
    path: str  # of the Markdown file, relative to the root of the repository
    folder: tuple[str, ...] = ()  # the other pages of its folder, if it stands for the folder


class Section(NamedTuple):
    title: str
    pages: list[Page]


def read_sections(text: str, pages: Iterable[str]) -> list[Section]:
    """The sections of docs/README.md with the pages that they link to.

    A link to a folder, or to its README.md, brings the other pages of that folder too. A page is listed once, where it
    is linked first. The map itself follows the first page. Raises UnlistedPage for a page that no section leads to.
    """
    missing = set(pages) - {MAP}
    sections = list[Section]()
    for match in _HEADING_OR_LINK.finditer(text):
        if match["heading"]:
            sections.append(Section(match["heading"], []))
            continue
        path = posixpath.normpath(posixpath.join("docs", match["target"]))
        path = path if path.endswith(".md") else f"{path}/README.md"
        if path in missing:
            folder = _others_in_folder(path, missing) if path.endswith("/README.md") else ()
            title = match["label"][:1].upper() + match["label"][1:]
            sections[-1].pages.append(Page(title, path, folder))
            missing -= {path, *folder}
    if missing:
        raise UnlistedPage(f"{MAP} does not link to {', '.join(sorted(missing))}")
    sections[0].pages.insert(1, Page("All documents", MAP))
    return [section for section in sections if section.pages]


def navigation(sections: Iterable[Section]) -> list[dict[str, object]]:
    """The value of `nav` in mkdocs.yml. A page of a folder gets its first heading as title."""
    return [{section.title: [_entry(page) for page in section.pages]} for section in sections]


def _entry(page: Page) -> dict[str, object]:
    return {page.title: [{"Overview": page.path}, *page.folder] if page.folder else page.path}


def _others_in_folder(index: str, pages: Iterable[str]) -> tuple[str, ...]:
    folder = posixpath.dirname(index)
    return tuple(sorted(page for page in pages if posixpath.dirname(page) == folder and page != index))
