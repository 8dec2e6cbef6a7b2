"""The texts of a pack for people: README, data dictionary, licences."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

from headrace.packs.manifest import PackManifest

_README = """\
# Data pack {span}

{sources}, as of {as_of}. Written by Headrace {version}; readable without it.

    import pandas as pd; events = pd.read_parquet("events")
    import polars as pl; events = pl.scan_parquet("events/**/*.parquet", hive_partitioning=True).collect()
    duckdb -c "from read_parquet('events/*/*.parquet', hive_partitioning = true)"

A view is a folder of Parquet files. Most have one file for each day, and the day is the column `date` of the path. JSON
columns are text. Times are UTC. `{dictionary}` explains each column, `{licence}` has the terms of the sources,
`{manifest}` the rows and the SHA-256 of each file; `headrace pack verify` compares them.

| view | rows | meaning |
| --- | --- | --- |
{views}
"""


def readme(manifest: PackManifest, names: Mapping[str, str]) -> str:
    """`names`: the names of the other files: `dictionary`, `licence` and `manifest`."""
    views = [f"| `{name}` | {view.rows:,} | {view.meaning} |" for name, view in manifest.views.items()]
    return _README.format(
        span=f"{manifest.first_day or '..'} to {manifest.last_day or '..'}",
        sources=f"Sources: {', '.join(manifest.sources)}",
        as_of=manifest.as_of.isoformat(timespec="seconds"),
        version=manifest.headrace_version,
        views="\n".join(views),
        **names,
    )


def dictionary(manifest: PackManifest) -> str:
    """The data dictionary as CSV, one row for each column."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["view", "column", "type", "unit", "meaning", "missing"])
    for name, view in manifest.views.items():
        writer.writerows([name, each.name, each.type, each.unit, each.meaning, each.none] for each in view.columns)
    return text.getvalue()


def licence(licences: Mapping[str, str | None]) -> str:
    """The terms of each source."""
    unknown = "The declaration of this source states no licence. Ask its owner before you pass the data on."
    return "\n".join(f"Source {source}\n\n{terms or unknown}\n" for source, terms in licences.items())
