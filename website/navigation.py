"""The order of the pages: docs/README.md, whose headings are sections and whose tables link to the pages."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import NamedTuple

MAP = "docs/README.md"
_LINK = r"\[(?P<label>[^\]]+)\]\((?P<target>[^)#\s]+)[^)]*\)"
_HEADING_OR_LINK = re.compile(rf"^## (?P<heading>.+)$|{_LINK}", re.MULTILINE)


class Page(NamedTuple):
    title: str
    path: str  # of the Markdown file, relative to the root of the repository


class Section(NamedTuple):
    title: str
    pages: list[Page]


def read_sections(text: str, pages: Iterable[str]) -> list[Section]:
    """The sections of docs/README.md with the pages that they link to.

    A link to a folder, or to its README.md, brings the other pages of that folder too. A page is listed once, where it
    is linked first. The map itself follows the first page. Raises ValueError for a page that no section leads to.
    """
    missing = set(pages) - {MAP}
    sections = list[Section]()
    for match in _HEADING_OR_LINK.finditer(text):
        if match["heading"]:
            sections.append(Section(match["heading"], []))
            continue
        path = posixpath.normpath(posixpath.join("docs", match["target"]))
        for page in _pages_at(path, missing):
            title = match["label"] if page in {path, f"{path}/README.md"} else ""
            sections[-1].pages.append(Page(title[:1].upper() + title[1:], page))
            missing.remove(page)
    if missing:
        raise ValueError(f"{MAP} does not link to {', '.join(sorted(missing))}")
    sections[0].pages.insert(1, Page("All documents", MAP))
    return [section for section in sections if section.pages]


def navigation(sections: Iterable[Section]) -> list[dict[str, object]]:
    """The value of `nav` in mkdocs.yml. A page without a title gets its first heading as title."""
    return [
        {section.title: [{page.title: page.path} if page.title else page.path for page in section.pages]}
        for section in sections
    ]


def _pages_at(path: str, pages: set[str]) -> list[str]:
    """The pages that a link to this path leads to."""
    if path.endswith(".md") and not path.endswith("/README.md"):
        return [path] if path in pages else []
    folder = path.removesuffix("README.md").rstrip("/")
    index = f"{folder}/README.md" if folder else "README.md"
    others = sorted(page for page in pages if folder and str(PurePosixPath(page).parent) == folder and page != index)
    return [*([index] if index in pages else []), *(others if index in pages else [])]
