"""Reads and changes the model registry: through the predictor's API, or in its files if it is not running."""

from __future__ import annotations

import getpass
import os
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer

from headrace.database.access import opened_if_made
from headrace.remote.asking import Asking
from headrace.remote.client import Api, NotRunningError
from headrace.terminal.arguments import Output
from headrace.terminal.output import note, print_json, stdout
from services.predictor.api.model_bodies import Stepped
from services.predictor.api.model_changes import stepped
from services.predictor.registry import model_files
from services.predictor.registry.gate import Verdict
from services.predictor.registry.states import Order
from services.predictor.registry.transitions import Transition
from services.predictor.settings import Predictor
from shared.errors import ConfigError, HeadraceError
from shared.ops.tables import audit as audit_table
from shared.settings.loading import load
from shared.settings.sections import Settings

SERVICE = "predictor"
VersionArgument = Annotated[
    str, typer.Argument(metavar="V", help="Version or unique ending, as `headrace models` lists it.")
]
ReasonOption = Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Reason, stored with the change.")]


class RegistrySettings(Settings):
    """Like PredictorSettings, but needs no database."""

    predictor: Predictor = Predictor()

    @property
    def models_dir(self) -> Path:
        return self.predictor.models_dir or self.data_dir / "models"


@dataclass(frozen=True)
class Bench(Asking):
    """Access to the model registry: the predictor's API, or the registry's files if the predictor is not running."""

    def predictor(self, stack: ExitStack) -> Api | None:
        """A client of the predictor; None if it is not running and --url is not set."""
        try:
            return stack.enter_context(self.api(SERVICE))
        except NotRunningError:
            if self.url is not None:
                raise
            return None

    @property
    def models_dir(self) -> Path:
        """The registry's directory; needs no database."""
        return models_dir_of(self.settings, self.config)

    def order(self, reason: str | None) -> Order:
        return Order(at=datetime.now(UTC), who=f"command:{getpass.getuser()}", why=reason)

    def note(self, action: str, done: Stepped, order: Order) -> None:
        """Appends the change to the audit trail. Without a database it only warns: the registry's own history already
        records the change."""
        after = {"state": done.state, "live": done.live} | ({"reason": order.why} if order.why else {})
        try:
            with opened_if_made(self.settings) as access, access.connect("headrace models") as connection:
                audit_table.note(
                    connection, SERVICE, order.who, action, f"model {done.version}",
                    before={"state": done.before, "live": done.was_live}, after=after, request_id="command",
                )  # fmt: skip
        except (HeadraceError, psycopg.Error) as error:
            note(f"the change is made but missing from the audit trail: {error}")


def models_dir_of(settings: Settings, config: Path | None) -> Path:
    given = {"data_dir": settings.data_dir, "database.url": settings.database and settings.database.url}
    return load(RegistrySettings, os.environ, config, given).models_dir


def version_of(given: str, there: list[str]) -> str:
    """The version that equals `text` or uniquely ends with it (4 characters or more). Raises ConfigError."""
    found = [version for version in there if version == given or (len(given) >= 4 and version.endswith(given))]
    if len(found) != 1:
        known = ", ".join(there) or "none: run `headrace train`"
        raise ConfigError(f"model {given}: expected one of {known}")
    return found[0]


def versions(bench: Bench, asked: Api | None) -> list[str]:
    if asked is None:
        return model_files.versions(bench.models_dir)
    return [each["version"] for each in asked.get("/models")]


def step(bench: Bench, given: str, word: str, reason: str | None, locally: Transition) -> None:
    """Changes the state of one model, through the service or in the files, and prints the result."""
    wish = {"reason": reason} if reason else {}
    with ExitStack() as stack:
        asked = bench.predictor(stack)
        version = version_of(given, versions(bench, asked))
        if asked is not None:
            said = asked.post(f"/models/{version}/{word}", wish).body
        else:
            said = done_locally(bench, word, version, bench.order(reason), locally)
    conclude_step(bench, said)


def done_locally(
    bench: Bench, word: str, version: str | None, order: Order, locally: Transition, verdict: Verdict | None = None
) -> dict[str, Any]:
    """Changes the registry's files. `version` None stands for the model that is live afterwards."""
    steps = locally(bench.models_dir, version or "", order)
    done = stepped(version or str(steps[1].live), steps, verdict)
    bench.note(word, done, order)
    return done.model_dump(mode="json")


def conclude_step(bench: Bench, said: dict[str, Any]) -> None:
    if bench.output is Output.JSON:
        print_json(said)
        return
    if said.get("gate"):
        note(f"the gate: {said['gate']['why']}")
    stdout().print(sentence_of(said), markup=False, soft_wrap=True)


def sentence_of(said: dict[str, Any]) -> str:
    if said["state"] is None:
        return f"model {said['version']} is deleted"
    instead = said["was_live"] if said["was_live"] not in {None, said["live"]} else None
    return f"model {said['version']} is {said['state']}" + (f"; {instead} is retired" if instead else "")
