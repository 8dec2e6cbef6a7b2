"""Submits a model to the promotion gate, after training it or as it is in the registry.

The functions that train and that compare two models on stored facts are passed in. They need torch; this module does
not, and knows neither networks nor features.
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
    """Trains on the stored events and saves a candidate. The report contains `version` and `metrics`.

    Raises ConfigError if there are too few events.
    """

    def __call__(
        self, database_url: str, models_dir: Path, request: TrainingRequest, context: TrainingContext
    ) -> dict[str, Any]: ...


class Walk(Protocol):
    """Both models' probabilities of the newest settled events after the comparison's day, from the facts known before
    each event, without refitting. The newest first, at most `most`."""

    def __call__(self, database_url: str, models_dir: Path, duel: Duel) -> Sequence[Judged]: ...


class Place(NamedTuple):
    """Where facts and models are stored, and how to compare models on stored facts; None: that is not possible here."""

    database_url: str
    models_dir: Path
    walk: Walk | None = None


def trained(
    place: Place, train: Train, request: TrainingRequest, order: Order, context: TrainingContext
) -> dict[str, Any]:
    """Returns the training's report, extended by the model's `state` and the gate's verdict (`gate`, `promoted`)."""
    report = train(place.database_url, place.models_dir, request, context)
    version = str(report["version"])
    if request.promote:
        report |= _brought_before_the_gate(place, version, order)
        context.log(f"the gate: {report['gate']}")
    return {**report, "state": state_file.read(place.models_dir).state_of(version)}


def _brought_before_the_gate(place: Place, version: str, order: Order) -> dict[str, Any]:
    """Does not raise: the model is trained and saved, whatever the outcome."""
    try:
        verdict = promoted_if_better(place, version, order)
    except (NotPossible, ConfigError) as error:
        return {"gate": str(error), "promoted": False}
    return {"gate": verdict.why, "promoted": verdict.passed}


def promoted_or_refused(place: Place, version: str, order: Order) -> Verdict:
    """Like `promote_if_better`, but raises NotPossible with the gate's reason if the model does not pass."""
    verdict = promoted_if_better(place, version, order)
    if not verdict.passed:
        raise NotPossible(verdict.why)
    return verdict


def promoted_if_better(place: Place, version: str, order: Order) -> Verdict:
    """Returns the gate's verdict. A model that passes is promoted, and the audit trail records it."""
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
    """The gate's verdict, from stored predictions, or else from stored facts."""
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
