"""The options of every command that asks the services, said once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from headrace.client import Api, api
from headrace.commands.arguments import (
    ConfigOption,
    DatabaseOption,
    DataDirOption,
    Output,
    OutputOption,
    settings_of,
)
from shared.settings.sections import Settings

UrlOption = Annotated[str | None, typer.Option("--url", metavar="URL", help="Ask this replica.")]
TokenFileOption = Annotated[
    Path | None,
    typer.Option(
        "--token-file", envvar="HEADRACE_TOKEN_FILE", metavar="FILE", help="A token. [default: DATA-DIR/token]"
    ),
]
OPTIONS: dict[str, tuple[Any, Any]] = {
    "output": (OutputOption, Output.TABLE), "url": (UrlOption, None), "token_file": (TokenFileOption, None),
    "data_dir": (DataDirOption, None), "database": (DatabaseOption, None), "config": (ConfigOption, None),
}  # fmt: skip


@dataclass(frozen=True)
class Asking:
    """Whom to ask, with which token, and how to write the answer."""

    settings: Settings
    output: Output
    url: str | None
    token_file: Path | None

    @contextmanager
    def api(self, service: str) -> Iterator[Api]:
        with api(self.settings, service, self.url, self.token_file) as asked:
            yield asked


def asks(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options behind its own; what they come to is its first argument, an Asking.

    Typer reads signatures, so the command gets one that has both.
    """
    own = list(inspect.signature(command).parameters.values())[1:]
    hints = get_type_hints(command, include_extras=True)

    def run(**given: Any) -> None:
        said = {name: given.pop(name) for name in OPTIONS}
        settings = settings_of(said["data_dir"], said["database"], said["config"])
        command(Asking(settings, said["output"], said["url"], said["token_file"]), **given)

    kept = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[each.name]) for each in own]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=option)
        for name, (option, default) in OPTIONS.items()
    ]
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature([*kept, *added])  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in (*kept, *added)}
    return run
