"""docs/commands.md has every command of `headrace` with its arguments and options."""

from __future__ import annotations

from pathlib import Path

from tests.documents.command_reference import commands, options, reference
from tests.shared.generated import compare


def test_the_document_has_every_command(repository: Path) -> None:
    compare(repository / "docs" / "commands.md", "commands", reference())


def test_the_reference_has_commands_of_groups_and_their_options() -> None:
    by_name = dict(commands())

    assert {"headrace", "headrace run", "headrace dead-letters list"} <= set(by_name)
    assert {"--version", "--help"} <= options(by_name["headrace"])
    assert {"--dry-run", "--from", "-o"} <= options(by_name["headrace replay"])
