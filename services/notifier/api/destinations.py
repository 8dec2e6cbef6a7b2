"""Decides where a test message is sent: to the default addresses, or to others that this notifier can send to."""

from __future__ import annotations

from collections.abc import Callable, Collection

from services.notifier.addresses import kind_of, parse_address, place_of
from services.notifier.channel_setup import can_send
from services.notifier.rules.rule_book import RuleBook
from services.notifier.settings import BOT, NotifierSection
from shared.errors import ConfigError


class Destinations:
    """`kinds`: those of the channels that this process has. `book` returns the current rules."""

    def __init__(self, options: NotifierSection, kinds: Collection[str], book: Callable[[], RuleBook]) -> None:
        self._options = options
        self._kinds = frozenset(kinds)
        self._book = book

    @property
    def defaults(self) -> tuple[str, ...]:
        """The addresses of `notifier.channels`, and the bot's channel."""
        bot = self._options.bot_addresses if BOT in self._kinds else ()
        return tuple(dict.fromkeys([*self._options.addresses, *bot]))

    def resolve(self, text: str) -> str:
        """The address; for `discord-bot` that of the bot's channel. Raises ConfigError if nothing can be sent there."""
        address = next(iter(self._options.bot_addresses), text) if text == BOT else text
        parse_address(address)
        has_recipients = bool(self._book().recipients(place_of(address)))
        if kind_of(address) not in self._kinds or not can_send(self._options, address, has_recipients):
            raise ConfigError(
                f"this notifier cannot send to {text!r}; configure the channel in the settings and name it in"
                f" notifier.channels or a rule file, or choose among {', '.join(self.defaults)}"
            )
        return address
