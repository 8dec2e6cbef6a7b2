"""The command `headrace simulate`: runs the simulator alone."""

from __future__ import annotations

import os
import runpy
import sys
from importlib.util import find_spec

import typer

from headrace.processes.parent_death import end_with_supervisor
from headrace.terminal.extras import require_extras
from shared.errors import ConfigError

PASS_THROUGH_OPTIONS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def simulate(context: typer.Context) -> None:
    """Serve a synthetic season over HTTP, in the format of the real source. --help lists the options.

    With --recorded DIR it serves a recorded live day, and with --hostile RATE it attacks its client: a way to try a
    source declaration before you trust it. With --sources N --rate R it is a load generator. With --discord it is a
    Discord to try the bot with, on a page in the browser.
    """
    require_extras("headrace simulate", "simulator")
    if find_spec("simulator") is None:
        raise ConfigError("this installation has no simulator: the image of the command lacks it, its own image has it")
    end_with_supervisor(os.environ)
    sys.argv = ["headrace simulate", *context.args]
    runpy.run_module("simulator", run_name="__main__", alter_sys=True)
