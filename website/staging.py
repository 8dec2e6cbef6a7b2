"""Writes the source of the site: Markdown files of the repository and generated pages, with their links rewritten.

The result is a folder of plain Markdown and a `nav`, which any generator for MkDocs' format can read.
"""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

from website.dialect import MERMAID_SCRIPT, translate
from website.links import LinkTargets, rewrite_links
from website.navigation import MAP, Section, read_sections
from website.pages import generated_pages

# Markdown files of the repository that are pages, in addition to all of docs/.
PAGES = (
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "tests/README.md",
    "deploy/helm/headrace/README.md",
)
THEME = Path(__file__).parent / "theme"
FRAMES = "headrace/frames/__init__.py"


def stage(repository: Path, folder: Path, source_url: str = "") -> list[Section]:
    """Write the pages and their pictures to a folder, at their paths in the repository; returns the navigation.

    Links to other files of the repository lead to `source_url`, or become text without one. Raises BrokenLink, and
    UnlistedPage for a page that docs/README.md does not lead to.
    """
    documents = [path.relative_to(repository).as_posix() for path in (repository / "docs").rglob("*") if path.is_file()]
    texts = {path: _text(repository, path) for path in [*PAGES, *documents] if path.endswith((".md", ".json"))}
    pages = {path: text for path, text in texts.items() if path.endswith(".md")}
    pages |= generated_pages(texts | ({FRAMES: ""} if (repository / FRAMES).exists() else {}))
    assets = [path for path in documents if not path.endswith(".md")]
    targets = LinkTargets(frozenset([*pages, *assets]), lambda path: (repository / path).exists(), source_url)
    for path, text in pages.items():
        page = translate(rewrite_links(text, path, targets), path)
        _new_file(folder, path).write_text(page, encoding="utf-8")
    for path in assets:
        shutil.copy(repository / path, _new_file(folder, path))
    shutil.copytree(THEME, folder / "website")
    shutil.copy(_mermaid_script(), folder / MERMAID_SCRIPT)
    return read_sections(pages[MAP], pages)


def _mermaid_script() -> Path:
    """Mermaid's own script, from a package that contains it. The package is not imported."""
    specification = find_spec("mermaidx")
    if specification is None or specification.origin is None:
        raise FileNotFoundError("the package mermaidx is not installed: pip install 'headrace[docs]'")
    return Path(specification.origin).parent / "assets" / "mermaid.js"


def _text(repository: Path, path: str) -> str:
    return (repository / path).read_text(encoding="utf-8")


def _new_file(folder: Path, path: str) -> Path:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    return folder / path
