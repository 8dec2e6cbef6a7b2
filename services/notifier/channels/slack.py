"""Sends messages to incoming webhooks of Slack, or of a server that accepts the same requests (Mattermost).

A webhook has no key for repeated messages and returns no id. A message whose delivery is not known is therefore
uncertain, and messages cannot be edited.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from services.notifier.channels.base import ChannelClosed, Message, Receipt, error_of_status
from services.notifier.channels.http_post import JsonPoster
from services.notifier.channels.secret_url import SecretUrl
from services.notifier.pacing import RateLimit
from services.notifier.texts.mrkdwn import mrkdwn_of

# Slack accepts 3,000 characters in a section and 50 blocks.
MAX_SECTION, MAX_BLOCKS = 3_000, 50
# Mattermost accepts 16,383 characters; Slack cuts a longer text at 40,000.
MAX_TEXT = 16_000


class SlackChannel:
    """`urls` by the name of the destination; the empty name is the address without one."""

    # Slack accepts one message a second for each webhook.
    rate = RateLimit(burst=1, per_s=1)

    def __init__(self, urls: Mapping[str, SecretUrl], timeout_s: float = 5, name: str = "slack") -> None:
        self.name = name
        self._poster = JsonPoster(name, urls, timeout_s)

    def __repr__(self) -> str:
        return f"SlackChannel(name={self.name!r})"

    def send(self, message: Message) -> Receipt:
        text = mrkdwn_of(message.text)
        sections = [{"type": "section", "text": {"type": "mrkdwn", "text": part}} for part in _sections(text)]
        body = {"text": text[:MAX_TEXT], "blocks": sections[:MAX_BLOCKS]}
        answer = self._poster.post(message, body)
        if answer.status >= 300:
            raise error_of_status(self.name, answer.status, answer.retry_after_s)
        if answer.body.strip() != b"ok":
            raise ChannelClosed(f'{self.name} did not answer "ok": its URL is no incoming webhook; configure a new URL')
        return Receipt()


def _sections(text: str) -> Iterator[str]:
    """The text in parts that a section can hold, divided at the ends of lines if possible."""
    while len(text) > MAX_SECTION:
        end = text.rfind("\n", 1, MAX_SECTION)
        end = MAX_SECTION if end < 0 else end
        yield text[:end]
        text = text[end:].removeprefix("\n")
    yield text
