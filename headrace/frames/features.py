"""The inputs of a model as a DataFrame, computed by the predictor's own code. Needs no torch."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pandas as pd
from pydantic import ValidationError

from headrace.frames.as_of.event_facts import event_facts
from headrace.frames.as_of.past import Past
from headrace.frames.as_of.snapshot import with_attrs
from headrace.frames.days import Days
from headrace.frames.errors import BadArgument
from headrace.frames.query import Filters
from headrace.remote.registry import models_dir_of, version_of
from headrace.terminal.arguments import settings_of
from services.loader.as_of import KnownEvent
from services.predictor.data.events import STATES, EventFacts, Events, State, events_of, supported_events
from services.predictor.data.instants import day_number
from services.predictor.data.profile import PROFILES, Profile, profile_of, source_of
from services.predictor.features.encoding import Encoding
from services.predictor.features.history import History
from services.predictor.features.inputs import Inputs, encode
from services.predictor.features.names import FeatureNames, Group, feature_names
from services.predictor.features.past import RELATION_NAMES
from services.predictor.features.tokens import TOKEN_NAMES
from services.predictor.features.values import FeatureValues, feature_values
from services.predictor.registry import model_files, state_file
from shared.errors import ConfigError
from shared.events import day_of

LIVE = "live"


class ModelEncoding(NamedTuple):
    """The version of a model and how it encodes its inputs."""

    version: str
    encoding: Encoding


class FeatureRequest(NamedTuple):
    """`filters` selects the events. `model` None: raw values, with the names of everything that is known."""

    filters: Filters
    state: str
    model: ModelEncoding | None
    past_starts: bool = False


def models_dir_from(data_dir: Path | None) -> Path:
    """The directory of the models in the settings of this machine. `data_dir`: instead of that of the settings."""
    try:
        return models_dir_of(settings_of(data_dir, None, None), None)
    except ConfigError as error:
        raise BadArgument(str(error)) from None


def model_encoding(models_dir: Path, model: str) -> ModelEncoding:
    """The encoding of the live model, or of a version or its unique end. Raises BadArgument if there is none."""
    try:
        live = state_file.read(models_dir).live
        if model == LIVE and live is None:
            raise BadArgument(
                f'there is no live model in {models_dir}: `headrace train` trains one; model="VERSION" names another,'
                " model=None gives the values that need no model"
            )
        version = live if model == LIVE and live else version_of(model, model_files.versions(models_dir))
        description = model_files.body_of(models_dir, version)["description"]
        return ModelEncoding(version, Encoding.model_validate_json(orjson.dumps(description["encoding"])))
    except ConfigError as error:
        raise BadArgument(str(error)) from None
    except (KeyError, ValidationError):
        raise BadArgument(
            f"model {model} has no encoding that this version of Headrace can read: train again"
        ) from None


def features_frame(past: Past, request: FeatureRequest) -> pd.DataFrame:
    """One row per event and occupied slot, events by key. The frame's attrs have `groups`, the group of each feature.

    Raises BadArgument for another state, and if the model is for another source.
    """
    if request.state not in STATES:
        raise BadArgument(f'state is "card" or "observation", got {request.state!r}')
    by_source = _events_by_source(past, request.filters)
    frames = []
    for source, events in sorted(by_source.items()):
        profile = profile_of(PROFILES, source)
        if profile is not None and _is_for(request.model, profile):
            frames.append(_frame_of_source(events, profile, request))
    if not frames:
        if by_source and request.model is not None:
            raise BadArgument(f"model {request.model.version} is not for the sources {', '.join(sorted(by_source))}")
        frames.append(_frame_of_source([], _any_profile(request.model), request))
    frame = pd.concat([each.frame for each in frames], ignore_index=True)
    with_attrs(frame, {"view": "features", "state": request.state, **request.filters.texts()}, past.as_of)
    frame.attrs["groups"] = {name: group for each in frames for name, group in each.groups.items()}
    frame.attrs["model"] = request.model.version if request.model else None
    return frame


class _SourceFrame(NamedTuple):
    """The features of one source's events, and the group of each."""

    frame: pd.DataFrame
    groups: dict[str, Group]


def _events_by_source(past: Past, filters: Filters) -> dict[str, list[KnownEvent]]:
    """The events on which the features rest: all that took place until the last requested day."""
    last = filters.days.last
    if last is None and filters.events:
        last = max((day for key in filters.events if (day := day_of(key)) is not None), default=None)
    # A day of a source may end after midnight of another: what settled on the following day may be known in time.
    days = Days(None, None if last is None or last == dt.date.max else last + dt.timedelta(days=1))
    by_source: dict[str, list[KnownEvent]] = defaultdict(list)
    for events in past.events(Filters(days=days, sources=filters.sources)):
        for event in events:
            by_source[source_of(event.event_key)].append(event)
    return by_source


def _frame_of_source(known: Sequence[KnownEvent], profile: Profile, request: FeatureRequest) -> _SourceFrame:
    state: State = "card" if request.state == "card" else "observation"
    facts = list(event_facts(known, profile))
    everything = events_of(facts, profile.slots)
    history = History(profile)
    history.fold(everything)
    selected = [each for each in supported_events(facts, profile.slots) if _is_selected(each, request.filters)]
    events = events_of(sorted(selected, key=lambda each: each.event_key), profile.slots)
    events = events[np.isfinite(events.as_of_us(state))]
    names = feature_names(everything, profile) if request.model is None else request.model.encoding.names
    values = feature_values(events, history, names, state)
    columns = _raw_columns(values, names) if request.model is None else _model_columns(values, request.model.encoding)
    frame = _frame(events, values, columns, request.past_starts)
    return _SourceFrame(frame, {**columns.entry_groups, **columns.event_groups})


class _Columns(NamedTuple):
    """Features of entries (n, S, F) and of events (n, E) by name, with their groups; further columns of events (n,)."""

    entry: npt.NDArray[np.floating]
    entry_groups: Mapping[str, Group]
    event: npt.NDArray[np.floating]
    event_groups: Mapping[str, Group]
    others: Mapping[str, npt.NDArray[np.generic]]


def _raw_columns(values: FeatureValues, names: FeatureNames) -> _Columns:
    return _Columns(
        values.entry,
        dict(zip(names.entry_values, names.entry_groups, strict=True)),
        values.event,
        dict(zip(names.event_values, names.event_groups, strict=True)),
        {},
    )


def _model_columns(values: FeatureValues, encoding: Encoding) -> _Columns:
    inputs: Inputs = encode(values, encoding)
    hashes = np.array(inputs.hashes(), dtype=np.object_)
    return _Columns(
        inputs.entry,
        dict(zip(encoding.entry_features, encoding.entry_groups, strict=True)),
        inputs.event,
        dict(zip(encoding.event_features, encoding.event_groups, strict=True)),
        {"venue_index": inputs.venue.astype(np.int32), "feature_hash": hashes},
    )


def _frame(events: Events, values: FeatureValues, columns: _Columns, past_starts: bool) -> pd.DataFrame:
    of_event, of_slot = np.nonzero(values.occupied)
    parts = [
        pd.DataFrame(
            {
                "event_key": pd.Series(events.event_key[of_event], dtype="str"),
                "slot": pd.Series(of_slot + 1, dtype="Int16"),
                "course": pd.Series(values.course[of_event, of_slot], dtype="Int16").replace(0, pd.NA),
            }
        ),
        pd.DataFrame(columns.entry[of_event, of_slot], columns=pd.Index(columns.entry_groups)),
        pd.DataFrame(columns.event[of_event], columns=pd.Index(columns.event_groups)),
        pd.DataFrame({name: column[of_event] for name, column in columns.others.items()}),
    ]
    if past_starts:
        starts = values.starts[of_event, of_slot][:, ::-1]
        named = [f"start_{back}_{name}" for back in range(1, starts.shape[1] + 1) for name in _START_NAMES]
        parts.append(
            pd.DataFrame({"starts_known": pd.Series(values.started[of_event, of_slot].sum(axis=1), dtype="Int16")})
        )
        parts.append(pd.DataFrame(starts.reshape(len(starts), len(named)), columns=pd.Index(named)))
    return pd.concat(parts, axis=1)


_START_NAMES = (*TOKEN_NAMES, *RELATION_NAMES)


def _is_selected(event: EventFacts, filters: Filters) -> bool:
    first, last = filters.days
    return (
        (first is None or event.day >= day_number(first))
        and (last is None or event.day <= day_number(last))
        and (not filters.venues or event.venue in filters.venues)
        and (not filters.events or event.event_key in filters.events)
    )


def _is_for(model: ModelEncoding | None, profile: Profile) -> bool:
    return model is None or model.encoding.names.profile.name == profile.name


def _any_profile(model: ModelEncoding | None) -> Profile:
    return next(iter(PROFILES.values())) if model is None else model.encoding.names.profile
