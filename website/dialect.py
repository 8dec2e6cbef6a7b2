"""Changes Markdown as a Git host reads it into Markdown as Python-Markdown reads it, where the two differ."""

from __future__ import annotations

import re

MERMAID_SCRIPT = "website/mermaid.js"
_TERMINAL = re.compile(r"^(```console) (\w+)$", re.MULTILINE)
_MERMAID = re.compile(r"^```mermaid$", re.MULTILINE)
_TABLE_ROW = re.compile(r"^\|.*$", re.MULTILINE)
_CODE = re.compile(r"`[^`]*`")


def translate(text: str, page: str) -> str:
    """The text of a page; `page` is its path below the root."""
    text = _TERMINAL.sub(r'\1 title="\2 terminal"', text)
    text = _TABLE_ROW.sub(_with_plain_pipes, text)
    if not _MERMAID.search(text):
        return text
    # The site's own copy of the script; the theme would load one from the network.
    return f'{text}\n<script src="{"../" * page.count("/")}{MERMAID_SCRIPT}"></script>\n'


def _with_plain_pipes(row: re.Match[str]) -> str:
    """A row of a table in which pipes in code are not escaped."""
    return _CODE.sub(lambda code: code[0].replace("\\|", "|"), row[0])
