"""Reads the HTML pages of a built site: their anchors, links, resources and the number of some elements."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# The attribute of an element that makes a browser load something.
RESOURCES = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "link": "href"}
# A link of this kind is not loaded.
NOT_LOADED = {"canonical", "next", "prev"}
# The elements whose nesting matters.
CONTEXTS = {"article", "pre", "code"}


class HtmlPage(HTMLParser):
    """One page. `elements` counts the elements of its article, `codes` has the texts of its code within lines."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.resources: list[str] = []
        self.elements: Counter[str] = Counter()
        self.codes: list[str] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        if "article" in self._open:
            self.elements[tag] += 1
        if tag in CONTEXTS:
            self._open.append(tag)
        if tag == "code" and self._in_line_of_code():
            self.codes.append("")
        if "id" in values:
            self.anchors.add(values["id"])
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in RESOURCES and RESOURCES[tag] in values and values.get("rel") not in NOT_LOADED:
            self.resources.append(values[RESOURCES[tag]])

    def handle_endtag(self, tag: str) -> None:
        if tag in CONTEXTS:
            self._open.remove(tag)

    def handle_data(self, text: str) -> None:
        if self._in_line_of_code():
            self.codes[-1] += text

    def _in_line_of_code(self) -> bool:
        return self._open == ["article", "code"]


def read_pages(site: Path) -> dict[Path, HtmlPage]:
    """All pages of a site but the one for a missing page, whose links are absolute."""
    files = [file for file in site.rglob("*.html") if file.name != "404.html"]
    return {file: HtmlPage(file.read_text(encoding="utf-8")) for file in files}


def broken_links(pages: dict[Path, HtmlPage]) -> list[str]:
    """Links and resources below the site whose file or anchor does not exist, as `page: link`."""
    broken = []
    for file, page in pages.items():
        for link in {*page.links, *page.resources}:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if target.is_dir():  # the logo's link
                target /= "index.html"
            anchor = unquote(parts.fragment)
            if not target.is_file() or (anchor and target in pages and anchor not in pages[target].anchors):
                broken.append(f"{file}: {link}")
    return broken


def remote_resources(pages: dict[Path, HtmlPage]) -> list[str]:
    """Scripts, styles, pictures and fonts that a page loads from elsewhere."""
    return [f"{file}: {link}" for file, page in pages.items() for link in page.resources if urlsplit(link).netloc]
