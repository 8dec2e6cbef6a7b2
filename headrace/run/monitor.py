"""Observes a run: takes readings of the pipeline, gives the view its frames, and keeps the log."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime

import psycopg

from headrace.database.access import Access, one_line
from headrace.progress.details import read_details
from headrace.progress.frame import Details, Frame, Phase, StageState
from headrace.progress.lines import stamped
from headrace.progress.notices import notices_of
from headrace.progress.observer import Observer
from headrace.progress.positions import Reading
from headrace.progress.stages import loaded_fraction, stages_of, topic_sizes
from headrace.progress.throughput import Throughput
from headrace.progress.view import ProgressView
from headrace.run.say_once import SayOnce
from shared.errors import ConfigError, TransientError
from shared.retry import Retry
from shared.settings.sections import Settings

READ_EVERY_S = 0.5
FRAME_EVERY_S = 0.2
# The longest time without progress that needs no explanation.
QUIET_S = 15.0
LOG_LINES = 10


class Monitor:
    """Observes the pipeline for a session. Reconnects after an outage, and starts an embedded server that has died."""

    def __init__(  # the parts of a run
        self,
        access: Access,
        settings: Settings,
        token: str,
        view: ProgressView,
        exports: bool,
        began_s: float,
        ready: Retry,
    ) -> None:
        self.title = ""
        self.steps: tuple[str, ...] = ()
        self.phase = Phase("", "")
        # The last lines of a program that reports its own progress; empty while none runs.
        self.activity: Callable[[], tuple[str, ...]] = tuple
        # Why the run does not end, once nothing has moved for QUIET_S.
        self.obstacle = ""
        self._access, self._settings, self._token = access, settings, token
        self._view, self._exports, self._began_s = view, exports, began_s
        self._observer: Observer | None = None
        self._reading: Reading | None = None
        self._details = Details()
        self._read_at_s = self._details_at_s = self._frame_at_s = 0.0
        self._phase_began_s = began_s
        self._log: list[str] = []
        self._away = ""
        self.say_once = SayOnce(self.say)
        # The first look may wait for a broker that is not ready; later ones must be over soon.
        with closing(Observer(access, settings, token, ready)) as patient:
            self.throughput = Throughput(patient.positions(), time.monotonic())

    def begin(self, phase: Phase) -> None:
        self.phase, self._phase_began_s = phase, time.monotonic()
        self._details_at_s = self._frame_at_s = 0.0

    def say(self, text: str) -> None:
        line = stamped(time.monotonic() - self._began_s, text)
        self._log.append(line)
        self._view.say(line)

    def observer(self) -> Observer:
        if self._observer is None:
            self._observer = Observer(self._access, self._settings, self._token)
        return self._observer

    def last_reading(self) -> Reading:
        """The one that ended the last wait."""
        if self._reading is None:
            self._reading = self.observer().reading(self._exports)
        return self._reading

    def reading_if_due(self) -> Reading | None:
        """A new reading every half second; None in between, and while database or broker do not answer."""
        if time.monotonic() < self._read_at_s:
            return None
        self._read_at_s = time.monotonic() + READ_EVERY_S
        try:
            reading = self.observer().reading(self._exports)
        except (psycopg.OperationalError, TransientError, ConfigError) as error:
            self._reconnect(error)
            return None
        self._away = ""
        self.say_once("away", "")
        self._reading = reading
        return reading

    def show(self, processes: Mapping[str, StageState]) -> None:
        """Give the view a frame, some times a second. `processes`: what the supervisor knows of the services."""
        at_s = time.monotonic()
        if at_s - self._frame_at_s < FRAME_EVERY_S:
            return
        self._frame_at_s = at_s
        if at_s - self._details_at_s >= self._view.details_every_s:
            self._details_at_s = at_s
            self.throughput.rest(at_s)
            self._read_details(processes)
        self._view.show(self._frame(at_s))

    def close(self) -> None:
        self._view.close()
        if self._observer is not None:
            self._observer.close()

    def _frame(self, at_s: float) -> Frame:
        troubles = tuple(filter(None, (self._away, self.obstacle)))
        return Frame(
            title=self.title,
            steps=self.steps,
            phase=self.phase,
            elapsed_s=at_s - self._began_s,
            phase_s=at_s - self._phase_began_s,
            now=self.phase.clock.now() if self.phase.clock else None,
            loaded=loaded_fraction(self._reading, self.throughput),
            stages=stages_of(self._reading, self.throughput, self._details),
            topics=topic_sizes(self._reading),
            details=self._details,
            notices=notices_of(self._details, self._reading, troubles),
            log=tuple(self._log[-LOG_LINES:]),
            activity=self.activity(),
        )

    def _read_details(self, processes: Mapping[str, StageState]) -> None:
        """Keeps the old ones where the database does not answer: the next reading finds out and says so."""
        if self._observer is not None:
            now = self.phase.clock.now() if self.phase.clock else datetime.now(UTC)
            with suppress(psycopg.Error):
                self._details = read_details(self._observer.connection, now, processes, self.phase.begins)

    def _reconnect(self, error: Exception) -> None:
        """Report the failure. Where the database may be down, connect to it again with the next reading."""
        kafka = isinstance(error, TransientError) and self._settings.broker.address is not None
        away = "Kafka" if kafka else "the database"
        self._away = f"{away} does not answer, trying again: {one_line(error)[:200]}"
        self.say_once("away", away, [self._away])
        down = self._access.server is not None and not self._access.server.accepts_connections()
        if kafka and not down:
            return
        if self._observer is not None:
            self._observer.close()
            self._observer = None
        if self._access.server is not None and down:
            self._access.server.start()
