"""Publishes metrics of the models: the live version, recent scores, and the drift of features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from shared.runtime.measurements import GaugeRows
from shared.runtime.metrics import Metrics

if TYPE_CHECKING:
    from services.predictor.monitoring.drift import Drift
    from services.predictor.monitoring.rolling_scores import ScoreSummary


class ModelMetrics:
    """For one thread."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._features = GaugeRows(metrics.feature_drift_index)
        self._groups = GaugeRows(metrics.feature_group_drift_index)
        self._version: str | None = None

    def publish(self, model_version: str | None, summaries: Sequence[ScoreSummary], drift: Drift) -> None:
        version = model_version or "none"
        if version != self._version:
            self._metrics.model_info.clear()
            self._metrics.model_info.labels(version).set(1)
            self._version = version
        self._publish_scores(summaries)
        self._features.replace({(feature,): value for feature, value in drift.worst().items()})
        self._groups.replace({(group,): value for group, value in drift.groups().items()})

    def _publish_scores(self, summaries: Sequence[ScoreSummary]) -> None:
        metrics = self._metrics
        for each in summaries:
            labels = (f"result/{each.state}", each.model)
            metrics.prediction_log_loss.labels(*labels).set(each.log_loss)
            metrics.prediction_base_log_loss.labels(*labels).set(each.base_log_loss)
            metrics.model_behind_base_rate.labels(*labels).set(each.is_behind)
            for of, error in (("all", each.ece_all), ("top", each.ece_top)):
                if error is not None:
                    metrics.prediction_calibration_error.labels(*labels, of).set(error)
