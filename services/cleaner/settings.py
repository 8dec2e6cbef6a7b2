"""The cleaner's settings."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from shared.settings.sections import ServiceSettings
from shared.settings.values import Section


class CleanerSection(Section):
    batch_records: int = Field(default=2000, ge=1, description="maximum number of records handled in one unit")


class CleanerSettings(ServiceSettings):
    name: ClassVar[str] = "cleaner"
    cleaner: CleanerSection = Field(default=CleanerSection(), description="how raw events are cleaned")
