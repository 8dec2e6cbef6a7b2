"""Creates the exporter that the settings describe. Imports the extra `parquet` only if they need it."""

from __future__ import annotations

from services.loader.exports.exporter import Exporter
from services.loader.exports.parquet_extra import require_parquet_extra
from services.loader.exports.target import FolderTarget, Target
from services.loader.settings import LoaderSettings
from shared.clock import Clock


def make_exporter(settings: LoaderSettings, conninfo: str, clock: Clock) -> Exporter:
    """Raises ConfigError if a package is missing."""
    if "parquet" in settings.loader.export_formats:
        require_parquet_extra("the setting loader.export_formats: parquet")
    target = target_of(settings)
    return Exporter(conninfo, target, settings.export_dir / ".staging", clock, settings.loader.export_formats)


def target_of(settings: LoaderSettings) -> Target:
    url = settings.loader.exports_url
    if url is None:
        return FolderTarget(settings.export_dir)
    require_parquet_extra("the setting loader.exports_target: a URL")
    from services.loader.exports.object_storage import ObjectStorageTarget  # noqa: PLC0415

    return ObjectStorageTarget(url, settings.loader.exports_storage_options)
