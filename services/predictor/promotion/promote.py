"""Train a model and bring it before the gate; or bring one that is there before it. For whoever may import torch.

What trains, and what walks over stored facts with two models, is passed in: this neither knows networks nor features.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import psycopg

from services.predictor.promotion.postgres_stored_duel import stored_duel
from services.predictor.promotion.verdict import verdict_on
from services.predictor.registry import state_file, transitions
from services.predictor.registry.gate import Duel, Judged, Verdict
from services.predictor.registry.states import Order
from services.predictor.training.request import TrainingContext, TrainingRequest
from shared.errors import ConfigError
from shared.ops.operations import NotPossible
from shared.ops.tables import audit as audit_table

SERVICE = "predictor"


class Train(Protocol):
    """Trains on what is stored and saves a candidate; what it reports holds `version` and `metrics`.

    Raises ConfigError where there is too little to learn from.
    """

    def __call__(
        self, database_url: str, models_dir: Path, request: TrainingRequest, context: TrainingContext
    ) -> dict[str, Any]: ...


class Walk(Protocol):
    """Both models' probabilities of the newest settled events after the duel's day, by their facts as they were known
    before each event; nothing is fitted on the way. The newest first, at most `duel.most`."""

    def __call__(self, database_url: str, models_dir: Path, duel: Duel) -> Sequence[Judged]: ...


class Place(NamedTuple):
    """Where models and facts lie, and what can be done with them."""

    database_url: str
    models_dir: Path
    walk: Walk | None = None


def trained(
    place: Place, train: Train, request: TrainingRequest, order: Order, context: TrainingContext
) -> dict[str, Any]:
    """The training's report, with the `state` the model came to and what the gate said."""
    report = train(place.database_url, place.models_dir, request, context)
    version = str(report["version"])
    if request.promote:
        report |= _brought_before_the_gate(place, version, order)
        context.log(f"the gate: {report['gate']}")
    return {**report, "state": state_file.read(place.models_dir).state_of(version)}


def _brought_before_the_gate(place: Place, version: str, order: Order) -> dict[str, Any]:
    """The model is trained and saved, whatever comes of this."""
    try:
        verdict = promoted_if_better(place, version, order)
    except (NotPossible, ConfigError) as error:
        return {"gate": str(error), "promoted": False}
    return {"gate": verdict.why, "promoted": verdict.passed}


def promoted_or_refused(place: Place, version: str, order: Order) -> Verdict:
    """As below. Raises NotPossible with the gate's words where it says no."""
    verdict = promoted_if_better(place, version, order)
    if not verdict.passed:
        raise NotPossible(verdict.why)
    return verdict


def promoted_if_better(place: Place, version: str, order: Order) -> Verdict:
    """What the gate says; the model is live, and noted in the trail, if it passes."""
    verdict = verdict_of(place, version)
    if verdict.passed:
        before, after = transitions.promote(place.models_dir, version, order, verdict)
        with _connected(place) as connection:
            audit_table.note(
                connection, SERVICE, order.who, "promote", f"model {version}", before={"live": before.live},
                after={"live": after.live, "gate": verdict.why}, request_id=order.request or "",
            )  # fmt: skip
    return verdict


def verdict_of(place: Place, version: str) -> Verdict:
    """What the gate says, of stored predictions or else of stored facts."""
    walk = place.walk
    with _connected(place) as connection:
        return verdict_on(
            place.models_dir,
            version,
            lambda duel: stored_duel(connection, duel),
            None if walk is None else lambda duel: walk(place.database_url, place.models_dir, duel),
        )


def _connected(place: Place) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(place.database_url, autocommit=True, application_name="headrace promotion")
