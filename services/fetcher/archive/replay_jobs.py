"""Runs replays from the archive as jobs of the fetcher. Each input record of a job is one window of the archive."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager

from services.fetcher.archive.rebuild import Recapture
from services.fetcher.archive.replay import ArchiveReplayRequest, replayed_windows
from services.fetcher.archive.store import DocumentArchive
from services.fetcher.planning.windows import window_of
from services.fetcher.sources.declaration import Source
from shared.broker.contract import Broker, Record, TopicPartition, Unit
from shared.ops.operations import Operation
from shared.ops.replays import OffsetSpan
from shared.runtime.jobs.cursor import Spans
from shared.runtime.jobs.job import Job
from shared.runtime.jobs.job_lease import JobLease
from shared.runtime.jobs.loop import JobLoop
from shared.runtime.jobs.thread import JobThread, start_job_thread
from shared.topics import downstream_of

# The pseudo-partition that the job's cursor counts windows in. It is not a topic of the broker.
WINDOWS = TopicPartition("archive", 0)


class WindowReader:
    """Reads windows as records whose offsets are the windows' numbers."""

    def __init__(self, keys: Sequence[str], end: int, at: int) -> None:
        self._keys = keys
        self._end = end
        self._at = at

    @property
    def read_to(self) -> dict[TopicPartition, int]:
        return {WINDOWS: self._at}

    @property
    def unfinished(self) -> frozenset[TopicPartition]:
        return frozenset({WINDOWS}) if self._at < self._end else frozenset()

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:  # noqa: ARG002  # nothing to wait for
        numbers = range(self._at, min(self._end, self._at + max_records))
        self._at = numbers.stop
        return [Record(*WINDOWS, number, 0, self._keys[number].encode(), b"", {}) for number in numbers]

    def close(self) -> None:
        """Does nothing: no resource is open."""


class ArchiveReplays:
    """Starts replay jobs in this replica.

    A thread suffices for each: most of the work is done by the cleaner and the loader.
    """

    def __init__(self, source: Source, archive: DocumentArchive, conninfo: str, connect: Callable[[], Broker]) -> None:
        self._source = source
        self._archive = archive
        self._conninfo = conninfo
        self._connect = connect

    def start(self, operation: Operation, worker: str, _index: int) -> JobThread:
        @contextmanager
        def open_loop() -> Iterator[JobLoop]:
            with closing(self._connect()) as broker:
                yield JobLoop(broker, JobLease(self._conninfo, operation.id, worker), self._job(operation))

        return start_job_thread(open_loop, f"replay {operation.id}")

    def _job(self, operation: Operation) -> Job:
        lines = list(self._archive.documents())
        windows, records_of = replayed_windows(
            operation.target, self._source, lines, Recapture(self._source, self._archive.read), operation.id
        )
        keys = [window.key(self._source.name) for window in windows]
        rate = ArchiveReplayRequest.model_validate(operation.target["wish"]).rate

        def transform(records: Sequence[Record], unit: Unit) -> Mapping[str, int]:
            outputs = []
            for record in records:
                window = window_of(record.key.decode(), self._source.name)
                assert window is not None  # noqa: S101  # the key is that of a window
                outputs += records_of(window)
            unit.append(outputs)
            return {"outputs": len(outputs)}

        def open_reader(_broker: Broker, spans: Spans, next_offsets: Mapping[TopicPartition, int]) -> WindowReader:
            end = spans[WINDOWS].end
            return WindowReader(keys, end, next_offsets.get(WINDOWS, end))

        return Job(
            id=operation.id,
            spans={WINDOWS: OffsetSpan(0, len(windows))},
            is_selected=lambda _: True,
            transform=transform,
            unit_records=1,
            rate=None if rate is None else rate * len(windows) / operation.target["selected"],
            downstream=downstream_of(operation.service),
            open_reader=open_reader,
        )
