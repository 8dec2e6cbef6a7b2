"""What a run prints where there is no terminal: a line for each phase, and now and then how far it is."""

from __future__ import annotations

from headrace.progress.frame import Frame, HitRate, SentMessage
from headrace.progress.text import number_of, percent
from services.notifier.texts.message import plain_text

# Wall time between two lines while records flow.
LINE_EVERY_S = 10.0
HOUR_S = 3600.0
# Of a message, the heading and what happened; the rest explains.
MESSAGE_LINES = 2
NEWLINE = "\n"


def stamped(elapsed_s: float, text: str) -> str:
    return f"{elapsed_s:6.1f} s  {text}"


class ProgressLines:
    """Decides which lines a new frame is worth. No two progress lines of a phase are equal."""

    def __init__(self) -> None:
        self._phase = ""
        self._printed_s = 0.0
        self._hour = 0
        self._text = ""
        self._message_id = 0

    def lines(self, frame: Frame) -> list[str]:
        newest = next(iter(frame.details.messages), None)
        is_history = frame.phase.measure == "load" or frame.activity
        if newest and is_history:  # messages of earlier runs, and about the days that are loaded as history
            self._message_id = newest.id
        if frame.phase.text != self._phase:
            self._phase, self._printed_s, self._hour, self._text = frame.phase.text, frame.elapsed_s, 0, ""
            return [stamped(frame.elapsed_s, frame.phase.text)]
        text = progress_text(frame) if self._is_due(frame) else self._text
        if text == self._text or frame.activity:
            return []
        self._printed_s, self._text = frame.elapsed_s, text
        return [stamped(frame.elapsed_s, line) for line in (f"{_clock(frame)}{text}", *self._news(newest))]

    def _is_due(self, frame: Frame) -> bool:
        """Every full hour of a clock that runs between two instants; in other phases, every few seconds."""
        if frame.phase.measure != "clock":
            return frame.elapsed_s - self._printed_s >= LINE_EVERY_S
        begins = frame.phase.begins
        hour = int((frame.now - begins).total_seconds() // HOUR_S) if frame.now and begins else 0
        due, self._hour = hour > self._hour, max(hour, self._hour)
        return due

    def _news(self, newest: SentMessage | None) -> list[str]:
        """The newest message, unless it was printed before."""
        if newest is None or newest.id <= self._message_id:
            return []
        self._message_id = newest.id
        return [f"sent: {plain_text(NEWLINE.join(newest.text.splitlines()[:MESSAGE_LINES]))}"]


def progress_text(frame: Frame) -> str:
    if frame.phase.measure == "clock":
        return _live_text(frame.details.score)
    records = {stage.service: stage.records for stage in frame.stages}
    fetched, loaded = (number_of(records.get(name, 0), "record") for name in ("fetcher", "loader"))
    if frame.phase.measure == "load":
        return f"{percent(frame.loaded)}, {fetched} fetched, {loaded} loaded"
    more = f", {number_of(frame.details.predictions, 'prediction')}" if frame.details.predictions else ""
    return f"{fetched} fetched, {loaded} loaded{more}"


def _live_text(score: HitRate) -> str:
    text = f"{number_of(score.events, 'event')} predicted, {score.settled} of them settled"
    return f"{text}, the favourite won {score.hits} ({score.expected_hits:.1f} expected)" if score.settled else text


def _clock(frame: Frame) -> str:
    return f"{frame.local(frame.now):%H:%M %Z}  " if frame.now and frame.phase.measure == "clock" else ""
