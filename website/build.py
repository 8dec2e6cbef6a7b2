"""Builds the HTML of the site with MkDocs. Every warning is an error."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mkdocs.commands.build import build
from mkdocs.config import load_config

from website.navigation import navigation
from website.staging import stage

CONFIGURATION = Path(__file__).with_name("mkdocs.yml")
REPOSITORY = Path(__file__).parents[1]


def build_site(site: Path, source_url: str = "") -> None:
    """Build the site into a folder, whose content is replaced.

    Raises BrokenLink, UnlistedPage for a page outside of the navigation, and mkdocs.exceptions.Abort after a warning.
    """
    with tempfile.TemporaryDirectory() as folder:
        sections = stage(REPOSITORY, Path(folder), source_url)
        config = load_config(
            str(CONFIGURATION), docs_dir=folder, site_dir=str(site.resolve()), nav=navigation(sections), strict=True
        )
        config.plugins.on_startup(command="build", dirty=False)
        build(config)
