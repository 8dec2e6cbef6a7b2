"""Links, paths, functions, tests and targets that the documents name exist (commands: tests/documents)."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
PATH = re.compile(r"`((?:services|shared|headrace|simulator|tests|deploy|docs)/[\w./-]*\w/?)`")
STEP = re.compile(r"^\|[^|]*\| `(?P<path>[\w/]+\.py)` \| (?P<functions>[^|]+) \|", re.MULTILINE)
# Created on the operator's machine, never in the repository.
CREATED = ("deploy/.env", "deploy/secrets/")
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def broken_links(document: Path) -> list[str]:
    """Relative links whose target does not exist."""
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8"))
    return [link for link in links if "://" not in link and not (document.parent / link).exists()]


def names_in(path: Path) -> set[str]:
    """Functions, classes, and methods as Class.method."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, FUNCTIONS | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, FUNCTIONS)}
    return names


@each_document
def test_targets_of_links_exist(document: Path) -> None:
    assert broken_links(document) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("[here](a.md) [there](b.md) [far](https://example.com/c.md) [part](d.md#e)")

    assert broken_links(tmp_path / "a.md") == ["b.md", "d.md"]


@each_document
def test_paths_exist(document: Path) -> None:
    named = set(PATH.findall(document.read_text(encoding="utf-8")))

    assert [path for path in sorted(named) if not path.startswith(CREATED) and not (ROOT / path).exists()] == []


def test_every_function_in_the_path_of_a_record_exists() -> None:
    steps = STEP.findall((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"))

    assert len(steps) >= 10
    for path, functions in steps:
        assert set(re.findall(r"`([\w.]+)`", functions)) <= names_in(ROOT / path), path


def test_every_test_named_by_a_guarantee_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    guarantees = text.partition("## Guarantees")[2].partition("\n## ")[0]
    named = re.findall(r"\b(test_\w+)`", guarantees)
    existing = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }

    assert named
    assert set(named) <= existing


def test_every_decision_is_in_the_list() -> None:
    listed = re.findall(r"\((\d{4}-[\w-]+\.md)\)", (ROOT / "docs" / "adr" / "README.md").read_text(encoding="utf-8"))

    assert listed == sorted(path.name for path in (ROOT / "docs" / "adr").glob("0*.md"))


def test_every_make_target_in_the_documents_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    named = {word for words in re.findall(r"`make ((?:[a-z-]+ ?)+)", text) for word in words.split()}

    assert {"run", "test"} <= named <= targets
