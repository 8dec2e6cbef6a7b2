"""Settings from file, environment and options, and the errors for invalid ones."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg
import pytest
from pydantic import ValidationError

from headrace.database.embedded import OWNER, EmbeddedPostgres
from services.cleaner.settings import CleanerSettings
from services.fetcher.settings import FetcherSettings
from services.loader.settings import LoaderSettings
from services.notifier.settings import NotifierSettings
from services.predictor.settings import PredictorSettings
from shared.clock import SystemClock, VirtualClock
from shared.errors import ConfigError
from shared.settings.loading import load
from shared.settings.sections import DatabaseSettings, Settings
from shared.settings.sources import SERVICE_SECTIONS, variable_of
from shared.settings.tables import effective_values
from shared.settings.values import read_secret
from shared.topics import SERVICES

URL = "postgresql://alice@localhost/headrace"
DATABASE = {"HEADRACE_DATABASE__URL": URL}


@pytest.fixture(autouse=True)
def _empty_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkout may contain a headrace.yaml."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def yaml_file(tmp_path: Path) -> Path:
    return tmp_path / "headrace.yaml"


def error_of(file: Path, text: str, environ: dict[str, str] | None = None) -> str:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(FetcherSettings, DATABASE if environ is None else environ, file)
    return str(caught.value)


def test_options_win_over_the_environment_and_the_environment_over_the_file(yaml_file: Path) -> None:
    yaml_file.write_text("fetcher:\n  threads: 1\n  batch_records: 10\n  source: boatrace\n")
    environ = DATABASE | {"HEADRACE_FETCHER__THREADS": "2", "HEADRACE_FETCHER__BATCH_RECORDS": "20"}

    settings = load(FetcherSettings, environ, yaml_file, {"fetcher.threads": 3})

    assert (settings.fetcher.threads, settings.fetcher.batch_records, settings.fetcher.source) == (3, 20, "boatrace")


def test_an_option_that_was_not_given_overrides_nothing() -> None:
    settings = load(
        FetcherSettings, DATABASE | {"HEADRACE_FETCHER__THREADS": "2"}, None, {"fetcher": {"threads": None}}
    )

    assert settings.fetcher.threads == 2


def test_the_file_is_found_through_its_variable(yaml_file: Path) -> None:
    yaml_file.write_text(f"database: {{url: '{URL}'}}\ndata_dir: /tmp/elsewhere\n")

    settings = load(CleanerSettings, {"HEADRACE_CONFIG": str(yaml_file)})

    assert settings.data_dir == Path("/tmp/elsewhere")


def test_the_file_of_the_working_directory_is_read_by_default(yaml_file: Path) -> None:
    yaml_file.write_text("fetcher:\n  threads: 7\n")

    assert load(FetcherSettings, DATABASE).fetcher.threads == 7


def test_days_are_set_as_from_and_to(yaml_file: Path) -> None:
    yaml_file.write_text("fetcher:\n  from: 2026-01-30\n")

    settings = load(FetcherSettings, DATABASE | {"HEADRACE_FETCHER__TO": "2026-01-31"}, yaml_file)

    assert (settings.fetcher.from_date, settings.fetcher.to_date) == (date(2026, 1, 30), date(2026, 1, 31))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "fetcher:\n  source: boatrace\n  treads: 4\n",
            ":3: there is no setting fetcher.treads; did you mean fetcher.t",
        ),
        (
            "log: {level: info}\nfetchers:\n  threads: 4\n",
            ":3: there is no setting fetchers.threads; did you mean fetch",
        ),
        ("\ndata_dri: x\n", ":2: there is no setting data_dri; did you mean data_dir?"),
        ("broker:\n\n  partitions: many\n", ":3: broker.partitions: Input should be a valid integer"),
        ("fetcher:\n  from: 2026-02-02\n  to: 2026-02-01\n", ":2: fetcher: `to` (2026-02-01) is before `from`"),
        ("fetcher:\n  from: 2026-02-31\n", ":2: fetcher.from: day is out of range"),
        ("fetcher: fast\n", ":1: fetcher: expected `name: value` lines below it"),
        ("fetcher:\n  threads: 1\n  threads: 2\n", ":3: fetcher.threads is already set at "),
        ("fetcher:\n  threads: [1\n", ": expected YAML: "),
        ("- a\n- b\n", ":1: expected `key: value` lines"),
        ("clock:\n  speed: 60\n", ":2: clock: speed and epoch_s require a virtual clock: set start too"),
        ("clock:\n  start: 2026-01-01 00:00:00\n", ":2: clock.start: Input should have timezone info"),
        ("data_dir:\n  path: x\n", ":2: data_dir: Input is not a valid path"),
        ("admin:\n  token_file: /nowhere/token\n", ":2: admin.token_file: expected a file that this user can read"),
        ("broker:\n  url: rabbit://h\n", ':2: broker.url: expected "embedded" or kafka://HOST:PORT'),
    ],
)
def test_an_error_in_the_file_names_line_and_key(yaml_file: Path, text: str, expected: str) -> None:
    error = error_of(yaml_file, text)

    assert expected in error
    assert error.startswith(str(yaml_file))


def test_all_invalid_settings_are_reported_at_once(yaml_file: Path) -> None:
    error = error_of(yaml_file, "fetcher:\n  threads: 0\nbroker:\n  partitions: 0\n")

    assert re.findall(r":(\d+): (\S+):", error) == [("4", "broker.partitions"), ("2", "fetcher.threads")]


def test_an_invalid_variable_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^environment variable HEADRACE_FETCHER__THREADS: fetcher.threads: .*'x'"):
        load(FetcherSettings, DATABASE | {"HEADRACE_FETCHER__THREADS": "x"})


@pytest.mark.parametrize("variable", ["HEADRACE_FETCHER__TREADS", "HEADRACE_FOO__BAR"])
def test_an_unknown_variable_is_an_error(variable: str) -> None:
    with pytest.raises(ConfigError, match=f"^environment variable {variable}: there is no setting"):
        load(FetcherSettings, DATABASE | {variable: "1"})


def test_variables_of_kubernetes_and_empty_variables_are_ignored() -> None:
    load(FetcherSettings, DATABASE | {"HEADRACE_LOADER_SERVICE_HOST": "10.0.0.1", "HEADRACE_BROKER__URL": ""})


def test_an_invalid_option_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^option fetcher.from: fetcher.from: "):
        load(FetcherSettings, DATABASE, None, {"fetcher.from_date": "soon"})


def test_the_error_for_a_missing_setting_says_where_to_set_it(yaml_file: Path) -> None:
    error = error_of(yaml_file, "", {})

    assert error == f"database.url is missing: set it in {yaml_file} or in the environment as HEADRACE_DATABASE__URL"


def test_a_missing_file_is_an_error(yaml_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the settings file .*headrace\.yaml: No such file"):
        load(FetcherSettings, DATABASE, yaml_file)


def test_a_name_that_is_both_a_section_and_a_value_is_an_error(yaml_file: Path) -> None:
    error = error_of(yaml_file, "fetcher: x\n", DATABASE | {"HEADRACE_FETCHER__THREADS": "1"})

    assert error.startswith("environment variable HEADRACE_FETCHER__THREADS: fetcher is both a section")


def test_one_file_serves_all_services(yaml_file: Path) -> None:
    yaml_file.write_text("fetcher:\n  threads: 3\nloader:\n  exports: false\nnotifier:\n  unheard_of: 1\nbroker:\n")

    fetcher = load(FetcherSettings, DATABASE, yaml_file)
    loader = load(LoaderSettings, DATABASE, yaml_file)

    assert fetcher.fetcher.threads == 3
    assert not loader.loader.exports


def test_the_operators_command_needs_no_database_and_no_service() -> None:
    settings = load(Settings, {"HEADRACE_FETCHER__THREADS": "3"})

    assert settings.database is None


def test_service_sections_are_the_services() -> None:
    assert SERVICE_SECTIONS == SERVICES


@pytest.mark.parametrize(
    "url", ["postgresql://a:hunter2@h/d", "host=h password=hunter2", "postgresql://a@h/d?password=hunter2", "hunter2"]
)
def test_a_password_in_a_url_is_refused_and_not_repeated(yaml_file: Path, url: str) -> None:
    error = error_of(yaml_file, f"database:\n  url: {url!r}\n", {})

    assert "hunter2" not in error
    assert f"{yaml_file}:2: database.url: " in error


def test_credentials_in_other_urls_are_refused_too(yaml_file: Path) -> None:
    error = error_of(yaml_file, "fetcher:\n  base_url: http://a:hunter2@h/\nbroker:\n  url: kafka://a:hunter2@h\n")

    assert error.count("a URL must not contain a password") == 2
    assert "hunter2" not in error


def test_a_secret_given_instead_of_its_file_is_not_repeated(yaml_file: Path) -> None:
    error = error_of(yaml_file, "admin:\n  token_file: hunter2\n")

    assert error.startswith(f"{yaml_file}:2: admin.token_file: expected a file")
    assert "hunter2" not in error


def test_conninfo_connects_with_the_password_of_the_file(postgres: EmbeddedPostgres) -> None:
    database = DatabaseSettings(url=postgres.url(), password_file=postgres.password_file(OWNER))

    with psycopg.connect(database.conninfo("headrace test")) as connection:
        row = connection.execute("SELECT current_setting('application_name')").fetchone()

    assert row == ("headrace test",)
    assert read_secret(postgres.password_file(OWNER)) not in repr(database)


def test_an_empty_secret_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("\n")

    with pytest.raises(ConfigError, match="token is empty: it must contain the secret"):
        read_secret(file)


def test_without_a_start_the_system_clock_is_used() -> None:
    assert isinstance(load(CleanerSettings, DATABASE).clock.clock(), SystemClock)


def test_a_virtual_clock_has_start_speed_and_epoch() -> None:
    environ = {"HEADRACE_CLOCK__START": "2026-01-01T09:00:00+09:00", "HEADRACE_CLOCK__SPEED": "60"}

    clock = load(CleanerSettings, DATABASE | environ | {"HEADRACE_CLOCK__EPOCH_S": "1000"}).clock.clock()

    assert clock == VirtualClock(datetime(2026, 1, 1, tzinfo=UTC), 60.0, 1000.0)


def test_channels_are_a_list_or_separated_by_commas(yaml_file: Path) -> None:
    yaml_file.write_text("notifier:\n  channels: [console, discord]\n")

    listed = load(NotifierSettings, DATABASE, yaml_file)
    separated = load(NotifierSettings, DATABASE | {"HEADRACE_NOTIFIER__CHANNELS": "console, discord"})

    assert listed.notifier.channels == separated.notifier.channels == ("console", "discord")


def test_models_are_in_the_data_directory_by_default() -> None:
    environ = DATABASE | {"HEADRACE_DATA_DIR": "/tmp/there"}

    assert load(PredictorSettings, environ).models_dir == Path("/tmp/there/models")
    assert load(PredictorSettings, environ, None, {"predictor.models_dir": "/m"}).models_dir == Path("/m")


def test_settings_cannot_be_changed() -> None:
    settings = load(CleanerSettings, DATABASE)

    with pytest.raises(ValidationError, match="frozen"):
        settings.data_dir = Path("/tmp")  # type: ignore[misc]


def test_effective_values_contain_no_secrets(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("hunter2\n")

    options = {"admin.token_file": token, "fetcher.base_url": "http://h/?token=hunter2"}
    shown = effective_values(load(FetcherSettings, DATABASE, None, options))

    assert shown["admin.token_file"] == str(token)
    assert shown["fetcher.base_url"] == "http://h/?token=***"
    assert "hunter2" not in str(shown)


def test_variable_of_gives_the_variable_of_a_key() -> None:
    settings = load(FetcherSettings, DATABASE | {variable_of("fetcher.archive_dir"): "/a"})

    assert settings.fetcher.archive_dir == Path("/a")
