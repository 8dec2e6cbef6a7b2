"""Cases that should not be there: duplicates, and facts that contradict each other. Each check names events."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from headrace.quality.dataset import Dataset, Kind
from headrace.quality.measure import Measure, counted, share

_NOT_RUN = ("cancelled", "postponed")
_ENDED = ("settled", "void")
MIN_GAP = pd.Timedelta(minutes=10)


class Check(NamedTuple):
    """`events` gives the keys of the events that the check names. `meaning`: for people, of one such event."""

    meaning: str
    events: Callable[[Dataset, Dataset], Iterable[str]]


def measure_checks(data: Dataset, span: Dataset) -> Iterator[Measure]:
    """`duplicates` and `contradictions`: how many events each check names. `data` also has the month before."""
    for measure, checks in (("duplicates", DUPLICATES), ("contradictions", CONTRADICTIONS)):
        for name, check in checks.items():
            yield counted(measure, name, sorted(set(check.events(data, span))), len(span.events.frame))


def measure_disagreement(span: Dataset) -> Iterator[Measure]:
    """`disagreement`: the share of values that differ between observation and result, where both are known."""
    events = span.events.frame
    for column in span.events.kinds:
        name = column.removeprefix("observed_conditions.")
        if name != column and f"conditions.{name}" in events:
            yield from _differences(f"events.conditions.{name}", events, column, f"conditions.{name}")
    courses = span.observations.frame[["event_key", "slot", "course"]].merge(
        span.outcomes.frame[["event_key", "slot", "course"]], on=["event_key", "slot"], suffixes=("", "_result")
    )
    yield from _differences("outcomes.course", courses, "course", "course_result")


def _differences(field: str, rows: pd.DataFrame, left: str, right: str) -> Iterator[Measure]:
    both = rows[rows[left].notna() & rows[right].notna()]
    if len(both):
        yield share("disagreement", field, int((both[left] != both[right]).sum()), len(both))


def _line_ups(data: Dataset) -> pd.DataFrame:
    """Events whose entries are all known: `line_up` is the venue, the number and the entities in their order."""
    entries = data.entries.frame.sort_values(["event_key", "slot"])
    unknown = set(entries.loc[entries["entity_key"].isna(), "event_key"])
    line_ups = {
        key: entities
        for key, entities in _by_event(entries["event_key"], entries["entity_key"]).items()
        if len(entities) > 1 and key not in unknown
    }
    events = data.events.frame.loc[
        data.events.frame["event_key"].isin(list(line_ups)), ["event_key", "date", "venue", "number", "status"]
    ]
    keys = zip(events["event_key"], events["venue"], events["number"], strict=True)
    texts = [f"{venue} {number} {' '.join(line_ups[key])}" for key, venue, number in keys]
    return events.assign(line_up=pd.Series(texts, index=events.index, dtype="object")).sort_values("date")


def _repeated_line_ups(after_not_run: bool) -> Callable[[Dataset, Dataset], Iterable[str]]:
    def events(data: Dataset, span: Dataset) -> Iterable[str]:
        line_ups = _line_ups(data)
        line_ups["before"] = line_ups.groupby("line_up")["status"].shift()
        repeated = line_ups[line_ups["before"].notna() & (line_ups["date"] >= pd.Timestamp(span.first))]
        return list(repeated.loc[repeated["before"].isin(_NOT_RUN) == after_not_run, "event_key"])

    return events


def _by_event(keys: Iterable[str], values: Iterable[Any]) -> dict[str, list[Any]]:
    """The values of each event, in the order of the rows."""
    groups: dict[str, list[Any]] = {}
    for key, value in zip(keys, values, strict=True):
        groups.setdefault(key, []).append(value)
    return groups


def _repeats(groups: Mapping[str, Sequence[Hashable]], size: int) -> list[str]:
    """Events with at least `size` rows, all of which are also those of another event."""
    events: dict[Hashable, list[str]] = {}
    for key, values in groups.items():
        if len(values) >= size:
            events.setdefault(tuple(values), []).append(key)
    return [key for keys in events.values() if len(keys) > 1 for key in keys]


def _repeated_payouts(_: Dataset, span: Dataset) -> Iterable[str]:
    rows = span.transactions.sort_values(["event_key", "market", "selection", "ordinal"])
    payouts = zip(rows["market"], rows["selection"], rows["amount"], strict=True)
    return _repeats(_by_event(rows["event_key"], payouts), 3)


def _repeated_observations(_: Dataset, span: Dataset) -> Iterable[str]:
    """All numbers of all entries are those of another event."""
    frame, numbers = span.observations.frame, span.observations.columns(Kind.NUMBER)
    known = frame[frame[numbers].notna().all(axis=1)].sort_values(["event_key", "slot"]) if numbers else frame[:0]
    return _repeats(_by_event(known["event_key"], known[numbers].itertuples(index=False, name=None)), 3)


def _repeated_entities(_: Dataset, span: Dataset) -> Iterable[str]:
    entries = span.entries.frame[span.entries.frame["entity_key"].notna()]
    return list(entries.loc[entries.duplicated(["event_key", "entity_key"]), "event_key"])


def _entities_at_two_venues(_: Dataset, span: Dataset) -> Iterable[str]:
    run = span.events.frame.loc[~span.events.frame["status"].isin(_NOT_RUN), "event_key"]
    entries = span.entries.frame[span.entries.frame["entity_key"].notna() & span.entries.frame["event_key"].isin(run)]
    venues = entries.groupby(["date", "entity_key"])["venue"].transform("nunique")
    return list(entries.loc[venues > 1, "event_key"])


def _same_start(_: Dataset, span: Dataset) -> Iterable[str]:
    events = span.events.frame[span.events.frame["scheduled_at"].notna()].sort_values(["session_key", "number"])
    return list(events.loc[events.duplicated(["session_key", "scheduled_at"]), "event_key"])


def _gaps(is_wrong: Callable[[pd.Series[Any]], pd.Series[Any]]) -> Callable[[Dataset, Dataset], Iterable[str]]:
    """Events by the time since the start of the event before them in their session."""

    def events(_: Dataset, span: Dataset) -> Iterable[str]:
        rows = span.events.frame[span.events.frame["scheduled_at"].notna()].sort_values(["session_key", "number"])
        gaps = rows.groupby("session_key")["scheduled_at"].diff()
        return list(rows.loc[is_wrong(gaps), "event_key"])

    return events


def _outcome(condition: Callable[[pd.DataFrame], pd.Series[Any]]) -> Callable[[Dataset, Dataset], Iterable[str]]:
    """Events with an outcome, in an event that has ended, for which a condition is true."""

    def events(_: Dataset, span: Dataset) -> Iterable[str]:
        ended = span.events.frame.loc[span.events.frame["status"].isin(_ENDED), "event_key"]
        rows = span.outcomes.frame[span.outcomes.frame["event_key"].isin(ended)]
        return list(rows.loc[condition(rows), "event_key"])

    return events


def _repeated(column: str) -> Callable[[pd.DataFrame], pd.Series[Any]]:
    return lambda rows: rows[column].notna() & rows.duplicated(["event_key", column])


def _observation(condition: Callable[[pd.DataFrame], pd.Series[Any]]) -> Callable[[Dataset, Dataset], Iterable[str]]:
    """Events with an entry for which a condition is true of the observation, beside its result (`*_result`)."""

    def events(_: Dataset, span: Dataset) -> Iterable[str]:
        results = span.outcomes.frame[["event_key", "slot", "course", "place"]]
        rows = span.observations.frame.merge(
            results, on=["event_key", "slot"], how="left", suffixes=("", "_result")
        )  # fmt: skip
        return list(rows.loc[condition(rows), "event_key"])

    return events


def _untimed(rows: pd.DataFrame) -> pd.Series[Any]:
    name = "exhibition_start_timing_s"
    return rows["course"].notna() & (rows[name].isna() if name in rows else False)


def _unmeasured(_: Dataset, span: Dataset) -> Iterable[str]:
    rows = span.observations.frame
    measured = rows["course"].notna().groupby(rows["event_key"]).any()
    return list(measured.index[~measured])


def _weather_lost(_: Dataset, span: Dataset) -> Iterable[str]:
    """No number of the observed conditions is known although the event was run."""
    numbers = [each for each in span.events.columns(Kind.NUMBER) if each.startswith("observed_conditions.")]
    events = span.events.frame[span.events.frame["is_observed"] & span.events.frame["status"].isin(_ENDED)]
    return list(events.loc[events[numbers].isna().all(axis=1), "event_key"]) if numbers else []


def _wrong_winner(_: Dataset, span: Dataset) -> Iterable[str]:
    """The market `win` paid on a slot that has no first place, although another has it."""
    first = span.outcomes.frame[span.outcomes.frame["place"] == 1]
    paid = span.transactions[span.transactions["market"] == "win"]
    paid = paid[paid["event_key"].isin(first["event_key"])]
    winners: set[tuple[Hashable, str]] = set(zip(first["event_key"], first["slot"].astype("str"), strict=True))
    pairs = zip(paid["event_key"], paid["selection"], strict=True)
    return [key for key, selection in pairs if (key, selection) not in winners]


def _few_placed(_: Dataset, span: Dataset) -> Iterable[str]:
    settled = span.events.frame[span.events.frame["is_settled"]]
    placed = span.outcomes.frame.groupby("event_key")["place"].count().reindex(settled["event_key"])
    return list(placed.index[placed.notna() & (placed < 3)])


DUPLICATES = {
    "line_up": Check("the same entries as in an earlier event that was run", _repeated_line_ups(False)),
    "postponed_line_up": Check("the card of an earlier event that was called off", _repeated_line_ups(True)),
    "entity_in_event": Check("an entity has two entries", _repeated_entities),
    "entity_at_venues": Check("an entity has entries at two venues on one day", _entities_at_two_venues),
    "payouts": Check("all payouts are those of another event", _repeated_payouts),
    "observation": Check("all measurements are those of another event", _repeated_observations),
    "start": Check("starts at the same time as another event of its session", _same_start),
}  # fmt: skip
CONTRADICTIONS = {
    "no_place_no_code": Check("an outcome has neither a place nor a code", _outcome(
        lambda rows: rows["place"].isna() & rows["code"].isna())),
    "shared_place": Check("two entries have the same place (dead heat)", _outcome(_repeated("place"))),
    "shared_course": Check("two entries started from the same lane", _outcome(_repeated("course"))),
    "refund_with_place": Check("an entry has a place and was refunded", _outcome(
        lambda rows: rows["place"].notna() & rows["refunded"].astype("bool"))),
    "early_start_with_place": Check("an entry started before the signal and has a place", _outcome(
        lambda rows: rows["place"].notna() & (rows["start_timing_s"] < 0))),
    "course_only_in_result": Check("an entry has a lane in the result and none in the observation", _observation(
        lambda rows: rows["course"].isna() & rows["course_result"].notna())),
    "lane_without_timing": Check("an entry was observed in a lane without a start timing", _observation(_untimed)),
    "nothing_measured": Check("an observation has no lane of any entry", _unmeasured),
    "weather_lost": Check("an event was run, and its observation has no numbers of the weather", _weather_lost),
    "wrong_winner": Check("the market `win` paid on an entry that did not win", _wrong_winner),
    "few_placed": Check("a settled event has fewer than three places", _few_placed),
    "starts_out_of_order": Check("starts before an earlier number of its session", _gaps(
        lambda gaps: gaps < pd.Timedelta(0))),
    "starts_close": Check("starts less than ten minutes after the event before it", _gaps(
        lambda gaps: (gaps >= pd.Timedelta(0)) & (gaps < MIN_GAP))),
}  # fmt: skip
