"""What an operator may set of the loader."""

from __future__ import annotations

from typing import ClassVar

from pydantic import AwareDatetime, Field

from shared.settings.sections import Section, ServiceSettings


class Loader(Section):
    batch_records: int = Field(default=2000, ge=1, description="records loaded in one transaction, at most")
    as_of: AwareDatetime | None = Field(
        default=None, description="load only what was known at this instant; for a database of its own"
    )
    exports: bool = Field(default=True, description="write a CSV file per day and table under `data_dir`/exports")


class LoaderSettings(ServiceSettings):
    name: ClassVar[str] = "loader"
    loader: Loader = Field(default=Loader(), description="how facts become rows")
