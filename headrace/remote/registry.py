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

from headrace.database.access import open_existing_database
from headrace.remote.asking import ApiOptions
from headrace.remote.client import ApiClient, NotRunningError
from headrace.terminal.arguments import Output
from headrace.terminal.output import print_json, print_note, stdout
from services.predictor.api.model_bodies import StateChangeResult
from services.predictor.api.model_changes import state_change_result
from services.predictor.registry import model_files
from services.predictor.registry.gate import Verdict
from services.predictor.registry.states import ChangeRequest
from services.predictor.registry.transitions import Transition
from services.predictor.settings import PredictorSection
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

    predictor: PredictorSection = PredictorSection()

    @property
    def models_dir(self) -> Path:
        return self.predictor.models_dir or self.data_dir / "models"


@dataclass(frozen=True)
class RegistryAccess(ApiOptions):
    """Access to the model registry: the predictor's API, or the registry's files if the predictor is not running."""

    def predictor(self, stack: ExitStack) -> ApiClient | None:
        """A client of the predictor; None if it is not running and --url is not set."""
        try:
            return stack.enter_context(self.open_api(SERVICE))
        except NotRunningError:
            if self.url is not None:
                raise
            return None

    @property
    def models_dir(self) -> Path:
        """The registry's directory; needs no database."""
        return models_dir_of(self.settings, self.config)

    def order(self, reason: str | None) -> ChangeRequest:
        return ChangeRequest(at=datetime.now(UTC), who=f"command:{getpass.getuser()}", why=reason)

    def append_audit(self, action: str, change: StateChangeResult, order: ChangeRequest) -> None:
        """Appends the change to the audit trail. Without a database it only warns: the registry's own history already
        records the change."""
        after = {"state": change.state, "live": change.live} | ({"reason": order.why} if order.why else {})
        try:
            with open_existing_database(self.settings) as access, access.connect("headrace models") as connection:
                audit_table.append(
                    connection, SERVICE, order.who, action, f"model {change.version}",
                    before={"state": change.before, "live": change.was_live}, after=after, request_id="command",
                )  # fmt: skip
        except (HeadraceError, psycopg.Error) as error:
            print_note(f"the change is made but missing from the audit trail: {error}")


def models_dir_of(settings: Settings, config: Path | None) -> Path:
    overrides = {"data_dir": settings.data_dir, "database.url": settings.database and settings.database.url}
    return load(RegistrySettings, os.environ, config, overrides).models_dir


def version_of(text: str, available: list[str]) -> str:
    """The version that equals `text` or uniquely ends with it (4 characters or more). Raises ConfigError."""
    matches = [version for version in available if version == text or (len(text) >= 4 and version.endswith(text))]
    if len(matches) != 1:
        choices = ", ".join(available) or "none: run `headrace train`"
        raise ConfigError(f"model {text}: expected one of {choices}")
    return matches[0]


def versions(bench: RegistryAccess, client: ApiClient | None) -> list[str]:
    if client is None:
        return model_files.versions(bench.models_dir)
    return [each["version"] for each in client.get("/models")]


def change_model(bench: RegistryAccess, text: str, word: str, reason: str | None, locally: Transition) -> None:
    """Changes the state of one model, through the service or in the files, and prints the result."""
    body = {"reason": reason} if reason else {}
    with ExitStack() as stack:
        client = bench.predictor(stack)
        version = version_of(text, versions(bench, client))
        if client is not None:
            result = client.post(f"/models/{version}/{word}", body).body
        else:
            result = change_locally(bench, word, version, bench.order(reason), locally)
    print_change(bench, result)


def change_locally(
    bench: RegistryAccess,
    word: str,
    version: str | None,
    order: ChangeRequest,
    locally: Transition,
    verdict: Verdict | None = None,
) -> dict[str, Any]:
    """Changes the registry's files. `version` None stands for the model that is live afterwards."""
    steps = locally(bench.models_dir, version or "", order)
    change = state_change_result(version or str(steps[1].live), steps, verdict)
    bench.append_audit(word, change, order)
    return change.model_dump(mode="json")


def print_change(bench: RegistryAccess, result: dict[str, Any]) -> None:
    if bench.output is Output.JSON:
        print_json(result)
        return
    if result.get("gate"):
        print_note(f"the gate: {result['gate']['why']}")
    stdout().print(sentence_of(result), markup=False, soft_wrap=True)


def sentence_of(result: dict[str, Any]) -> str:
    if result["state"] is None:
        return f"model {result['version']} is deleted"
    instead = result["was_live"] if result["was_live"] not in {None, result["live"]} else None
    return f"model {result['version']} is {result['state']}" + (f"; {instead} is retired" if instead else "")
