"""The programs of a run and their environment variables. Secrets are passed as names of files only."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import headrace
from headrace.database.access import Access
from headrace.database.data_dir import DataDir
from headrace.processes.supervisor import Program
from headrace.run.options import RunOptions, VirtualTime
from services.cleaner.settings import CleanerSettings
from services.fetcher.settings import FetcherSettings
from services.loader.settings import LoaderSettings
from services.notifier.settings import NotifierSettings
from services.predictor.settings import PredictorSettings
from shared.settings.sections import ServiceSettings
from shared.topics import SERVICES

MODELS: tuple[type[ServiceSettings], ...] = (
    FetcherSettings,
    CleanerSettings,
    LoaderSettings,
    PredictorSettings,
    NotifierSettings,
)

# The folder of this code: children must run the same code, whatever the working directory contains.
CODE = Path(headrace.__file__).parents[1]


def python(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, *arguments)


def common_environment(data_dir: DataDir, config: Path | None = None) -> dict[str, str]:
    """For every program of a run. SUPERVISED makes it end when the process that started it is gone."""
    environment = {
        "PYTHONPATH": str(CODE),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "HEADRACE_SUPERVISED": "1",
        "HEADRACE_DATA_DIR": str(data_dir.path),
    }
    return environment | ({} if config is None else {"HEADRACE_CONFIG": str(config.resolve())})


def services(
    access: Access, data_dir: DataDir, options: RunOptions, follow: bool, config: Path | None, broker_url: str
) -> list[Program]:
    """The five services, each with its number of replicas."""
    return [
        Program(
            f"{service}-{slot}",
            python("-m", f"services.{service}"),
            data_dir.log(f"{service}-{slot}"),
            service_environment(access, data_dir, options, follow, config, broker_url, service, slot),
        )
        for service in SERVICES
        for slot in range(options.replicas.get(service, 1))
    ]


def service_environment(
    access: Access,
    data_dir: DataDir,
    options: RunOptions,
    follow: bool,
    config: Path | None,
    broker_url: str,
    service: str,
    slot: int,
) -> dict[str, str]:
    login = access.service(service)
    return (
        common_environment(data_dir, config)
        | {"HEADRACE_DATABASE__URL": login.url, "HEADRACE_ADMIN__TOKEN_FILE": str(data_dir.token_file)}
        | ({} if login.password_file is None else {"HEADRACE_DATABASE__PASSWORD_FILE": str(login.password_file)})
        | {"HEADRACE_BROKER__URL": broker_url, "HEADRACE_SERVICE__SLOT": str(slot)}
        | clock_environment(options.clock)
        | (fetcher_environment(options, follow) if service == "fetcher" else {})
        | ({"HEADRACE_LOADER__AS_OF": options.as_of.isoformat()} if service == "loader" and options.as_of else {})
    )


def clock_environment(clock: VirtualTime | None) -> dict[str, str]:
    if clock is None:
        return {}
    return {
        "HEADRACE_CLOCK__START": clock.start.isoformat(),
        "HEADRACE_CLOCK__SPEED": repr(clock.speed),
        "HEADRACE_CLOCK__EPOCH_S": repr(clock.epoch_s),
    }


def fetcher_environment(options: RunOptions, follow: bool) -> dict[str, str]:
    given: Mapping[str, object] = {
        "SOURCE": options.source,
        "BASE_URL": options.base_url,
        "ARCHIVE_DIR": options.archive and options.archive.resolve(),
        "FROM": options.from_date,
        "TO": options.to_date,
        "FOLLOW": str(follow).lower(),
        "AS_OF": options.as_of and options.as_of.isoformat(),
    }
    return {f"HEADRACE_FETCHER__{name}": str(value) for name, value in given.items() if value is not None}
