"""Writes the outcome of an attempt to the ledger, the log and the metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import structlog

from services.notifier.addresses import kind_of
from services.notifier.delivery.attempt import Attempt
from services.notifier.storage import postgres_claims as ledger
from services.notifier.storage import postgres_edits as edits
from services.notifier.storage.postgres_claims import Claim
from shared.database.connection import DbConnection

SendOutcome = Literal["sent", "failed", "retried", "unknown", "expired"]
OnSendOutcome = Callable[[str, SendOutcome], None]
"""Called for each notification, with the channel's kind."""

log = structlog.get_logger("notifier.sender")


def mark_attempt(attempt: Attempt, lease_s: float, on_outcome: OnSendOutcome, connection: DbConnection) -> None:
    """Write what became of the rows of a message that was sent or verified."""
    claims, error = attempt.claims, attempt.error
    match attempt.outcome:
        case "sent":
            marked = ledger.mark_sent(connection, claims, attempt.receipt)
        case "retried":
            marked = ledger.delay(connection, claims, attempt.retry_s, error)
        case "closed":
            is_repeat = claims[0].attempts > 1
            marked = ledger.release(connection, claims, keep_group=is_repeat, reason=error)
        case "uncertain":
            marked = ledger.postpone_verification(connection, claims, attempt.retry_s, lease_s, error)
        case "failed" | "unknown" as state:
            marked = ledger.mark_ended(connection, claims, state, error)
    for claim in claims:
        if attempt.outcome == "uncertain":  # counted when it is decided
            _about(claim).warning("notification_uncertain", error=error, retry_s=attempt.retry_s)
        else:
            outcome = "retried" if attempt.outcome == "closed" else attempt.outcome
            report(claim, outcome, error, on_outcome, attempt.retry_s)
    if not marked:
        _about(claims[0]).warning(
            "notification_claim_lost", effect="another sender claimed it, so it may be sent twice"
        )


def report(claim: Claim, outcome: SendOutcome, error: str, on_outcome: OnSendOutcome, retry_s: float = 0.0) -> None:
    """Log and count the outcome of one notification."""
    if outcome == "sent":
        _about(claim).info("notification_sent")
    else:
        # notification_failed, notification_retried, notification_unknown or notification_expired
        _about(claim).warning(f"notification_{outcome}", error=error, retry_s=retry_s)
    on_outcome(kind_of(claim.address), outcome)


def mark_edit(attempt: Attempt, connection: DbConnection) -> None:
    """Write what became of an edit."""
    about = _about(attempt.claims[0])
    if attempt.outcome == "sent":
        edits.mark_edited(connection, attempt.claims)
        about.info("notification_edited")
    elif attempt.outcome == "failed":
        edits.refuse_edit(connection, attempt.claims, attempt.error)
        about.warning("notification_edit_refused", error=attempt.error)
    else:
        edits.delay_edit(connection, attempt.claims, attempt.retry_s)
        about.warning("notification_edit_retried", error=attempt.error, retry_s=attempt.retry_s)


def _about(claim: Claim) -> structlog.stdlib.BoundLogger:
    about: structlog.stdlib.BoundLogger = log.bind(
        channel=claim.address, rule=claim.rule, event_key=claim.event_key, attempts=claim.attempts
    )
    return about
