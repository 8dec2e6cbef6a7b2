"""The loader's settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, AwareDatetime, Field, field_validator

from shared.settings.sections import ServiceSettings
from shared.settings.values import Section

_SECRET_OPTION = re.compile(r"key|secret|token|password|credential", re.IGNORECASE)


def _target(text: str) -> str:
    if "://" not in text:
        return text
    parts = urlsplit(text)
    if "@" in parts.netloc or parts.query:
        raise ValueError("a URL must not contain credentials: the environment provides them (AWS_ACCESS_KEY_ID ...)")
    if parts.scheme in {"file", "local"}:
        raise ValueError("expected a folder without file://, or the URL of object storage: s3://BUCKET/PREFIX")
    return text.rstrip("/")


def _option(text: str) -> str:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError("expected NAME=VALUE")
    if "@" in urlsplit(value).netloc:
        raise ValueError(f"{name}: a URL must not contain credentials; the environment provides them")
    if _SECRET_OPTION.search(name):
        raise ValueError(f"{name}: credentials are not settings; the environment provides them (AWS_ACCESS_KEY_ID ...)")
    return text


class LoaderSection(Section):
    batch_records: int = Field(default=2000, ge=1, description="maximum number of records loaded in one transaction")
    as_of: AwareDatetime | None = Field(
        default=None, description="load only facts known at this time; requires a separate database"
    )
    exports: bool = Field(default=True, description="write one file per day and table under `exports_target`")
    export_formats: tuple[Literal["csv", "parquet"], ...] = Field(
        default=("csv",),
        min_length=1,
        description="formats of the daily files: `csv`, `parquet`; separated by commas in the environment. Parquet"
        " needs the extra `parquet`",
    )
    exports_target: Annotated[str, AfterValidator(_target)] | None = Field(
        default=None,
        description="where the daily files are written: a folder, or an fsspec URL such as s3://BUCKET/PREFIX, which"
        " needs the extra `parquet`. Credentials come from the environment (AWS_ACCESS_KEY_ID ...)",
        json_schema_extra={"shown": "DATA_DIR/exports"},
    )
    exports_options: tuple[Annotated[str, AfterValidator(_option)], ...] = Field(
        default=(),
        description="options of the URL's file system as NAME=VALUE, for example endpoint_url=http://minio:9000;"
        " separated by commas in the environment",
    )

    @field_validator("export_formats", "exports_options", mode="before")
    @classmethod
    def _separated_by_commas(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @property
    def exports_url(self) -> str | None:
        """The target if it is a URL, None if it is a folder."""
        return self.exports_target if self.exports_target and "://" in self.exports_target else None

    @property
    def exports_storage_options(self) -> dict[str, str]:
        pairs = (option.partition("=") for option in self.exports_options)
        return {name: value for name, _, value in pairs}


class LoaderSettings(ServiceSettings):
    name: ClassVar[str] = "loader"
    loader: LoaderSection = Field(default=LoaderSection(), description="how facts are loaded into tables")

    @property
    def export_dir(self) -> Path:
        """The folder of the exports. If they have a URL, only files in work are in it."""
        target = self.loader.exports_target
        return self.data_dir / "exports" if target is None or self.loader.exports_url else Path(target)

    def folders(self) -> Mapping[str, Path]:
        return {"export": self.export_dir} if self.loader.exports and self.loader.exports_url is None else {}
