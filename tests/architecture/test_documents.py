"""What the documents say of the tree is true of the tree."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
PATH = re.compile(r"`((?:services|shared|headrace|simulator|tests|deploy|docs)/[\w./-]*\w/?)`")
STEP = re.compile(r"^\|[^|]*\| `(?P<path>[\w/]+\.py)` \| (?P<functions>[^|]+) \|", re.MULTILINE)
# Made on the operator's machine, never in the repository.
MADE = ("deploy/.env", "deploy/secrets/")
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def broken_links(document: Path) -> list[str]:
    """Relative links that lead nowhere."""
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8"))
    return [link for link in links if "://" not in link and not (document.parent / link).exists()]


def names_in(path: Path) -> set[str]:
    """Functions, classes, and methods as Class.method."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return names


@each_document
def test_links_lead_somewhere(document: Path) -> None:
    assert broken_links(document) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("[here](a.md) [there](b.md) [far](https://example.com/c.md) [part](d.md#e)")

    assert broken_links(tmp_path / "a.md") == ["b.md", "d.md"]


@each_document
def test_paths_exist(document: Path) -> None:
    named = set(PATH.findall(document.read_text(encoding="utf-8")))

    assert [path for path in sorted(named) if not path.startswith(MADE) and not (ROOT / path).exists()] == []


def test_every_function_of_the_walk_exists() -> None:
    steps = STEP.findall((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"))

    assert len(steps) >= 10
    for path, functions in steps:
        assert set(re.findall(r"`([\w.]+)`", functions)) <= names_in(ROOT / path), path


def test_every_promise_names_tests_that_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    promises = text.partition("## Guarantees")[2].partition("\n## ")[0]
    named = re.findall(r"\b(test_\w+)`", promises)
    there = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }

    assert named
    assert set(named) <= there


def test_every_decision_is_in_the_list() -> None:
    listed = re.findall(r"\((\d{4}-[\w-]+\.md)\)", (ROOT / "docs" / "adr" / "README.md").read_text(encoding="utf-8"))

    assert listed == sorted(path.name for path in (ROOT / "docs" / "adr").glob("0*.md"))


def test_every_command_in_the_documents_exists() -> None:
    commands = {path.stem.replace("_", "-") for path in (ROOT / "headrace" / "commands").glob("*.py")}
    text = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    named = set(re.findall(r"(?:`|\.venv/bin/|\$\()headrace ([a-z-]+)", text))

    assert {"run", "status", "sql"} <= named <= commands


def test_every_make_target_in_the_documents_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    named = {word for words in re.findall(r"`make ((?:[a-z-]+ ?)+)", text) for word in words.split()}

    assert {"run", "test"} <= named <= targets
