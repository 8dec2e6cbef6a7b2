"""The code in the documents: commands and options exist, Python compiles, JSON, TOML and YAML can be read."""

from __future__ import annotations

import ast
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.documents.command_reference import commands
from tests.documents.snippets import DOCUMENTS, ROOT, blocks, calls, problem_of

PARSERS: dict[str, Callable[[str], Any]] = {
    "json": json.loads,
    "python": ast.parse,
    "toml": tomllib.loads,
    "yaml": lambda text: list(yaml.safe_load_all(text)),
}
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


@each_document
def test_every_command_and_option_exists(document: Path) -> None:
    known = dict(commands())

    problems = [problem_of(arguments, known) for arguments in calls(document.read_text(encoding="utf-8"))]
    assert [problem for problem in problems if problem] == []


@each_document
def test_every_block_of_code_can_be_read(document: Path) -> None:
    for block in blocks(document):
        if block.language in PARSERS:
            PARSERS[block.language](block.code)


def test_the_documents_call_many_commands() -> None:
    called = {arguments.split()[0] for document in DOCUMENTS for arguments in calls(document.read_text()) if arguments}

    assert {"run", "status", "sql", "replay", "dead-letters", "rules"} <= called


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("    headrace replay cleaner raw-events --dry-run\n", None),
        ("$ .venv/bin/headrace status --wide | tail\n", None),
        ("run `headrace dead-letters list --bogus`", "headrace dead-letters list --bogus"),
        ("kubectl -n headrace exec cli -- headrace sttus", "headrace sttus"),
        ('headrace sql "select --x" \\\n  --tsv', "headrace sql --tsv"),
        ("headrace simulate --port 8000", None),
        ("headrace pack 2026-01 --to january", None),
        ("headrace pack 2026-01 --bogus", "headrace pack --bogus"),
        ("helm install headrace deploy/helm/headrace --wait", None),
    ],
)
def test_an_unknown_command_or_option_is_reported(text: str, problem: str | None) -> None:
    known = dict(commands())

    problems = [problem_of(arguments, known) for arguments in calls(text)]
    assert [each for each in problems if each] == ([problem] if problem else [])


def test_blocks_in_lists_are_read() -> None:
    document = ROOT / "docs" / "kubernetes.md"

    assert any(block.code.startswith("CREATE ROLE") for block in blocks(document))
