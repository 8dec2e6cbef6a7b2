"""An interaction as a test sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from simulator.discord import people
from simulator.discord.errors import Payload
from simulator.discord.interactions import InteractionRecord
from simulator.discord.messages import PostedMessage
from simulator.discord.state import DiscordState

# Runs a function of the state in the server's thread.
Act = Callable[[Callable[[DiscordState], InteractionRecord]], InteractionRecord]


class FakeInteraction:
    """What a person did, and what the bot answered so far. Times are in seconds."""

    def __init__(self, record: InteractionRecord, act: Act) -> None:
        self._act = act
        self._record = record
        self.id = record.id
        self.token = record.token
        self.person = record.person

    @property
    def answered_within(self) -> float | None:
        """From the interaction to its first answer; None without an answer that was in time."""
        at = self._record.answered_at
        return None if at is None else at - self._record.created_at

    @property
    def late_answers(self) -> int:
        """How many first answers came after Discord's limit and were refused."""
        return self._record.late_answers

    @property
    def callback(self) -> int | None:
        """The kind of the first answer: 4 message, 5 deferred, 6 deferred edit, 7 edit, 8 choices, 9 dialog."""
        return self._record.callback

    @property
    def original(self) -> PostedMessage | None:
        """The answer; after an edit (6, 7) the message whose button was used."""
        return self._record.original

    @property
    def messages(self) -> list[PostedMessage]:
        """The answer and the further messages."""
        return list(self._record.messages)

    @property
    def content(self) -> str:
        """The text of the answer; empty while the bot is "thinking"."""
        return "" if self.original is None else self.original.content

    @property
    def embeds(self) -> list[Payload]:
        return [] if self.original is None else self.original.embeds

    @property
    def choices(self) -> list[Payload] | None:
        """The completions, None before they were answered."""
        return self._record.choices

    @property
    def dialog(self) -> Payload | None:
        return self._record.dialog

    @property
    def is_answered(self) -> bool:
        """Whether the answer has content: more than a deferral."""
        original = self.original
        return original is not None and bool(original.content or original.embeds or original.files)

    def submit(self, values: Mapping[str, str]) -> FakeInteraction:
        """Send the dialog that this interaction was answered with: the fields' values by custom id."""
        return FakeInteraction(self._act(lambda state: people.submit_dialog(state, self._record, values)), self._act)
