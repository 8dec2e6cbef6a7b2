"""The loader's settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import AwareDatetime, Field

from shared.settings.sections import Section, ServiceSettings


class LoaderSection(Section):
    batch_records: int = Field(default=2000, ge=1, description="maximum number of records loaded in one transaction")
    as_of: AwareDatetime | None = Field(
        default=None, description="load only facts known at this time; requires a separate database"
    )
    exports: bool = Field(default=True, description="write one CSV file per day and table under `data_dir`/exports")


class LoaderSettings(ServiceSettings):
    name: ClassVar[str] = "loader"
    loader: LoaderSection = Field(default=LoaderSection(), description="how facts are loaded into tables")

    @property
    def export_dir(self) -> Path:
        return self.data_dir / "exports"

    def folders(self) -> Mapping[str, Path]:
        return {"export": self.export_dir} if self.loader.exports else {}
