"""docs/messages.md has all errors and log events that a person may see."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.documents import message_catalogue as catalogue
from tests.shared.generated import compare


def document() -> str:
    sections = {
        "Errors": catalogue.markdown(catalogue.errors()),
        "Log events": catalogue.markdown(catalogue.log_events()),
    }
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())


def test_the_document_has_every_message(repository: Path) -> None:
    compare(repository / "docs" / "messages.md", "messages", document())


def test_a_text_names_the_values_in_it() -> None:
    expression = ast.parse('f"--to {to_text} is before " + f"--from {first!r:>3}: {len(rows)}"', mode="eval").body

    assert catalogue.text_of(expression) == "--to {to_text} is before --from {first}: {rows}"


def test_the_catalogue_is_not_empty() -> None:
    assert len(catalogue.errors()) > 100
    assert len(catalogue.log_events()) > 20
