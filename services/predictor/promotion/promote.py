"""Submits a model to the promotion gate, after training it or as it is in the registry.

The functions that train and that compare two models on stored facts are passed in. They need torch; this module does
not, and knows neither networks nor features.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import psycopg

from services.predictor.promotion.postgres_stored_duel import stored_duel
from services.predictor.promotion.verdict import verdict_on
from services.predictor.registry import state_file, transitions
from services.predictor.registry.gate import Comparison, PairedForecast, Verdict
from services.predictor.registry.states import ChangeRequest
from services.predictor.training.request import TrainingContext, TrainingRequest
from shared.errors import ConfigError
from shared.ops.operations import NotPossible
from shared.ops.tables import audit as audit_table

SERVICE = "predictor"


class TrainCandidate(Protocol):
    """Trains on the stored events and saves a candidate. The report contains `version` and `metrics`.

    Raises ConfigError if there are too few events.
    """

    def __call__(
        self, database_url: str, models_dir: Path, request: TrainingRequest, context: TrainingContext
    ) -> dict[str, Any]: ...


class CompareOnHistory(Protocol):
    """Both models' probabilities of the newest settled events after the comparison's day, from the facts known before
    each event, without refitting. The newest first, at most `Comparison.most`."""

    def __call__(self, database_url: str, models_dir: Path, comparison: Comparison) -> Sequence[PairedForecast]: ...


class PromotionSetup(NamedTuple):
    """Where facts and models are stored, and how to compare models on stored facts; None: that is not possible here."""

    database_url: str
    models_dir: Path
    compare_on_history: CompareOnHistory | None = None


def train_and_promote(
    setup: PromotionSetup,
    train: TrainCandidate,
    request: TrainingRequest,
    change_request: ChangeRequest,
    context: TrainingContext,
) -> dict[str, Any]:
    """Returns the training's report, extended by the model's `state` and the gate's verdict (`gate`, `promoted`)."""
    report = train(setup.database_url, setup.models_dir, request, context)
    version = str(report["version"])
    if request.promote:
        # A training takes minutes: the model is live from now on, not from its start.
        report |= _gate_outcome(setup, version, change_request._replace(at=datetime.now(UTC)))
        context.log(f"the gate: {report['gate']}")
    return {**report, "state": state_file.read(setup.models_dir).state_of(version)}


def _gate_outcome(setup: PromotionSetup, version: str, change_request: ChangeRequest) -> dict[str, Any]:
    """Does not raise: the model is trained and saved, whatever the outcome."""
    try:
        verdict = promote_if_better(setup, version, change_request)
    except (NotPossible, ConfigError) as error:
        return {"gate": str(error), "promoted": False}
    return {"gate": verdict.why, "promoted": verdict.passed}


def promote_or_raise(setup: PromotionSetup, version: str, change_request: ChangeRequest) -> Verdict:
    """Like `promote_if_better`, but raises NotPossible with the gate's reason if the model does not pass."""
    verdict = promote_if_better(setup, version, change_request)
    if not verdict.passed:
        raise NotPossible(verdict.why)
    return verdict


def promote_if_better(setup: PromotionSetup, version: str, change_request: ChangeRequest) -> Verdict:
    """Returns the gate's verdict. A model that passes is promoted, and the audit trail records it."""
    verdict = gate_verdict(setup, version)
    if verdict.passed:
        before, after = transitions.promote(setup.models_dir, version, change_request, verdict)
        with _connected(setup) as connection:
            audit_table.append(
                connection, SERVICE, change_request.who, "promote", f"model {version}", before={"live": before.live},
                after={"live": after.live, "gate": verdict.why}, request_id=change_request.request or "",
            )  # fmt: skip
    return verdict


def gate_verdict(setup: PromotionSetup, version: str) -> Verdict:
    """The gate's verdict, from stored predictions, or else from stored facts."""
    compare = setup.compare_on_history
    with _connected(setup) as connection:
        return verdict_on(
            setup.models_dir,
            version,
            lambda duel: stored_duel(connection, duel),
            None if compare is None else lambda duel: compare(setup.database_url, setup.models_dir, duel),
        )


def _connected(setup: PromotionSetup) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(setup.database_url, autocommit=True, application_name="headrace promotion")
