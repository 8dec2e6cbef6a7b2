"""The command `headrace rollback`."""

from __future__ import annotations

from contextlib import ExitStack

from headrace.remote.registry import Bench, ReasonOption, conclude_step, done_locally
from headrace.terminal.arguments import grouped_options
from services.predictor.registry import transitions


@grouped_options
def rollback(bench: Bench, reason: ReasonOption = None) -> None:
    """Make the previous live model live again, at once. Each further rollback goes back by one more model."""
    with ExitStack() as stack:
        asked = bench.predictor(stack)
        if asked is not None:
            said = asked.post("/models/rollback", {"reason": reason} if reason else {}).body
        else:
            said = done_locally(
                bench,
                "rollback",
                None,
                bench.order(reason),
                lambda models, _version, order: transitions.roll_back(models, order),
            )
    conclude_step(bench, said)
