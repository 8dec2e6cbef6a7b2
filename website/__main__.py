"""Runs `python -m website`: builds the documentation site. `make docs` calls it."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

# MkDocs' theme otherwise prints an announcement.
os.environ.setdefault("NO_MKDOCS_2_WARNING", "1")

from mkdocs.exceptions import Abort

from website.build import build_site
from website.links import SiteError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--site", type=Path, default=Path("site"), help="the folder to write (default: site)")
    parser.add_argument(
        "--source-url",
        default="",
        help="address of the repository's files at a Git host, ending in a slash; without it links to code become text",
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    try:
        build_site(arguments.site, arguments.source_url)
    except (SiteError, Abort) as error:
        sys.exit(f"website: {error}")


if __name__ == "__main__":
    main()
