"""States of models (candidate, shadow, live, retired) and the transitions between them.

    new -> candidate -> shadow -> live -> retired -> shadow ...
                `-----------------^

At most one model is live, any number are shadows. A promotion retires the previous live model; `roll_back` makes it
live again. Repeated roll-backs go back one model each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, model_validator

from shared.ops.operations import NotPossible

FORMAT: Literal["headrace-states/1"] = "headrace-states/1"
# Changes and the services that poll for them read the whole file. The audit trail in the database keeps all changes.
MOST_CHANGES = 1000

ModelState = Literal["candidate", "shadow", "live", "retired"]


class Order(NamedTuple):
    """Who requests a change, and why. `gate`: the verdict behind it; `request`: an id; repeating it changes nothing."""

    at: datetime
    who: str
    why: str | None = None
    gate: Mapping[str, Any] | None = None
    request: str | None = None


class Change(BaseModel):
    """One transition of a model. `before` None: it was added; `after` None: it was deleted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: datetime
    who: str
    version: str
    before: ModelState | None
    after: ModelState | None
    why: str | None = None
    gate: dict[str, Any] | None = None
    request: str | None = None


class Book(BaseModel):
    """States of all models. `former`: the models that were live before the live one, the latest last."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["headrace-states/1"] = FORMAT
    states: dict[str, ModelState] = {}
    former: tuple[str, ...] = ()
    history: tuple[Change, ...] = ()

    @model_validator(mode="after")
    def _one_live(self) -> Self:
        if len(self._in("live")) > 1:
            raise ValueError(f"more than one model is live: {', '.join(self._in('live'))}")
        if unknown := set(self.former) - set(self.states):
            raise ValueError(f"former models without a state: {', '.join(sorted(unknown))}")
        return self

    @property
    def live(self) -> str | None:
        found = self._in("live")
        return found[0] if found else None

    @property
    def shadows(self) -> tuple[str, ...]:
        return self._in("shadow")

    def state_of(self, version: str) -> ModelState:
        """A model without an entry was copied in by hand; it is a candidate."""
        return self.states.get(version, "candidate")

    def changes_of(self, version: str) -> list[Change]:
        """Oldest first."""
        return [change for change in self.history if change.version == version]

    def has_done(self, request: str | None) -> bool:
        return request is not None and any(change.request == request for change in self.history)

    def _in(self, state: ModelState) -> tuple[str, ...]:
        return tuple(sorted(version for version, found in self.states.items() if found == state))


def made(book: Book, version: str, order: Order) -> Book:
    """Adds a candidate. A model that already exists keeps its state."""
    return book if version in book.states else _stepped(book, [(version, "candidate")], order)


def shadowed(book: Book, version: str, order: Order) -> Book:
    """Makes a model a shadow, which predicts beside the live model. Raises NotPossible if it is live."""
    match book.state_of(version):
        case "shadow":
            return book
        case "live":
            raise NotPossible(f"model {version} is live and predicts already: it cannot be a shadow")
    return _stepped(book, [(version, "shadow")], order)


def promoted(book: Book, version: str, order: Order, judged_against: str | None) -> Book:
    """Makes a model live. Does nothing if it is live.

    Raises NotPossible if the model is retired, or if the live model is no longer the `champion` it was compared with.
    """
    if book.live == version:
        return book
    if book.live != judged_against:
        raise NotPossible(
            f"model {version} was compared with {judged_against or 'none'}, but {book.live or 'none'} is live now:"
            " promote it again"
        )
    if book.state_of(version) == "retired":
        raise NotPossible(f"model {version} is retired: run it as a shadow first, or roll back to it")
    former = [each for each in (*book.former, book.live) if each is not None and each != version]
    return _live(book, version, order, former)


def rolled_back(book: Book, order: Order) -> Book:
    """Makes the previous live model live again. Raises NotPossible if there is none."""
    if not book.former:
        raise NotPossible("there is no model to go back to: no other model was live before")
    *former, version = book.former
    return _live(book, version, order, former)


def retired(book: Book, version: str, order: Order) -> Book:
    """Retires a model: it stops predicting. Raises NotPossible if it is live."""
    match book.state_of(version):
        case "retired":
            return book
        case "live":
            raise NotPossible(f"model {version} is live: promote another one, or roll back")
    return _stepped(book, [(version, "retired")], order)


def deleted(book: Book, version: str, order: Order) -> Book:
    """Removes a model, also from `former`. Raises NotPossible if it is live or a shadow."""
    state = book.state_of(version)
    if state in {"live", "shadow"}:
        instead = "promote another one" if state == "live" else "retire it"
        raise NotPossible(f"model {version} is in use ({state}): {instead} first")
    if version not in book.states:
        return book
    gone = _change(book, version, None, order)
    return Book(
        states={each: found for each, found in book.states.items() if each != version},
        former=tuple(each for each in book.former if each != version),
        history=(*book.history, gone)[-MOST_CHANGES:],
    )


def _live(book: Book, version: str, order: Order, former: Sequence[str]) -> Book:
    retiring: list[tuple[str, ModelState]] = [] if book.live is None else [(book.live, "retired")]
    return _stepped(book, [*retiring, (version, "live")], order, tuple(former))


def _stepped(
    book: Book, steps: list[tuple[str, ModelState]], order: Order, former: tuple[str, ...] | None = None
) -> Book:
    changes = [_change(book, version, state, order) for version, state in steps]
    return Book(
        states={**book.states, **dict(steps)},
        former=book.former if former is None else former,
        history=(*book.history, *changes)[-MOST_CHANGES:],
    )


def _change(book: Book, version: str, after: ModelState | None, order: Order) -> Change:
    """Only the model that becomes live records the gate's verdict."""
    noted = order if after == "live" else order._replace(gate=None)
    return Change(version=version, before=book.states.get(version), after=after, **noted._asdict())
