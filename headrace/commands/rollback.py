"""headrace rollback."""

from __future__ import annotations

from contextlib import ExitStack

from headrace.commands.registry import Bench, ReasonOption, at_registry, conclude_step, done_locally
from services.predictor.registry import transitions


@at_registry
def rollback(bench: Bench, reason: ReasonOption = None) -> None:
    """Let the model that was live before the live one be live again, at once. Once more goes back one further."""
    with ExitStack() as stack:
        asked = bench.api(stack)
        if asked is not None:
            said = asked.post("/models/rollback", {"reason": reason} if reason else {}).body
        else:
            said = done_locally(
                bench, "rollback", None, bench.order(reason),
                lambda models, _version, order: transitions.roll_back(models, order),
            )  # fmt: skip
    conclude_step(bench, said)
