"""Reports a condition when it changes, instead of each time that it is checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable


class SayOnce:
    """Remembers the last reported state of each subject."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._states: dict[str, object] = {}

    def __call__(self, subject: str, state: object, lines: Iterable[str] = ()) -> None:
        """Report `lines` if the state of the subject differs from that of the last call."""
        if self._states.get(subject) != state:
            self._states[subject] = state
            for line in lines:
                self._say(line)
