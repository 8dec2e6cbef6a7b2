"""The command `headrace rollback`."""

from __future__ import annotations

from contextlib import ExitStack

from headrace.remote.registry import ReasonOption, RegistryAccess, change_locally, print_change
from headrace.terminal.arguments import grouped_options
from services.predictor.registry import transitions


@grouped_options
def rollback(registry_access: RegistryAccess, reason: ReasonOption = None) -> None:
    """Make the previous live model live again, at once. Each further rollback goes back by one more model."""
    with ExitStack() as stack:
        client = registry_access.predictor(stack)
        if client is not None:
            change = client.post("/models/rollback", {"reason": reason} if reason else {}).body
        else:
            change = change_locally(
                registry_access,
                "rollback",
                None,
                registry_access.order(reason),
                lambda models, _version, order: transitions.roll_back(models, order),
            )
    print_change(registry_access, change)
