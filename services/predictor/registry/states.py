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
MAX_CHANGES = 1000

ModelState = Literal["candidate", "shadow", "live", "retired"]


class ChangeRequest(NamedTuple):
    """Who requests a change, and why. `gate`: the verdict behind it; `request`: an id; repeating it changes nothing."""

    at: datetime
    who: str
    why: str | None = None
    gate: Mapping[str, Any] | None = None
    request: str | None = None


class StateChange(BaseModel):
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


class RegistryState(BaseModel):
    """States of all models. `former`: the models that were live before the live one, the latest last.

    `digests`: the SHA-256 of each model's content in hex, of which a version has the first eight digits. Models that
    were added before they were recorded, or copied in by hand, have none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["headrace-states/1"] = FORMAT
    states: dict[str, ModelState] = {}
    former: tuple[str, ...] = ()
    history: tuple[StateChange, ...] = ()
    digests: dict[str, str] = {}

    @model_validator(mode="after")
    def _one_live(self) -> Self:
        if len(self._versions_in("live")) > 1:
            raise ValueError(f"more than one model is live: {', '.join(self._versions_in('live'))}")
        if unknown := set(self.former) - set(self.states):
            raise ValueError(f"former models without a state: {', '.join(sorted(unknown))}")
        return self

    @property
    def live(self) -> str | None:
        live_versions = self._versions_in("live")
        return live_versions[0] if live_versions else None

    @property
    def shadows(self) -> tuple[str, ...]:
        return self._versions_in("shadow")

    def state_of(self, version: str) -> ModelState:
        """A model without an entry was copied in by hand; it is a candidate."""
        return self.states.get(version, "candidate")

    def changes_of(self, version: str) -> list[StateChange]:
        """Oldest first."""
        return [change for change in self.history if change.version == version]

    def has_applied(self, request: str | None) -> bool:
        return request is not None and any(change.request == request for change in self.history)

    def _versions_in(self, state: ModelState) -> tuple[str, ...]:
        return tuple(sorted(version for version, its_state in self.states.items() if its_state == state))


def add_candidate(
    registry: RegistryState, version: str, change_request: ChangeRequest, digest: str | None = None
) -> RegistryState:
    """Adds a candidate with the digest of its content. A model that already exists keeps its state."""
    known = registry if version in registry.states else _apply(registry, [(version, "candidate")], change_request)
    return known if digest is None else known.model_copy(update={"digests": {**registry.digests, version: digest}})


def start_shadow(registry: RegistryState, version: str, change_request: ChangeRequest) -> RegistryState:
    """Makes a model a shadow, which predicts beside the live model. Raises NotPossible if it is live."""
    match registry.state_of(version):
        case "shadow":
            return registry
        case "live":
            raise NotPossible(f"model {version} is live and predicts already: it cannot be a shadow")
    return _apply(registry, [(version, "shadow")], change_request)


def promote(
    registry: RegistryState, version: str, change_request: ChangeRequest, champion: str | None
) -> RegistryState:
    """Makes a model live. Does nothing if it is live.

    Raises NotPossible if the model is retired, or if the live model is no longer the `champion` it was compared with.
    """
    if registry.live == version:
        return registry
    if registry.live != champion:
        raise NotPossible(
            f"model {version} was compared with {champion or 'none'}, but {registry.live or 'none'} is live now:"
            " promote it again"
        )
    if registry.state_of(version) == "retired":
        raise NotPossible(f"model {version} is retired: run it as a shadow first, or roll back to it")
    former = [each for each in (*registry.former, registry.live) if each is not None and each != version]
    return _make_live(registry, version, change_request, former)


def roll_back(registry: RegistryState, change_request: ChangeRequest) -> RegistryState:
    """Makes the previous live model live again. Raises NotPossible if there is none."""
    if not registry.former:
        raise NotPossible("there is no model to go back to: no other model was live before")
    *former, version = registry.former
    return _make_live(registry, version, change_request, former)


def retire(registry: RegistryState, version: str, change_request: ChangeRequest) -> RegistryState:
    """Retires a model: it stops predicting. Raises NotPossible if it is live."""
    match registry.state_of(version):
        case "retired":
            return registry
        case "live":
            raise NotPossible(f"model {version} is live: promote another one, or roll back")
    return _apply(registry, [(version, "retired")], change_request)


def delete(registry: RegistryState, version: str, change_request: ChangeRequest) -> RegistryState:
    """Removes a model, also from `former`. Raises NotPossible if it is live or a shadow."""
    state = registry.state_of(version)
    if state in {"live", "shadow"}:
        instead = "promote another one" if state == "live" else "retire it"
        raise NotPossible(f"model {version} is in use ({state}): {instead} first")
    if version not in registry.states:
        return registry
    deletion = _state_change(registry, version, None, change_request)
    return RegistryState(
        states={each: state for each, state in registry.states.items() if each != version},
        former=tuple(each for each in registry.former if each != version),
        history=(*registry.history, deletion)[-MAX_CHANGES:],
        digests={each: digest for each, digest in registry.digests.items() if each != version},
    )


def _make_live(
    registry: RegistryState, version: str, change_request: ChangeRequest, former: Sequence[str]
) -> RegistryState:
    retiring: list[tuple[str, ModelState]] = [] if registry.live is None else [(registry.live, "retired")]
    return _apply(registry, [*retiring, (version, "live")], change_request, tuple(former))


def _apply(
    registry: RegistryState,
    steps: list[tuple[str, ModelState]],
    change_request: ChangeRequest,
    former: tuple[str, ...] | None = None,
) -> RegistryState:
    changes = [_state_change(registry, version, state, change_request) for version, state in steps]
    return RegistryState(
        states={**registry.states, **dict(steps)},
        former=registry.former if former is None else former,
        history=(*registry.history, *changes)[-MAX_CHANGES:],
        digests=registry.digests,
    )


def _state_change(
    registry: RegistryState, version: str, after: ModelState | None, change_request: ChangeRequest
) -> StateChange:
    """Only the model that becomes live records the gate's verdict."""
    recorded = change_request if after == "live" else change_request._replace(gate=None)
    return StateChange(version=version, before=registry.states.get(version), after=after, **recorded._asdict())
