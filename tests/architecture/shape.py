"""The required shape of the source tree: its layers, the places that do I/O, and what counts as I/O."""

from __future__ import annotations

import re

# Top first. A module imports from its own layer and from those below it.
LAYERS = (
    "headrace",
    "services",
    "shared.runtime",
    "shared.ops",
    "shared.records",
    "shared.broker",
    "shared.database",
    "shared.settings",
    "shared.readiness",
    "shared.retry",
    "shared.topics",
    "shared.events",
    "shared.clock",
    "shared.logs",
    "shared.loopback",
    "shared.backoff",
    "shared.errors",
)
# The simulator is a source: the pipeline knows only its address.
SIMULATOR_MAY_IMPORT = ("simulator", "shared.clock")

# Places that do I/O: modules of these names, and modules below folders of these names. Every other module is pure.
IO_PLACES = frozenset(
    [
        *("__main__", "api", "archive", "channels", "commands", "control", "counting", "database", "jobs", "kafka"),
        *("loops", "postgres", "process", "processes", "promotion", "readers", "registry", "run"),
    ]
)
# Further modules that do I/O, in folders that also contain pure modules. "*" matches within one part of the name.
IO_MODULES = (
    "headrace.*",
    "headrace.audit.audit_pass",
    "headrace.backtest.*",
    "headrace.backup.*",
    "headrace.frames.backtests",
    "headrace.frames.client",
    "headrace.frames.connection",
    "headrace.frames.origins",
    "headrace.packs.verification",
    "headrace.packs.writing",
    "headrace.progress.*",
    "headrace.quality.html",
    "headrace.quality.threshold_file",
    "headrace.remote.*",
    "headrace.rules.history",
    "headrace.terminal.*",
    "headrace.verification.postgres_rebuild",
    "services.*.postgres_*",
    "services.*.*.postgres_*",
    "services.fetcher.fetch",
    "services.fetcher.http.addresses",
    "services.fetcher.http.client",
    "services.fetcher.http.source",
    "services.fetcher.http.stream",
    "services.fetcher.measurements",
    "services.fetcher.source_factory",
    "services.fetcher.sources.recorded_files",
    "services.fetcher.sources.yaml_file",
    "services.fetcher.steady_clock",
    "services.loader.exports.assembly",
    "services.loader.exports.exporter",
    "services.loader.exports.object_storage",
    "services.loader.exports.parquet",
    "services.loader.exports.publication",
    "services.loader.exports.staging",
    "services.loader.exports.target",
    "services.loader.load",
    "services.loader.parking",
    "services.loader.resolve",
    "services.notifier.alerts.watch",
    "services.notifier.channel_setup",
    "services.notifier.bot.*",
    "services.notifier.delivery.attempt",
    "services.notifier.delivery.channel_loop",
    "services.notifier.delivery.closed_addresses",
    "services.notifier.delivery.marks",
    "services.notifier.delivery.sender",
    "services.notifier.notify",
    "services.notifier.rules.active_rules",
    "services.notifier.rules.file",
    "services.predictor.backtest.live_scores",
    "services.predictor.serving.lazy_predictor",
    "services.predictor.training.candidate",
    "shared.broker.contract",
    "shared.clock",
    "shared.ops.tables.*",
    "shared.readiness",
    "shared.retry",
    "shared.runtime.*",
    "shared.runtime.dead_letters.index",
    "shared.runtime.dead_letters.settlement",
    "shared.settings.*",
    "simulator.discord.fake",
    "simulator.discord.program",
    "simulator.hostile.server",
    "simulator.recorded",
    "simulator.server",
)
IO_LIBRARIES = frozenset(
    {
        "adbc_driver_manager",
        "adbc_driver_postgresql",
        "aiohttp",
        "asyncio",
        "concurrent",
        "discord",
        "fastapi",
        "fcntl",
        "http.client",
        "http.server",
        "httpcore2",
        "httpx2",
        "kafka",
        "multiprocessing",
        "os",
        "psycopg",
        "random",
        "secrets",
        "select",
        "shutil",
        "signal",
        "socket",
        "subprocess",
        "tempfile",
        "threading",
        "time",
        "urllib.request",
        "uvicorn",
    }
)
# Calls that read a file, the terminal or the clock without an import. A clock that is passed in is allowed.
IO_CALLS = frozenset({"input", "open", "print"})
IO_METHODS = frozenset({"read_text", "read_bytes", "write_text", "write_bytes"})
CLOCK_READS = re.compile(r"(^|\.)(datetime\.(now|utcnow|today)|date\.today)$")

# A module that takes a connection does I/O, whatever it imports.
CONNECTION = "DbConnection"

# Parts of a program that need a second extra. The program's image does not install it: these modules are imported on
# demand, and their users report missing packages.
ADDITIONAL_EXTRAS = {
    "headrace.backtest.*": "predictor",
    "headrace.frames": "frames",
    "headrace.frames.*": "frames",
    "headrace.frames.*.*": "frames",
    "headrace.packs.verification": "parquet",
    "headrace.packs.writing": "parquet",
    "headrace.quality.*": "frames",
    "headrace.quality.*.*": "frames",
    "headrace.terminal.parquet": "parquet",
    "services.loader.exports.arrow_types": "parquet",
    "services.loader.exports.object_storage": "parquet",
    "services.loader.exports.parquet": "parquet",
    "headrace.plots.*": "frames",
}

# Packages for analysts: their `__init__.py` names what they offer. In other packages it is empty.
PUBLIC_PACKAGES = ("headrace.frames",)

# Only these parts use the libraries of analysts: pipeline and command work without them.
ANALYSIS_PLACES = ("headrace.backtest", "headrace.frames", "headrace.packs", "headrace.plots", "headrace.quality")
ANALYSIS_LIBRARIES = {
    "adbc_driver_manager": ANALYSIS_PLACES,
    "adbc_driver_postgresql": ANALYSIS_PLACES,
    "pandas": ANALYSIS_PLACES,
    "pandera": ANALYSIS_PLACES,
    "pyarrow": (*ANALYSIS_PLACES, "headrace.terminal.parquet", "services.loader.exports"),
}

# Packages that one method uses if they are installed; it imports them on demand and reports what is missing.
OPTIONAL_LIBRARIES = {"headrace.frames.client": {"polars"}}

# Import names of distributions that differ from the name of the distribution.
IMPORT_NAME = {"discord-py": "discord", "kafka-python": "kafka", "pyyaml": "yaml"}
# Packages that are always installed with a dependency and are part of its interface.
INSTALLED_WITH = {
    "adbc_driver_postgresql": {"adbc_driver_manager"},
    "jinja2": {"markupsafe"},
    "pydantic": {"pydantic_core"},
    "fastapi": {"anyio", "starlette"},
    "uvicorn": {"h11"},
    "httpx2": {"httpcore2"},
    "discord": {"aiohttp", "yarl"},
}

MAX_FUNCTION_LINES = 50

FORBIDDEN_NAMES = re.compile(r"(^|_)(utils?|helpers?|misc|common)(_|$)")
