"""The tree as it should be: its layers, which modules touch the outside, and what counts as touching it."""

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
    "shared.retry",
    "shared.topics",
    "shared.events",
    "shared.clock",
    "shared.logs",
    "shared.errors",
)
# The simulator stands beside the pipeline: a source, known to it by its address only.
SIMULATOR_MAY_IMPORT = ("simulator", "shared.clock")

# Modules that touch the world outside the process, by name. Every other module is pure. "*" stays within one part.
OUTSIDE_MODULES = (
    "headrace.*",
    "headrace.audit.*_reading",
    "headrace.audit.downstream",
    "headrace.audit.evidence",
    "headrace.audit.audit_pass",
    "headrace.backtest.*",
    "headrace.commands.*",
    "headrace.database.*",
    "headrace.processes.*",
    "headrace.progress.*",
    "headrace.run.*",
    "services.*.__main__",
    "services.*.api",
    "services.*.api.*",
    "services.*.*.postgres_*",
    "services.*.postgres_*",
    "services.fetcher.archive.*",
    "services.fetcher.sources.http",
    "services.fetcher.sources.recorded_files",
    "services.fetcher.source_factory",
    "services.fetcher.fetch",
    "services.fetcher.sources.yaml_file",
    "services.loader.exports",
    "services.loader.load",
    "services.loader.parking",
    "services.loader.resolve",
    "services.notifier.notify",
    "services.predictor.backtest.live_scores",
    "services.notifier.channels.*",
    "services.notifier.sender",
    "services.predictor.jobs.*",
    "services.predictor.serving.lazy_predictor",
    "services.predictor.evaluation.charts",
    "services.predictor.training.figures",
    "services.predictor.registry.transitions",
    "services.predictor.registry.model_files",
    "services.predictor.promotion.verdict",
    "services.predictor.registry.store",
    "services.predictor.registry.state_file",
    "services.predictor.learners.processes",
    "services.predictor.training.candidate",
    "services.predictor.promotion.promote",
    "shared.broker.*",
    "shared.broker.counting.*",
    "shared.broker.kafka.*",
    "shared.broker.postgres.*",
    "shared.database.*",
    "shared.clock",
    "shared.ops.tables.*",
    "shared.retry",
    "shared.runtime.*",
    "shared.runtime.api.*",
    "shared.runtime.control.*",
    "shared.runtime.dead_letters.*",
    "shared.runtime.jobs.*",
    "shared.settings.loading",
    "shared.settings.sources",
    "shared.settings.sections",
    "simulator.__main__",
    "simulator.server",
)
OUTSIDE = frozenset(
    {
        "aiohttp", "asyncio", "concurrent", "discord", "fastapi", "fcntl", "http.client", "http.server", "httpx",
        "kafka", "multiprocessing", "os", "psycopg", "random", "secrets", "select", "shutil", "signal", "socket",
        "subprocess", "tempfile", "threading", "time", "urllib.request", "uvicorn",
    }
)  # fmt: skip
# Reading a file, the terminal or the clock needs no import that would give it away. A clock that was passed in is fine.
OUTSIDE_CALLS = frozenset({"input", "open", "print"})
OUTSIDE_METHODS = frozenset({"read_text", "read_bytes", "write_text", "write_bytes"})
CLOCK_READS = re.compile(r"(^|\.)(datetime\.(now|utcnow|today)|date\.today)$")

# Who is handed a connection does I/O, whatever it imports. (Where the type is defined and passed on is shared/.)
CONNECTION = "DbConnection"

# Parts of the command that want another extra besides its own. Its own image does without them: they are imported when
# they are asked for, and then say what is missing.
MORE_EXTRAS = {"headrace.backtest.*": "predictor"}

# Distributions whose import name is not their own name.
IMPORT_NAME = {"discord-py": "discord", "kafka-python": "kafka", "pyyaml": "yaml"}
# What a dependency is never installed without, and is part of its interface.
BROUGHT_ALONG = {"pydantic": {"pydantic_core"}, "fastapi": {"starlette"}, "discord": {"aiohttp"}}

FORBIDDEN_NAMES = re.compile(r"(^|_)(utils?|helpers?|misc|common)(_|$)")
