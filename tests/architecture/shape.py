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
# The simulator stands beside the pipeline: a source, known to it by its address only.
SIMULATOR_MAY_IMPORT = ("simulator", "shared.clock")

# Where I/O is done: a module below a folder of one of these names, or of one of these names itself, touches the world
# outside the process. Every other module is pure.
OUTSIDE_PLACES = frozenset(
    [
        *("__main__", "api", "archive", "channels", "commands", "control", "counting", "database", "jobs", "kafka"),
        *("loops", "postgres", "process", "processes", "promotion", "readers", "registry", "run"),
    ]
)
# The same for these packages, prefixes and programs, where pure modules and programs share a folder. "*" stays within
# one part.
OUTSIDE_MODULES = (
    "headrace.*",
    "headrace.audit.audit_pass",
    "headrace.backtest.*",
    "headrace.progress.*",
    "headrace.remote.*",
    "headrace.terminal.*",
    "services.*.postgres_*",
    "services.*.*.postgres_*",
    "services.fetcher.fetch",
    "services.fetcher.source_factory",
    "services.fetcher.sources.http",
    "services.fetcher.sources.recorded_files",
    "services.fetcher.sources.yaml_file",
    "services.loader.exports",
    "services.loader.load",
    "services.loader.parking",
    "services.loader.resolve",
    "services.notifier.notify",
    "services.notifier.sender",
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
    "simulator.server",
)
OUTSIDE = frozenset(
    {
        "aiohttp",
        "asyncio",
        "concurrent",
        "discord",
        "fastapi",
        "fcntl",
        "http.client",
        "http.server",
        "httpx",
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

MOST_LINES_OF_A_FUNCTION = 50

FORBIDDEN_NAMES = re.compile(r"(^|_)(utils?|helpers?|misc|common)(_|$)")
