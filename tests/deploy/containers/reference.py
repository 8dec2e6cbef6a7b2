"""An undisturbed run on this machine over the same season: what the containers must have in their tables."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from headrace.database.access import open_database
from shared.settings.sections import Settings
from tests.deploy.containers.rows import count_query
from tests.deploy.containers.season import Clock, Season, Span
from tests.headrace.runs import logs
from tests.waiting import wait_until

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}


class Reference:
    """The embedded installation of `headrace run` in a folder."""

    def __init__(self, folder: Path, season: Season) -> None:
        self._season = season
        self._folder = folder
        self._data_dir = folder / "data"

    def load(self, span: Span, clock: Clock | None = None) -> None:
        """Load these days too. Without a clock, the season is long over."""
        with self._simulator(clock) as url, (self._folder / "run.log").open("wb") as log:
            days = [
                "--from",
                span.first.isoformat(),
                "--to",
                span.last.isoformat(),
                *(clock.options() if clock else []),
            ]
            source = ["--source", "simulator", "--base-url", url, "--once", "--data-dir", str(self._data_dir)]
            command = [sys.executable, "-m", "headrace", "run", *source, *days]
            process = subprocess.run(command, check=False, stdout=log, stderr=log, env=ENVIRONMENT)
        assert process.returncode == 0, (self._folder / "run.log").read_text()[-2000:] + logs(self._data_dir)

    def tables(self, queries: Mapping[str, str]) -> dict[str, list[str]]:
        """The rows of each query as sorted text."""
        with open_database(Settings(data_dir=self._data_dir)) as access, access.connect() as connection:
            return {
                name: sorted(str(row) for (row,) in connection.execute(f"SELECT x::text FROM ({query}) x"))
                for name, query in queries.items()
            }

    def counts(self, spans: Sequence[Span]) -> dict[Span, tuple[int, ...]]:
        """See `count_query`."""
        with open_database(Settings(data_dir=self._data_dir)) as access, access.connect() as connection:
            rows = {span: connection.execute(count_query(span)).fetchone() for span in spans}
        return {span: tuple(int(str(number)) for number in row or ()) for span, row in rows.items()}

    @contextmanager
    def _simulator(self, clock: Clock | None) -> Iterator[str]:
        """Its URL."""
        port_file = self._folder / "simulator.url"
        port_file.unlink(missing_ok=True)
        options = [*self._season.options(), *(clock.options() if clock else []), "--port-file", str(port_file)]
        process = subprocess.Popen([sys.executable, "-m", "simulator", *options], env=ENVIRONMENT)
        try:
            wait_until(port_file.exists, "the simulator")
            yield port_file.read_text().strip()
        finally:
            process.terminate()
            process.wait()
