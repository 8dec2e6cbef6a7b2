"""Options that several commands share, and the settings that follow from them."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import StrEnum
from functools import cached_property, wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from shared.settings.loading import load
from shared.settings.sections import Settings

T = TypeVar("T")


class Output(StrEnum):
    """The form of an answer: for people, or for programs."""

    TABLE = "table"
    JSON = "json"


DataDirOption = Annotated[
    Path | None, typer.Option("--data-dir", metavar="DIR", help="The data directory. [default: .headrace]")
]
DatabaseOption = Annotated[
    str | None,
    typer.Option("--database", metavar="URL", help="PostgreSQL URL without password. [default: embedded server]"),
]
BrokerOption = Annotated[
    str | None,
    typer.Option(
        "--broker", metavar="embedded|kafka://HOST:PORT", help="The broker of the topics. [default: embedded]"
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="The settings file. [default: headrace.yaml, if it exists]"),
]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="The form of the answer; json is unrounded.")]
WideOption = Annotated[bool, typer.Option("--wide", help="Print all columns and every value in full.")]


@dataclass(frozen=True)
class DatabaseOptions:
    """The options of commands that use the database."""

    data_dir: DataDirOption = None
    database: DatabaseOption = None
    config: ConfigOption = None

    @cached_property
    def settings(self) -> Settings:
        """The settings with these options applied. Raises ConfigError."""
        return settings_of(self.data_dir, self.database, self.config)


@dataclass(frozen=True)
class BrokerOptions:
    """The options of commands that use database and broker."""

    data_dir: DataDirOption = None
    broker: BrokerOption = None
    database: DatabaseOption = None
    config: ConfigOption = None

    @cached_property
    def settings(self) -> Settings:
        """The settings with these options applied. Raises ConfigError."""
        return settings_of(self.data_dir, self.database, self.config, self.broker)


def settings_of(
    data_dir: Path | None, database: str | None, config: Path | None, broker: str | None = None
) -> Settings:
    """Settings from file, environment and options, with an absolute data directory. Raises ConfigError."""
    options = {"data_dir": data_dir, "database.url": database, "broker.url": broker}
    settings = load(Settings, os.environ, config, options)
    return settings.model_copy(update={"data_dir": settings.data_dir.expanduser().resolve()})


def grouped_options(command: Callable[..., T]) -> Callable[..., T]:
    """Make a command for Typer in which each field of a dataclass parameter becomes an option.

    The options of the first parameter come last in the help, because many commands share them. The fields of a derived
    dataclass come before those of its base.
    """
    hints = get_type_hints(command, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if is_dataclass(hint) and isinstance(hint, type)}

    @wraps(command)
    def run(**given: Any) -> T:
        built = {
            name: group(**{field.name: given.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        return command(**built, **given)

    first, *others = inspect.signature(command).parameters.values()
    ordered = [*others, first] if first.name in groups else [first, *others]
    flat = [each for parameter in ordered for each in _flattened(parameter, hints)]
    run.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in flat}
    return run


def _flattened(parameter: inspect.Parameter, hints: dict[str, Any]) -> Iterator[inspect.Parameter]:
    hint = hints[parameter.name]
    if not (is_dataclass(hint) and isinstance(hint, type)):
        yield parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hint)
        return
    annotations = get_type_hints(hint, include_extras=True)
    declared = [vars(each).get("__annotations__", {}) for each in hint.__mro__]
    for field in sorted(fields(hint), key=lambda field: [field.name in names for names in declared].index(True)):
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        annotation = annotations[field.name]
        yield inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
