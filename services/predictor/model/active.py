"""Holds the models that predict now, the live one and its shadows, and checks the registry once a second."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

import structlog

from services.predictor.model.interface import Model, Models
from shared.errors import ConfigError

CHECK_INTERVAL = timedelta(seconds=1)

log = structlog.get_logger("predictor")


class ActiveModel(NamedTuple):
    model: Model
    shadow: bool


class ActiveModels:
    """A shadow that cannot be loaded is logged once and skipped. If the live model cannot be loaded, all models stay as
    they were."""

    def __init__(self, models: Models) -> None:
        self.live: Model | None = None
        self.shadows: tuple[Model, ...] = ()
        self._models = models
        self._changed_ns: int | None = None
        self._checked_at: datetime | None = None

    @property
    def all(self) -> list[ActiveModel]:
        """The live one first."""
        live = [ActiveModel(self.live, shadow=False)] if self.live is not None else []
        return [*live, *(ActiveModel(model, shadow=True) for model in self.shadows)]

    def refresh(self, now: datetime) -> bool:
        """Loads the models if the registry changed since the last check. Returns whether it did."""
        if self._checked_at is not None and self._checked_at <= now < self._checked_at + CHECK_INTERVAL:
            return False
        self._checked_at = now
        changed_ns = self._models.changed_ns()
        if changed_ns == self._changed_ns:
            return False
        self._changed_ns = changed_ns
        self._load()
        return True

    def disable_shadow(self, model: Model, error: Exception) -> None:
        """Stops using a shadow that failed, until the models change: its failure must not block live predictions."""
        self.shadows = tuple(each for each in self.shadows if each is not model)
        log.error("shadow_failed", model_version=model.version, cause=f"{type(error).__name__}: {error}")

    def _load(self) -> None:
        try:
            self.live = self._models.live()
            shadows = self._models.shadows()
        except ConfigError as error:
            live_version = self.live and self.live.version
            log.error("model_rejected", reason=str(error), in_use=live_version)  # noqa: TRY400 (no stack needed)
            return
        for version, model in shadows.items():
            if isinstance(model, ConfigError):
                log.error("shadow_rejected", model_version=version, reason=str(model))
        self.shadows = tuple(model for model in shadows.values() if not isinstance(model, ConfigError))
        log.info(
            "active_models_changed",
            live=self.live and self.live.version,
            shadows=[model.version for model in self.shadows],
        )
