"""The pages that the site has in addition to the Markdown files of the repository, made from the code's documents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePosixPath

from website.json_schema import schema_page
from website.openapi import openapi_page

_FRAMES_API = """# API of headrace.frames

::: headrace.frames
"""


def generated_pages(files: Mapping[str, str]) -> dict[str, str]:
    """Path and text of each page that is made from the JSON documents and from the package headrace.frames.

    `files` has the texts of the files of the repository by path.
    """
    openapi, schemas = _documents(files, "docs/openapi"), _documents(files, "docs/schemas")
    pages = {f"docs/openapi/{name}.md": openapi_page(name, json.loads(text)) for name, text in openapi.items()}
    pages |= {f"docs/schemas/{name}.md": schema_page(name, json.loads(text)) for name, text in schemas.items()}
    pages["docs/openapi/README.md"] = _index(
        "REST API",
        "Each service serves its API. What they have in common is described in [Control](../control.md).",
        openapi,
    )
    pages["docs/schemas/README.md"] = _index(
        "Schemas of the records", "The values of the records of each topic.", schemas
    )
    if "headrace/frames/__init__.py" in files:
        pages["headrace/frames/README.md"] = _FRAMES_API
    return pages


def _documents(files: Mapping[str, str], folder: str) -> dict[str, str]:
    """The JSON files of a folder by their name without extension, in order."""
    return {
        PurePosixPath(path).stem: text
        for path, text in sorted(files.items())
        if path.endswith(".json") and str(PurePosixPath(path).parent) == folder
    }


def _index(title: str, introduction: str, names: Mapping[str, str]) -> str:
    return "\n".join([f"# {title}", "", introduction, "", *(f"* [{name}]({name}.md)" for name in names), ""])
