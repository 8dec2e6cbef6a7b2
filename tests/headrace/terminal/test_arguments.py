"""`grouped_options`: options declared once, as the fields of a dataclass."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer

from headrace.terminal.arguments import grouped_options


@dataclass(frozen=True)
class Filter:
    """Options in the middle of a command."""

    cause: Annotated[str, typer.Option(metavar="CLASS")]
    key: str | None = None


@dataclass(frozen=True)
class Common:
    """Options at the end of a command."""

    output: Annotated[str, typer.Option("--output", "-o")] = "table"


@grouped_options
def find(common: Common, service: str, filters: Filter, limit: int = 50) -> tuple[Common, str, Filter, int]:
    """Find something."""
    return common, service, filters, limit


def test_each_field_becomes_an_option_and_those_of_the_first_group_come_last() -> None:
    assert list(inspect.signature(find).parameters) == ["service", "cause", "key", "limit", "output"]


def call(*arguments: str) -> object:
    app = typer.Typer()
    app.command()(find)
    return app(arguments, standalone_mode=False)


def test_the_command_receives_its_option_groups() -> None:
    arguments = call("loader", "--cause", "X", "-o", "json")

    assert arguments == (Common("json"), "loader", Filter("X"), 50)


def test_a_field_without_a_default_is_required() -> None:
    with pytest.raises(Exception, match="Missing parameter: cause"):
        call("loader")
