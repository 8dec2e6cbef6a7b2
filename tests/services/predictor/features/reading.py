"""Reads features for tests: values by name, or one hash for all inputs of an event."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.predictor.data.events import EventFacts, Events, Floats, State
from services.predictor.data.profile import Profile
from services.predictor.features.encoding import Encoding, fit_encoding
from services.predictor.features.history import History
from services.predictor.features.inputs import inputs_of
from services.predictor.features.names import feature_names
from services.predictor.features.values import feature_values
from tests.services.predictor.features.irregular_source import SYNTHETIC, arrays


def history_of(events: Events, profile: Profile = SYNTHETIC) -> History:
    history = History(profile)
    history.fold(events)
    return history


def encoding_of(events: Events, history: History) -> Encoding:
    """An encoding that is fitted on all of the events."""
    names = feature_names(events, history.profile)
    values = feature_values(events, history, names, "observation")
    return fit_encoding(names, values, np.ones(len(events), dtype=np.bool_))


def hashes(events: Events, history: History, encoding: Encoding, state: State) -> dict[str, str]:
    """By event key."""
    return dict(zip(events.event_key, inputs_of(events, history, encoding, state).hashes(), strict=True))


def entry_values(
    history: History, upcoming: EventFacts, state: State = "card", also: Sequence[EventFacts] = ()
) -> dict[str, Floats]:
    """The raw values (S,) of an event, by name. `also`: events whose measures are read too, for the names."""
    events = arrays([upcoming, *also], history.profile)
    names = feature_names(events, history.profile)
    values = feature_values(events, history, names, state)
    return dict(zip(names.entry_values, values.entry[0].T, strict=True))
