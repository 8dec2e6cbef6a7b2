"""What a model is: candidate, shadow, live or retired, and how it becomes so.

    made -> candidate -> shadow -> live -> retired -> shadow ...
                 `-----------------^

At most one model is live, any number are shadows. Whoever goes live sends the one before into retirement, from where
`rolled_back` brings it back; several roll-backs in a row go back one model each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, model_validator

from shared.ops.operations import NotPossible

FORMAT: Literal["headrace-states/1"] = "headrace-states/1"
# The file is read whole at every change and once a second when it changed; the trail in the database keeps all.
MOST_CHANGES = 1000

ModelState = Literal["candidate", "shadow", "live", "retired"]


class Order(NamedTuple):
    """Who wants a change, and why. `gate`: the figures it rests on; `request`: the same one changes nothing twice."""

    at: datetime
    who: str
    why: str | None = None
    gate: Mapping[str, Any] | None = None
    request: str | None = None


class Change(BaseModel):
    """One model's step. `before` None: it was made; `after` None: it was deleted."""

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
    """All models' states. `former`: those that were live before the live one, the last one last."""

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
        """A model that nobody wrote down was put there by hand: it is a candidate like any other."""
        return self.states.get(version, "candidate")

    def changes_of(self, version: str) -> list[Change]:
        """The oldest first."""
        return [change for change in self.history if change.version == version]

    def has_done(self, request: str | None) -> bool:
        return request is not None and any(change.request == request for change in self.history)

    def _in(self, state: ModelState) -> tuple[str, ...]:
        return tuple(sorted(version for version, found in self.states.items() if found == state))


def made(book: Book, version: str, order: Order) -> Book:
    """A new candidate; a model that is there already stays what it is."""
    return book if version in book.states else _stepped(book, [(version, "candidate")], order)


def shadowed(book: Book, version: str, order: Order) -> Book:
    """It predicts beside the live model from now on. Raises NotPossible: it is the live one."""
    match book.state_of(version):
        case "shadow":
            return book
        case "live":
            raise NotPossible(f"model {version} is live: it predicts already")
    return _stepped(book, [(version, "shadow")], order)


def promoted(book: Book, version: str, order: Order, judged_against: str | None) -> Book:
    """It is the live one from now on. Saying it again changes nothing.

    Raises NotPossible: it is retired, or another model is live than the one it was judged against.
    """
    if book.live == version:
        return book
    if book.live != judged_against:
        raise NotPossible(
            f"model {version} was judged against {judged_against or 'none'}, but {book.live or 'none'} is live by now:"
            " promote it again"
        )
    if book.state_of(version) == "retired":
        raise NotPossible(f"model {version} is retired: run it as a shadow first, or roll back to it")
    former = [each for each in (*book.former, book.live) if each is not None and each != version]
    return _live(book, version, order, former)


def rolled_back(book: Book, order: Order) -> Book:
    """The model that was live before is live again. Raises NotPossible: there is none."""
    if not book.former:
        raise NotPossible("there is no model to go back to: none was live before")
    *former, version = book.former
    return _live(book, version, order, former)


def retired(book: Book, version: str, order: Order) -> Book:
    """It predicts no more. Raises NotPossible: it is the live one."""
    match book.state_of(version):
        case "retired":
            return book
        case "live":
            raise NotPossible(f"model {version} is live: promote another one, or roll back")
    return _stepped(book, [(version, "retired")], order)


def deleted(book: Book, version: str, order: Order) -> Book:
    """Nobody goes back to it any more. Raises NotPossible: it is in use."""
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
    """The gate's figures go with the model that becomes the live one."""
    noted = order if after == "live" else order._replace(gate=None)
    return Change(version=version, before=book.states.get(version), after=after, **noted._asdict())
