"""Settings of the predictor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from shared.settings.sections import ServiceSettings
from shared.settings.values import Section


class PredictorSection(Section):
    batch_records: int = Field(default=2000, ge=1, description="maximum number of records handled in one unit")
    models_dir: Path | None = Field(
        default=None, description="directory of the models", json_schema_extra={"shown": "DATA_DIR/models"}
    )
    first_read_timeout_s: float = Field(
        default=300,
        gt=0,
        le=540,
        description="maximum duration of one statement of the reads at the start, which read all settled events, in"
        " seconds",
    )
    torch_threads: int = Field(default=1, ge=1, le=256, description="number of threads that torch computes with")


class PredictorSettings(ServiceSettings):
    name: ClassVar[str] = "predictor"
    predictor: PredictorSection = Field(default=PredictorSection(), description="prediction of events")

    @property
    def models_dir(self) -> Path:
        return self.predictor.models_dir or self.data_dir / "models"

    def folders(self) -> Mapping[str, Path]:
        return {"model": self.models_dir}
