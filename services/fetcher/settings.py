"""Settings of the fetcher."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import ClassVar, Self

from pydantic import AwareDatetime, Field, model_validator

from shared.settings.sections import ServiceSettings
from shared.settings.values import Section, Url


class FetcherSection(Section):
    source: str = Field(
        default="simulator", min_length=1, description="name of a declared source, or path of its YAML file"
    )
    base_url: Url | None = Field(default=None, description="base URL of the source, instead of the declared one")
    archive_dir: Path | None = Field(
        default=None, description="with source `archive`: the recorded archive or the fetcher archive to read"
    )
    from_date: date | None = Field(default=None, alias="from", description="first day to fetch")
    to_date: date | None = Field(default=None, alias="to", description="last day to fetch, inclusive")
    as_of: AwareDatetime | None = Field(
        default=None, description="fetch no days after the day of this instant (see loader.as_of)"
    )
    follow: bool = Field(default=False, description="continue with each new day")
    threads: int = Field(default=8, ge=1, le=64, description="documents fetched at the same time")
    archive_retention_days: float | None = Field(
        default=None,
        ge=1,
        description="remove a day's documents from the archive this many days after the last one was fetched; they can"
        " then no longer be replayed. Default: keep all",
    )
    batch_records: int = Field(default=2000, ge=1, description="maximum records appended in one unit")

    @model_validator(mode="after")
    def _days_in_order(self) -> Self:
        if self.from_date and self.to_date and self.to_date < self.from_date:
            raise ValueError(f"`to` ({self.to_date}) is before `from` ({self.from_date})")
        return self


class FetcherSettings(ServiceSettings):
    name: ClassVar[str] = "fetcher"
    fetcher: FetcherSection = Field(default=FetcherSection(), description="what the fetcher fetches")

    @property
    def archive(self) -> Path:
        """The archive of fetched documents."""
        return self.data_dir / "archive"

    def folders(self) -> Mapping[str, Path]:
        return {"archive": self.archive}
