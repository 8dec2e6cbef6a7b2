"""Records what the bot learns: whether Discord accepts its token, and who does not accept its messages.

A record that cannot be written is logged: the bot works without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

import structlog

from services.notifier.bot.client import TOKEN_REFUSED
from services.notifier.storage.postgres_bot_state import TOKEN, write_bot_state
from services.notifier.storage.postgres_ledger import NewNotification, record_notifications
from services.notifier.storage.postgres_subscriptions import drop_person
from shared.database.connection import limited_connection
from shared.errors import TransientError

ANSWER_S = 5.0
BLOCKED = "the person does not accept direct messages of the bot"
RULE = "subscriptions"
log = structlog.get_logger("notifier.bot")


class BotRecords:
    """`addresses`: where a note about a dropped person is sent. Opens a connection for each record, which are rare."""

    def __init__(self, conninfo: str, addresses: Sequence[str]) -> None:
        self._conninfo = conninfo
        self._addresses = tuple(addresses)

    def record_login(self, accepted: bool) -> None:
        """The alert `bot-token` reads this."""
        link = limited_connection(self._conninfo, "notifier bot", ANSWER_S)
        try:
            with link.use() as connection:
                write_bot_state(connection, TOKEN, {"accepted": accepted, "reason": "" if accepted else TOKEN_REFUSED})
        except TransientError as error:
            log.warning("bot_record_failed", error=str(error))
        finally:
            link.drop()

    def drop_blocking_person(self, person_id: int) -> None:
        """Remove the person's subscriptions, and leave a note once for each time."""
        link = limited_connection(self._conninfo, "notifier bot", ANSWER_S)
        try:
            with link.use() as connection, connection.transaction():
                count = drop_person(connection, person_id, BLOCKED)
                if count:
                    record_notifications(connection, [_note(person_id, count)], self._addresses)
            log.info("bot_person_dropped", person=person_id, subscriptions=count)
        except TransientError as error:
            log.warning("bot_record_failed", error=str(error))
        finally:
            link.drop()


def _note(person_id: int, count: int) -> NewNotification:
    text = f"**Subscriptions removed** \u00b7 {count}\nThe person {person_id} does not accept direct messages."
    return NewNotification(uuid4(), RULE, f"discord:{person_id}", text)
