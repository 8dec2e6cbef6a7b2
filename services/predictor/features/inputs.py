"""Model input: standardised features of events in one state of knowledge, identical for training and serving."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace

import numpy as np

from services.predictor.data.events import Bools, Events, Floats, Floats32, Ints, State
from services.predictor.features.encoding import Encoding
from services.predictor.features.history import History
from services.predictor.features.names import OVER_OWN
from services.predictor.features.relative import relatives
from services.predictor.features.values import FeatureValues, feature_values

# Standardised values beyond this are input errors or accidents, and would drown out the rest.
CLIP = 5.0
BLOCK_EVENTS = 256


@dataclass(frozen=True)
class Inputs:
    """entry float32 (n, S, F), event float32 (n, E), occupied (n, S), venue (n,) with 0 for one unseen in training,
    course (n, S) with 0 for unknown, starts float32 (n, S, H, T) with the newest last, started (n, S, H).

    Columns are those of Encoding.entry_features and event_features. An unknown value is 0 and its flag is 1.
    """

    entry: Floats32
    event: Floats32
    occupied: Bools
    venue: Ints
    course: Ints
    starts: Floats32
    started: Bools

    def __len__(self) -> int:
        return len(self.venue)

    def __getitem__(self, rows: Ints | Bools | slice) -> Inputs:
        return Inputs(*(getattr(self, each.name)[rows] for each in fields(self)))

    def hashes(self) -> list[str]:
        """One hash per event; equal inputs have equal hashes."""
        parts = [getattr(self, each.name) for each in fields(self)]
        return [
            hashlib.blake2b(
                b"".join(np.ascontiguousarray(part[row]).tobytes() for part in parts), digest_size=16
            ).hexdigest()
            for row in range(len(self))
        ]

    def without_group(self, encoding: Encoding, group: str) -> Inputs:
        """A copy in which every feature of this group is unknown."""
        entry, event = self.entry.copy(), self.event.copy()
        for features, groups, matrix in (
            (encoding.entry_features, encoding.entry_groups, entry),
            (encoding.event_features, encoding.event_groups, event),
        ):
            masked = [
                each == group or (group == "history" and OVER_OWN in features[i]) for i, each in enumerate(groups)
            ]
            matrix[..., masked] = [float(features[i].endswith("_unknown")) for i in np.flatnonzero(masked)]
        entry[~self.occupied] = 0.0
        masked_inputs = replace(self, entry=entry, event=event)
        if group == "history":
            masked_inputs = replace(
                masked_inputs, starts=np.zeros_like(self.starts), started=np.zeros_like(self.started)
            )
        return replace(masked_inputs, course=np.zeros_like(self.course)) if group == "observation" else masked_inputs


def inputs_of(events: Events, history: History, encoding: Encoding, state: State) -> Inputs:
    """One row per event, each as of the event's own instant."""
    return encode(feature_values(events, history, encoding.names, state), encoding)


def encode(values: FeatureValues, encoding: Encoding) -> Inputs:
    event = np.concatenate(
        [
            _standardize(values.event, encoding.event_mean, encoding.event_deviation),
            np.isnan(values.event[:, list(encoding.event_flags)]),
            values.event_codes,
            values.observed[:, None],
        ],
        axis=1,
    )
    return Inputs(
        entry=_encode_entries(values, encoding),
        event=event.astype(np.float32),
        occupied=values.occupied,
        venue=values.venue,
        course=values.course,
        starts=values.starts,
        started=values.started,
    )


def _encode_entries(values: FeatureValues, encoding: Encoding) -> Floats32:
    """(n, S, F), in blocks of events that fit into the processor's cache, which halves the time."""
    n, slots = values.occupied.shape
    encoded = np.empty((n, slots, len(encoding.entry_features)), dtype=np.float32)
    for first in range(0, n, BLOCK_EVENTS):
        some = slice(first, first + BLOCK_EVENTS)
        entry, occupied, flags = values.entry[some], values.occupied[some, :, None], list(encoding.entry_flags)
        relative = relatives(entry, values.lane[some])
        blocks = [
            _standardize(entry, encoding.entry_mean, encoding.entry_deviation),
            _standardize(relative, (0.0,) * relative.shape[-1], encoding.relative_deviation),
            np.isnan(entry[..., flags]),
            np.broadcast_to(np.eye(slots), (len(entry), slots, slots)),
            values.course[some, :, None] == np.arange(1, slots + 1),
            values.entry_codes[some],
        ]
        np.multiply(np.concatenate(blocks, axis=2), occupied, out=encoded[some], casting="same_kind")
    return encoded


def _standardize(values: Floats, mean: tuple[float, ...], deviation: tuple[float, ...]) -> Floats:
    scaled: Floats = values - np.array(mean)
    scaled /= np.array(deviation)
    np.clip(scaled, -CLIP, CLIP, out=scaled)
    scaled[np.isnan(scaled)] = 0.0
    return scaled


def observed_events(inputs: Inputs) -> Bools:
    """(n,): which events are encoded as observed, read from the last event feature."""
    return np.asarray(inputs.event[:, -1] > 0.5, dtype=np.bool_)


def tree_entries(inputs: Inputs) -> Floats32:
    """(n, S, F + E + 1): trees see one entry at a time, so each entry also has the event's features and venue."""
    n, slots = inputs.occupied.shape
    event = np.concatenate([inputs.event, inputs.venue[:, None].astype(np.float32)], axis=1)
    return np.concatenate([inputs.entry, np.broadcast_to(event[:, None], (n, slots, event.shape[1]))], axis=2)
