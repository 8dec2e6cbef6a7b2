"""The models that predict now: the live one and its shadows, looked at again once a second."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

import structlog

from services.predictor.model.interface import Model, Models
from shared.errors import ConfigError

LOOK_EVERY = timedelta(seconds=1)

log = structlog.get_logger("predictor")


class Serving(NamedTuple):
    model: Model
    shadow: bool


class InUse:
    """A model that cannot be used is said once and left out; the live one then stays as it was."""

    def __init__(self, models: Models) -> None:
        self.live: Model | None = None
        self.shadows: tuple[Model, ...] = ()
        self._models = models
        self._changed_ns: int | None = None
        self._looked_at: datetime | None = None

    @property
    def all(self) -> list[Serving]:
        """The live one first."""
        live = [Serving(self.live, shadow=False)] if self.live is not None else []
        return [*live, *(Serving(model, shadow=True) for model in self.shadows)]

    def look(self, now: datetime) -> bool:
        """Load what changed; whether anything did."""
        if self._looked_at is not None and self._looked_at <= now < self._looked_at + LOOK_EVERY:
            return False
        self._looked_at = now
        changed_ns = self._models.changed_ns()
        if changed_ns == self._changed_ns:
            return False
        self._changed_ns = changed_ns
        self._load()
        return True

    def leave_out(self, model: Model, error: Exception) -> None:
        """A shadow that fails is not worth a live prediction: it rests until models change."""
        self.shadows = tuple(each for each in self.shadows if each is not model)
        log.error(
            "a shadow failed and is left out", model_version=model.version, cause=f"{type(error).__name__}: {error}"
        )

    def _load(self) -> None:
        try:
            self.live = self._models.live()
            found = self._models.shadows()
        except ConfigError as error:
            in_use = self.live and self.live.version
            log.error("model refused", reason=str(error), in_use=in_use)  # noqa: TRY400 (no stack to show)
            return
        for version, model in found.items():
            if isinstance(model, ConfigError):
                log.error("shadow refused", model_version=version, reason=str(model))
        self.shadows = tuple(model for model in found.values() if not isinstance(model, ConfigError))
        log.info(
            "models in use", live=self.live and self.live.version, shadows=[model.version for model in self.shadows]
        )
