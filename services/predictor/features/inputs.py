"""Model input: standardised features of events in one state of knowledge, the same for training and serving. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace

import numpy as np

from services.predictor.facts import Bools, Events, Floats, Floats32, Ints, State
from services.predictor.features.encoding import Encoding
from services.predictor.features.history import History
from services.predictor.features.relative import relatives
from services.predictor.features.values import Values, values_of

# Standardised values beyond this are typing errors or accidents; further out they would only drown the rest.
CLIP = 5.0


@dataclass(frozen=True)
class Inputs:
    """entry float32 (n, S, F), event float32 (n, E), taken (n, S), venue (n,) 0 for one never met, course (n, S)
    0 for unknown, starts float32 (n, S, H, T) with the newest last, started (n, S, H).

    Columns as Encoding.entry_features and event_features; unknown is 0, and its flag is 1.
    """

    entry: Floats32
    event: Floats32
    taken: Bools
    venue: Ints
    course: Ints
    starts: Floats32
    started: Bools

    def __len__(self) -> int:
        return len(self.venue)

    def __getitem__(self, rows: Ints | Bools | slice) -> Inputs:
        return Inputs(*(getattr(self, each.name)[rows] for each in fields(self)))

    def hashes(self) -> list[str]:
        """One per event: the same input has the same hash."""
        parts = [getattr(self, each.name) for each in fields(self)]
        return [
            hashlib.blake2b(b"".join(np.ascontiguousarray(part[row]).tobytes() for part in parts), digest_size=16)
            .hexdigest()
            for row in range(len(self))
        ]  # fmt: skip

    def without(self, encoding: Encoding, group: str) -> Inputs:
        """As if nothing of this group were known."""
        entry, event = self.entry.copy(), self.event.copy()
        entry[..., [index for index, each in enumerate(encoding.entry_groups) if each == group]] = 0.0
        event[..., [index for index, each in enumerate(encoding.event_groups) if each == group]] = 0.0
        for features, groups, made in (
            (encoding.entry_features, encoding.entry_groups, entry),
            (encoding.event_features, encoding.event_groups, event),
        ):
            flags = [i for i, name in enumerate(features) if groups[i] == group and name.endswith("_unknown")]
            made[..., flags] = 1.0
        entry[~self.taken] = 0.0
        found = replace(self, entry=entry, event=event)
        if group == "history":
            found = replace(found, starts=np.zeros_like(self.starts), started=np.zeros_like(self.started))
        return replace(found, course=np.zeros_like(self.course)) if group == "observation" else found


def inputs_of(events: Events, history: History, encoding: Encoding, state: State) -> Inputs:
    """One row an event, each as of its own instant."""
    return encoded(values_of(events, history, encoding.names, state), encoding)


def encoded(values: Values, encoding: Encoding) -> Inputs:
    slots = values.taken.shape[1]
    taken = values.taken[:, :, None]
    relative = relatives(values.entry, values.lane)
    flags = list(encoding.entry_flags)
    slot = np.broadcast_to(np.eye(slots), (len(taken), slots, slots))
    course = values.course[:, :, None] == np.arange(1, slots + 1)
    entry = np.concatenate(
        [
            _scaled(values.entry, encoding.entry_mean, encoding.entry_deviation),
            _scaled(relative, (0.0,) * relative.shape[-1], encoding.relative_deviation),
            np.isnan(values.entry[..., flags]),
            slot,
            course,
            values.entry_codes,
        ],
        axis=2,
    )
    event = np.concatenate(
        [
            _scaled(values.event, encoding.event_mean, encoding.event_deviation),
            np.isnan(values.event[:, list(encoding.event_flags)]),
            values.event_codes,
            values.observed[:, None],
        ],
        axis=1,
    )
    return Inputs(
        entry=(entry * taken).astype(np.float32),
        event=event.astype(np.float32),
        taken=values.taken,
        venue=values.venue,
        course=values.course,
        starts=values.starts,
        started=values.started,
    )


def _scaled(values: Floats, mean: tuple[float, ...], deviation: tuple[float, ...]) -> Floats:
    scaled: Floats = ((values - np.array(mean)) / np.array(deviation)).clip(-CLIP, CLIP)
    return np.where(np.isnan(scaled), 0.0, scaled)
