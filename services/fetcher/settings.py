"""What an operator may set of the fetcher."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import ClassVar, Self

from pydantic import AwareDatetime, Field, model_validator

from shared.settings.sections import Section, ServiceSettings, Url


class Fetcher(Section):
    source: str = Field(
        default="simulator", min_length=1, description="a declared source by name, or the path of its FILE.yaml"
    )
    base_url: Url | None = Field(default=None, description="where the source is asked, instead of the declared place")
    archive_dir: Path | None = Field(
        default=None, description="a recorded archive to read, or one that a fetcher kept, for source `archive`"
    )
    from_date: date | None = Field(default=None, alias="from", description="first day to fetch")
    to_date: date | None = Field(default=None, alias="to", description="last day to fetch, inclusive")
    as_of: AwareDatetime | None = Field(
        default=None, description="fetch nothing of days after this instant's (see loader.as_of)"
    )
    follow: bool = Field(default=False, description="go on with each new day as it comes")
    threads: int = Field(default=8, ge=1, le=64, description="documents fetched at once")
    batch_records: int = Field(default=2000, ge=1, description="records appended in one unit, at most")

    @model_validator(mode="after")
    def _days_in_order(self) -> Self:
        if self.from_date and self.to_date and self.to_date < self.from_date:
            raise ValueError(f"`to` ({self.to_date}) is before `from` ({self.from_date})")
        return self


class FetcherSettings(ServiceSettings):
    name: ClassVar[str] = "fetcher"
    fetcher: Fetcher = Field(default=Fetcher(), description="what is fetched")
