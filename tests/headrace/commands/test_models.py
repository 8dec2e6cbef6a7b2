"""The commands about models: on model files when no service runs, and through a running predictor."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from headrace.cli import command
from headrace.database.embedded import OWNER, EmbeddedPostgres
from services.predictor.api.router import router
from services.predictor.registry import state_file, transitions
from services.predictor.registry.model_files import WEIGHTS
from services.predictor.settings import PredictorSettings
from tests.services.endpoints import served, settings_of
from tests.services.predictor.model_requests import BAD, label_of, order
from tests.services.predictor.settled_rows import BLUNT, TRUE, settle
from tests.services.predictor.shared_database import database_of, emptied
from tests.services.predictor.trainer import IMPOSSIBLE, QUICK
from tests.services.predictor.training_replica import replica

pytestmark = pytest.mark.slow
Database = psycopg.Connection[Any]
CommandResult = tuple[int, str, str]
Headrace = Callable[..., CommandResult]


@pytest.fixture(scope="module")
def shared_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    with database_of(postgres) as url:
        yield url


@pytest.fixture
def database(shared_url: str) -> Iterator[Database]:
    with emptied(shared_url) as connection:
        yield connection


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def models(data_dir: Path) -> Path:
    return data_dir / "models"


@pytest.fixture
def headrace(data_dir: Path, capfd: pytest.CaptureFixture[str]) -> Headrace:
    """No service runs, and there is no database."""

    def run(*arguments: str) -> CommandResult:
        capfd.readouterr()
        code = command([*arguments, "--data-dir", str(data_dir)])
        return code, *capfd.readouterr()

    return run


@pytest.fixture
def with_database(
    headrace: Headrace, postgres: EmbeddedPostgres, shared_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> Headrace:
    """No service runs, but there is a database."""
    name = str(psycopg.conninfo.conninfo_to_dict(shared_url)["dbname"])
    monkeypatch.setenv("HEADRACE_DATABASE__PASSWORD_FILE", str(postgres.password_file(OWNER)))
    return lambda *arguments: headrace(*arguments, "--database", postgres.url(database=name))


@pytest.fixture
def settings(postgres: EmbeddedPostgres, shared_url: str, database: Database, data_dir: Path) -> PredictorSettings:
    data_dir.mkdir()
    return settings_of(PredictorSettings, postgres, shared_url, data_dir)


@pytest.fixture
def over_rest(headrace: Headrace, settings: PredictorSettings, models: Path) -> Iterator[Headrace]:
    """A predictor runs and uses the same registry."""
    with served(settings, lambda context: router(context, models)) as client:
        url = str(client.base_url).removesuffix("/").removesuffix("/v1")
        yield lambda *arguments: headrace(*arguments, "--url", url)


def add_model(models: Path, seed: int, metrics: dict[str, float] | None = None) -> str:
    models.mkdir(parents=True, exist_ok=True)
    return transitions.add(models, "2031-04-30", label_of(seed, "2031-04-30", metrics), bytes(8), {}, order())


def test_without_models_the_list_says_how_to_train_one(headrace: Headrace) -> None:
    assert headrace("models") == (0, "no models: `headrace train` makes one\n", "")


def test_models_are_listed_from_files(headrace: Headrace, models: Path) -> None:
    version = add_model(models, 1)

    table = headrace("models")[1]
    [model] = json.loads(headrace("models", "list", "--output", "json")[1])

    for part in (version, "candidate", "1.1500", "1.3600", "4,000"):
        assert part in table
    assert (model["version"], model["state"], model["seed"]) == (version, "candidate", 1)


def test_the_table_of_models_fits_100_columns_and_a_problem_is_printed_below_it(
    headrace: Headrace, models: Path
) -> None:
    fine, damaged = add_model(models, 1), add_model(models, 2)
    (models / damaged / "model.json").write_text("{}")

    lines, wide = headrace("models")[1].splitlines(), headrace("models", "--wide")[1]

    table, below = lines[:4], lines[4:]
    assert max(map(len, table)) <= 100
    assert "since (UTC)" in table[0]
    assert {line.split()[0] for line in table[2:]} == {fine, damaged}
    assert [line.split(" cannot be used: ")[0] for line in below] == [damaged]
    assert below[0].split(" cannot be used: ")[1] in wide


def test_models_change_their_state_without_a_service_or_database(headrace: Headrace, models: Path) -> None:
    first, second = add_model(models, 1), add_model(models, 2)

    code, out, err = headrace("promote", first)
    assert (code, out) == (0, f"model {first} is live\n")
    assert "the gate: no model is live, and the validation log-loss" in err
    assert headrace("models", "shadow", second[-6:])[1] == f"model {second} is shadow\n"
    assert headrace("promote", second, "--force", "--reason", "a test")[1] == (
        f"model {second} is live; {first} is retired\n"
    )
    code, out, err = headrace("rollback", "--reason", "it is odd")
    assert out == f"model {first} is live; {second} is retired\n"
    assert "the change is made but missing from the audit trail: there is no database" in err

    details = json.loads(headrace("models", "show", second)[1])
    assert [(each["after"], each["why"]) for each in details["history"]][-2:] == [
        ("live", "a test"),
        ("retired", "it is odd"),
    ]
    assert details["history"][-1]["who"].startswith("command:")
    assert headrace("models", "delete", second)[1] == f"model {second} is deleted\n"


@pytest.mark.parametrize("version", ["20310430-00000000", "nonsense", "", "0"])
def test_an_unknown_or_ambiguous_version_is_refused(headrace: Headrace, models: Path, version: str) -> None:
    existing = add_model(models, 1)

    code, _, err = headrace("models", "show", version)

    assert code == 2
    assert existing in err


def test_force_requires_a_reason(headrace: Headrace, models: Path) -> None:
    code, _, err = headrace("promote", add_model(models, 1), "--force")

    assert (code, err) == (2, "headrace: --force requires --reason, which is kept with the change\n")
    assert not state_file.has_live(models)


def test_an_impossible_change_is_refused_in_one_line(headrace: Headrace, models: Path) -> None:
    bad, damaged = add_model(models, 1, BAD), add_model(models, 2)
    (models / damaged / WEIGHTS).write_bytes(b"")

    for arguments, code, words in [
        (("rollback",), 1, "no model to go back to"),
        (("promote", bad), 1, "not below the base rate's"),
        (("promote", damaged), 2, "train again"),
    ]:
        exit_code, _, err = headrace(*arguments)
        assert (exit_code, err.count("\n")) == (code, 1)
        assert words in err


def test_a_model_that_is_better_on_stored_facts_is_promoted(
    with_database: Headrace, models: Path, database: Database
) -> None:
    live, better = add_model(models, 1), add_model(models, 2)
    transitions.promote(models, live, order(), None)
    settle(database, {live: BLUNT, better: TRUE})

    code, out, err = with_database("promote", better)

    assert (code, out) == (0, f"model {better} is live; {live} is retired\n"), err
    assert "is better than" in err
    assert "300 settled events" in err
    trail = database.execute("SELECT action, target, request_id FROM ops.audit ORDER BY id DESC LIMIT 1").fetchone()
    assert trail == ("promote", f"model {better}", "command")


def test_a_model_that_is_not_better_on_stored_facts_is_refused(
    with_database: Headrace, models: Path, database: Database
) -> None:
    live, worse = add_model(models, 1), add_model(models, 2)
    transitions.promote(models, live, order(), None)
    settle(database, {live: TRUE, worse: BLUNT})

    code, _, err = with_database("promote", worse)

    assert code == 1
    assert "is not better with confidence" in err
    assert state_file.read(models).live == live


def test_the_commands_use_a_running_predictor(over_rest: Headrace, models: Path) -> None:
    first, second = add_model(models, 1), add_model(models, 2)

    assert over_rest("promote", first)[1] == f"model {first} is live\n"
    assert over_rest("models", "shadow", second, "--reason", "a comparison")[1] == f"model {second} is shadow\n"
    assert over_rest("promote", second, "--force", "--reason", "a test")[1] == (
        f"model {second} is live; {first} is retired\n"
    )
    assert json.loads(over_rest("rollback", "--output", "json")[1])["live"] == first
    assert over_rest("models", "retire", second)[1] == f"model {second} is retired\n"

    assert {each["who"] for each in json.loads(over_rest("models", "show", second)[1])["history"][1:]} == {"file token"}
    listed = json.loads(over_rest("models", "--output", "json")[1])
    assert {each["version"]: each["state"] for each in listed} == {first: "live", second: "retired"}


def test_a_refusal_by_the_predictor_is_printed_with_its_figures(over_rest: Headrace, models: Path) -> None:
    code, _, err = over_rest("promote", add_model(models, 1, BAD))

    assert (code, err.count("\n")) == (1, 1)
    assert "the predictor refused the request (409)" in err
    assert "card 1.4000 (base 1.3600)" in err


def test_train_waits_and_prints_the_verdict_of_the_gate(
    over_rest: Headrace, settings: PredictorSettings, models: Path
) -> None:
    with replica(settings.database.conninfo(), models):
        code, out, err = over_rest("train", "--seed", str(QUICK))

    assert code == 0, err
    live = state_file.read(models).live
    assert out.endswith(f"model {live} is live: 4,000 events from 2031-01-01 to 2031-04-30, 1 s\n")
    assert "the gate: no model is live" in err


def test_train_without_wait_prints_the_operation(over_rest: Headrace, models: Path) -> None:
    code, out, _ = over_rest("train", "--no-wait", "--no-promote", "--until", "2031-04-30")

    assert code == 0
    assert "headrace operations wait" in out
    assert "is a training that has not finished" in over_rest("train")[2]


def test_a_training_that_fails_is_reported_with_its_cause(
    over_rest: Headrace, settings: PredictorSettings, models: Path
) -> None:
    with replica(settings.database.conninfo(), models):
        code, _, err = over_rest("train", "--seed", str(IMPOSSIBLE))

    assert code == 1
    assert "training needs at least 100 settled events" in err


def test_promote_waits_for_a_comparison_on_stored_facts(
    over_rest: Headrace, settings: PredictorSettings, models: Path
) -> None:
    live, new = add_model(models, 1), add_model(models, 2)
    transitions.promote(models, live, order(), None)

    with replica(settings.database.conninfo(), models, "host-0", "--replay"):
        code, out, err = over_rest("promote", new)

    assert code == 0, err
    assert out.endswith(f"model {new} is live; {live} is retired\n")
    assert "(walk-forward)" in err
