"""The environment of a run: a prepared database, a locked data directory, and the settings of every service."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from headrace.database.access import Access, open_database, prepare, service_settings
from headrace.database.data_dir import DataDir
from headrace.processes.interrupts import Interrupts, catch_interrupts
from headrace.processes.supervisor import Program
from headrace.progress.view import ProgressView, view_for
from headrace.run.monitor import Monitor
from headrace.run.options import RunOptions
from headrace.run.programs import MODELS, services
from headrace.run.session import Session
from services.fetcher.settings import FetcherSettings
from services.loader.settings import LoaderSettings
from shared.readiness import retry_until_first_use
from shared.retry import Retry
from shared.settings.sections import ServiceSettings, Settings
from shared.settings.values import read_secret

S = TypeVar("S", bound=ServiceSettings)


@dataclass(frozen=True)
class RunEnvironment:
    """`common`: the settings of the run; `config`: the settings file that was named, if any; `began_s`: monotonic;
    `ready`: how to wait for a broker that is not ready yet; `view_of`: the view that a session shows itself in."""

    access: Access
    common: Settings
    data_dir: DataDir
    config: Path | None
    caught: Interrupts
    screen: Console
    began_s: float
    ready: Retry
    view_of: Callable[[Console], ProgressView] = view_for

    def settings(self, model: type[S], overrides: Mapping[str, Any] | None = None) -> S:
        """A service's settings as it will load them. Raises ConfigError before anything is started."""
        ours = {"broker.url": self.common.broker.url, **(overrides or {})}
        return service_settings(model, self.access, self.data_dir.path, self.config, ours)

    def effective(self, options: RunOptions) -> RunOptions:
        """The options; where one is not given, what the settings file or the environment say."""
        given = {
            "source": options.source,
            "base_url": options.base_url,
            "archive_dir": options.archive,
            "from": options.from_date,
            "to": options.to_date,
        }
        fetcher = self.settings(FetcherSettings, {f"fetcher.{name}": value for name, value in given.items()}).fetcher
        return replace(
            options,
            source=fetcher.source,
            base_url=fetcher.base_url,
            archive=fetcher.archive_dir,
            from_date=fetcher.from_date,
            to_date=fetcher.to_date,
        )

    def services(self, options: RunOptions, follow: bool) -> list[Program]:
        return services(self.access, self.data_dir, options, follow, self.config, self.common.broker.url)

    def session(self) -> Session:
        exports = self.settings(LoaderSettings).loader.exports
        token = read_secret(self.data_dir.token_file)
        view = self.view_of(self.screen)
        return Session(Monitor(self.access, self.common, token, view, exports, self.began_s, self.ready), self.caught)


@contextmanager
def prepared_environment(
    settings: Settings, config: Path | None, screen: Console, view_of: Callable[[Console], ProgressView] = view_for
) -> Iterator[RunEnvironment]:
    """Lock the data directory, start and migrate the database. Leaves nothing running."""
    began_s = time.monotonic()
    data_dir = DataDir(settings.data_dir)
    data_dir.create()
    with catch_interrupts() as caught, data_dir.run_lock(), ExitStack() as stack:
        ready = retry_until_first_use(lambda text: screen.print(text, markup=False, soft_wrap=True), sleep=caught.wait)
        access = stack.enter_context(open_database(settings, ready))
        for warning in prepare(access, settings, ready).warnings:
            screen.print(f"warning: {warning}", markup=False, soft_wrap=True)
        data_dir.create_token()
        environment = RunEnvironment(access, settings, data_dir, config, caught, screen, began_s, ready, view_of)
        for model in MODELS:
            environment.settings(model)
        yield environment
