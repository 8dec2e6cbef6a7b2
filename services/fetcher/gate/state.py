"""The state of the gate of one host, and its transitions. Times are Unix times in seconds, by the database's clock.

A request needs a *turn*. A turn ends when its outcome is reported, or when its lease expires because the process died.
The replicas of the fetcher share the state (postgres_gate.py).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, NamedTuple

import msgspec

from services.fetcher.gate.breaker import CircuitBreaker
from services.fetcher.gate.budget import after_request, wait_s
from services.fetcher.sources.declaration import Budget

# When a request that waits for others to end asks again. An exchange takes about as long.
ASK_AGAIN_S = 0.25
# A live request keeps its place before the back-fill for so long after the time at which it should ask again.
PLACE_S = 3.0
# Differences between readings of the database's clock by two replicas are smaller; a clock that was set back is not.
CLOCK_TOLERANCE_S = 5.0

OutcomeKind = Literal["success", "failure", "throttled"]


class Turn(msgspec.Struct, frozen=True):
    """The right to make one request until `expires_at`. `live`: for the current day, else for a day that is over."""

    id: str
    live: bool
    expires_at: float


class RequestedWait(msgspec.Struct, frozen=True, omit_defaults=True):
    """The server asked to wait for `requested_s`. `is_cut`: that is longer than the budget's `max_retry_after_s`, which
    holds instead."""

    until: float
    requested_s: float
    is_cut: bool = False


class GateState(msgspec.Struct, frozen=True, omit_defaults=True):
    """`at` is the time of the last change. `full_at` is explained in budget.py. `waiting` has the live requests that
    wait for a turn, by place, each with the time until which it is kept."""

    at: float = 0.0
    full_at: float = 0.0
    turns: tuple[Turn, ...] = ()
    waiting: dict[str, float] = {}
    throttle: RequestedWait | None = None
    breaker: CircuitBreaker = CircuitBreaker()


class TurnRequest(NamedTuple):
    """A request for a turn, which would be `turn`. `place` is its name while it waits, the same when it asks again.
    `lease_s` exceeds the longest exchange."""

    turn: str
    place: str
    live: bool
    lease_s: float


class RequestOutcome(NamedTuple):
    """How a request ended. `retry_after_s` is what a throttling server asked for."""

    turn: str | None
    feed: str
    kind: OutcomeKind
    retry_after_s: float = 0.0


class Wait(NamedTuple):
    """No request may be made for the next `seconds`, which is an estimate if it depends on other requests."""

    seconds: float
    reason: Literal["budget", "retry-after", "breaker"]


class Granted(NamedTuple):
    """A request may be made. `turn` is None if the budget has no limit: then the turn is not recorded."""

    turn: str | None


def take_turn(state: GateState, request: TurnRequest, budget: Budget, now: float) -> tuple[GateState, Granted | Wait]:
    """The state after a request for a turn, and the answer."""
    now, state = _settled(state, budget, now)
    wait = _closed_wait(state, now) or _budget_wait(state, request, budget, now)
    if wait is not None:
        if not (request.live and budget.is_limited):
            return state, wait
        return _changed(state, now, waiting=state.waiting | {request.place: now + wait.seconds + PLACE_S}), wait
    if not budget.is_limited and state.breaker.state == "closed":
        return state, Granted(None)
    return _changed(
        state,
        now,
        turns=(*state.turns, Turn(request.turn, request.live, now + request.lease_s)),
        waiting={place: until for place, until in state.waiting.items() if place != request.place},
        breaker=state.breaker.with_request(request.turn),
    ), Granted(request.turn)


def end_turn(state: GateState, outcome: RequestOutcome, budget: Budget, now: float) -> GateState:
    """The state after a request with this outcome. The outcome of an expired turn counts for the breaker."""
    now, state = _settled(state, budget, now)
    if any(turn.id == outcome.turn for turn in state.turns):
        state = _without_turns(state, {outcome.turn}, budget, now)
    if outcome.kind == "throttled":
        state = _throttled(state, outcome.retry_after_s, budget, now)
    if outcome.kind == "failure":
        breaker = state.breaker.with_failure(outcome.turn, outcome.feed, now)
    else:  # a server that throttles works
        breaker = state.breaker.with_success(outcome.turn, outcome.feed, now)
    return state if breaker is state.breaker else _changed(state, now, breaker=breaker)


def reset(state: GateState, now: float) -> GateState:
    """The state with a closed breaker and without a wait that the server asked for. The budget holds as before."""
    return _changed(state, max(now, state.at), throttle=None, breaker=CircuitBreaker())


def closed_wait(state: GateState, now: float) -> Wait | None:
    """What the gate waits for apart from its budget; None if it is open."""
    return _closed_wait(_with_clock(state, now)[1], now)


def _closed_wait(state: GateState, now: float) -> Wait | None:
    if state.throttle is not None and state.throttle.until > now:
        return Wait(state.throttle.until - now, "retry-after")
    breaker_wait_s = state.breaker.wait_s(now)
    return Wait(breaker_wait_s, "breaker") if breaker_wait_s > 0 else None


def _budget_wait(state: GateState, request: TurnRequest, budget: Budget, now: float) -> Wait | None:
    """A request of the back-fill also waits while a live one does, and leaves one place for the next live one."""
    seconds: float | None = 0.0
    if _is_full(state, request, budget):
        seconds = None
    elif budget.rate is not None:
        seconds = wait_s(budget.rate, budget.burst, state.full_at, len(state.turns), now)
    if seconds is None or (state.waiting and not request.live):
        return Wait(max(seconds or 0.0, ASK_AGAIN_S), "budget")
    return Wait(seconds, "budget") if seconds > 0 else None


def _is_full(state: GateState, request: TurnRequest, budget: Budget) -> bool:
    """Whether all places that the request may use are taken. A budget of one place has none to leave."""
    places = budget.places
    if places is None:
        return False
    historical = sum(not turn.live for turn in state.turns)
    return len(state.turns) >= places or (not request.live and historical >= max(1, places - 1))


def _throttled(state: GateState, requested_s: float, budget: Budget, now: float) -> GateState:
    """A server that asks twice is obeyed to the later time."""
    wait_for_s = min(requested_s, budget.max_retry_after_s)
    throttle = RequestedWait(now + wait_for_s, requested_s, is_cut=wait_for_s < requested_s)
    if state.throttle is not None and state.throttle.until >= throttle.until:
        return state
    return _changed(state, now, throttle=throttle)


def _settled(state: GateState, budget: Budget, now: float) -> tuple[float, GateState]:
    """The time and the state without expired leases, places and waits."""
    now, state = _with_clock(state, now)
    expired = {turn.id for turn in state.turns if turn.expires_at <= now}
    for turn in expired:
        state = _changed(state, now, breaker=state.breaker.without_probe(turn))
    if expired:
        state = _without_turns(state, expired, budget, now)
    waiting = {name: until for name, until in state.waiting.items() if until > now}
    throttle = state.throttle if state.throttle is not None and state.throttle.until > now else None
    if len(waiting) == len(state.waiting) and throttle is state.throttle:
        return now, state
    return now, _changed(state, now, waiting=waiting, throttle=throttle)


def _without_turns(state: GateState, ids: Collection[str | None], budget: Budget, now: float) -> GateState:
    full_at = state.full_at
    if budget.rate is not None:
        for _ in ids:
            full_at = after_request(budget.rate, full_at, now)
    return _changed(state, now, turns=tuple(turn for turn in state.turns if turn.id not in ids), full_at=full_at)


def _with_clock(state: GateState, now: float) -> tuple[float, GateState]:
    """The state by a clock that never runs back. If the clock was set back, all times are moved with it: nothing is
    blocked for longer than before, and nothing opens earlier."""
    if now >= state.at:
        return now, state
    if state.at - now < CLOCK_TOLERANCE_S:
        return state.at, state
    by_s = now - state.at
    breaker = msgspec.structs.replace(
        state.breaker,
        until=state.breaker.until + by_s,
        succeeded_at={feed: at + by_s for feed, at in state.breaker.succeeded_at.items()},
    )
    return now, GateState(
        at=now,
        full_at=state.full_at + by_s,
        turns=tuple(msgspec.structs.replace(turn, expires_at=turn.expires_at + by_s) for turn in state.turns),
        waiting={name: until + by_s for name, until in state.waiting.items()},
        throttle=state.throttle and msgspec.structs.replace(state.throttle, until=state.throttle.until + by_s),
        breaker=breaker,
    )


def _changed(state: GateState, now: float, **fields: object) -> GateState:
    return msgspec.structs.replace(state, at=now, **fields)
