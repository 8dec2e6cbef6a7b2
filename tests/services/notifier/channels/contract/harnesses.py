"""One harness for each channel: it runs the receiver's side, makes it behave, and reads what people are shown."""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from html.parser import HTMLParser
from typing import Protocol

from services.notifier.channels.base import Channel
from services.notifier.channels.console import ConsoleChannel
from services.notifier.channels.discord import DiscordChannel
from services.notifier.channels.email import EmailChannel, MailServer
from services.notifier.channels.secret_url import SecretUrl
from services.notifier.channels.slack import SlackChannel
from services.notifier.channels.webhook import WebhookChannel
from tests.certificates import Certificate
from tests.services.notifier.http_receiver import Answer, ReceivedRequest, Receiver, receiving
from tests.services.notifier.mail_server import MailBox, mail_server

SECRET = "s3cret-" + "x" * 61
TIMEOUT_S = 60.0
HOOK = f"https://discord.com/api/webhooks/123456789012345678/{SECRET}"


class Harness(Protocol):
    """What the contract needs of a channel and its receiver."""

    channel: Channel
    has_secret: bool
    ignores_repeats: bool
    gives_retry_after: bool
    redirects: bool
    can_fail_unclearly: bool

    def be_busy(self, retry_after_s: int | None) -> None: ...

    def refuse(self) -> None: ...

    def redirect(self) -> None: ...

    def drop_answers(self) -> None:
        """Keep the next messages and close the connection without an answer."""
        ...

    def hang(self) -> Channel:
        """A channel with a short time-out, whose receiver does not answer."""
        ...

    def unreachable(self) -> Channel:
        """A channel whose receiver does not exist."""
        ...

    def shown(self) -> list[str]:
        """The text of each message, as it arrived, with its marks."""
        ...

    def actions(self, shown: str) -> list[str]:
        """What the receiver would do with a shown text besides showing it: mentions, links, formats."""
        ...

    def count(self) -> int:
        """The requests that arrived."""
        ...


class HttpHarness:
    has_secret = True
    gives_retry_after = True
    redirects = True
    can_fail_unclearly = True
    ignores_repeats = False

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        receiver.usual = self.accepting()
        self.channel = self.make(receiver.url, TIMEOUT_S)

    def accepting(self) -> Answer:
        raise NotImplementedError

    def make(self, url: str, timeout_s: float) -> Channel:
        raise NotImplementedError

    def be_busy(self, retry_after_s: int | None) -> None:
        headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
        self.receiver.answers.append(Answer(429, {"message": "busy"}, headers | {"Via": "1.1 proxy"}))

    def refuse(self) -> None:
        self.receiver.answers.append(Answer(404))

    def redirect(self) -> None:
        self.receiver.answers.append(Answer(307, headers={"Location": f"{self.receiver.url}/elsewhere"}))

    def drop_answers(self) -> None:
        self.receiver.answers.append(Answer(0))

    def hang(self) -> Channel:
        self.receiver.open.clear()
        return self.make(self.receiver.url, 0.05)

    def unreachable(self) -> Channel:
        with unused_port() as port:
            return self.make(f"http://127.0.0.1:{port}", TIMEOUT_S)

    def shown(self) -> list[str]:
        return [self.text_of(request) for request in self.receiver.seen]

    def text_of(self, request: ReceivedRequest) -> str:
        raise NotImplementedError

    def actions(self, shown: str) -> list[str]:
        raise NotImplementedError

    def count(self) -> int:
        return len(self.receiver.seen)


class WebhookHarness(HttpHarness):
    ignores_repeats = True

    def accepting(self) -> Answer:
        return Answer(204)

    def make(self, url: str, timeout_s: float) -> Channel:
        return WebhookChannel({"": SecretUrl(f"{url}/{SECRET}")}, timeout_s)

    def text_of(self, request: ReceivedRequest) -> str:
        return str(request.body["text"])

    def actions(self, shown: str) -> list[str]:
        return control_characters(shown)


class DiscordHarness(HttpHarness):
    def accepting(self) -> Answer:
        return Answer(204)

    def make(self, url: str, timeout_s: float) -> Channel:
        return DiscordChannel(SecretUrl(HOOK), f"{url}/api/v10", timeout_s)

    def text_of(self, request: ReceivedRequest) -> str:
        assert request.body["allowed_mentions"] == {"parse": []}
        text = str(request.body["content"])
        assert len(text.encode("utf-16-le")) <= 4_000  # Discord refuses more than 2,000 units of two bytes
        return text

    def actions(self, shown: str) -> list[str]:
        unescaped = [mark for mark in "*_~`<>[]|#" if has_unescaped(shown, mark)]
        return unescaped + broken_up(shown) + control_characters(shown)


class SlackHarness(HttpHarness):
    def accepting(self) -> Answer:
        return Answer(200, b"ok")

    def make(self, url: str, timeout_s: float) -> Channel:
        return SlackChannel({"": SecretUrl(f"{url}/services/{SECRET}")}, timeout_s)

    def text_of(self, request: ReceivedRequest) -> str:
        sections = [block["text"]["text"] for block in request.body["blocks"]]
        assert all(len(section) <= 3_000 for section in sections)
        assert "".join(sections).replace("\n", "") == request.body["text"].replace("\n", "")
        return str(request.body["text"])

    def actions(self, shown: str) -> list[str]:
        marks = [mark for mark in "*_~`<>[]|#" if mark in shown]
        return marks + broken_up(shown) + control_characters(shown)


class ConsoleHarness:
    has_secret = gives_retry_after = redirects = can_fail_unclearly = ignores_repeats = False

    def __init__(self) -> None:
        self.stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        self.channel: Channel = ConsoleChannel(self.stream)
        self.broken: io.TextIOWrapper | None = None

    def close(self) -> None:
        if self.broken is not None:
            with suppress(BrokenPipeError):  # it still holds what it could not write
                self.broken.close()

    def be_busy(self, retry_after_s: int | None) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        self.broken = os.fdopen(writing, "w", encoding="utf-8")
        self.channel = ConsoleChannel(self.broken)

    def refuse(self) -> None:
        raise NotImplementedError

    redirect = drop_answers = refuse

    def hang(self) -> Channel:
        raise NotImplementedError

    def unreachable(self) -> Channel:
        self.be_busy(None)
        return self.channel

    def shown(self) -> list[str]:
        buffer = self.stream.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode().splitlines()

    def actions(self, shown: str) -> list[str]:
        return control_characters(shown)

    def count(self) -> int:
        return len(self.shown())


class EmailHarness:
    has_secret = can_fail_unclearly = True
    gives_retry_after = redirects = ignores_repeats = False

    def __init__(self, box: MailBox, certificate: Certificate) -> None:
        self.box = box
        self._certificate = certificate
        self.channel: Channel = self._make(box.port, TIMEOUT_S)

    def _make(self, port: int, timeout_s: float) -> Channel:
        server = MailServer(
            "127.0.0.1", port, "headrace@example.org", "starttls", "headrace", SECRET, self._certificate.file
        )
        return EmailChannel(server, lambda _: ["a@example.org"], timeout_s=timeout_s, total_timeout_s=TIMEOUT_S)

    def be_busy(self, retry_after_s: int | None) -> None:
        self.box.replies = {"MAIL": f"451 try again later, {SECRET}"}

    def refuse(self) -> None:
        self.box.replies = {"RCPT": f"550 no such user, {SECRET}"}

    def redirect(self) -> None:
        raise NotImplementedError

    def drop_answers(self) -> None:
        self.box.replies = {}
        self.box.drops_answer = True

    def hang(self) -> Channel:
        self.box.open.clear()
        return self._make(self.box.port, 0.2)

    def unreachable(self) -> Channel:
        with unused_port() as port:
            return self._make(port, TIMEOUT_S)

    def shown(self) -> list[str]:
        return [self._text(index) for index in range(len(self.box.mails))]

    def _text(self, index: int) -> str:
        """The HTML part, because it is what most programs show. The plain part has the same text."""
        plain, html = self.box.mails[index].iter_parts()
        page = Page(html.get_content())
        assert page.text.split() == plain.get_content().split()
        assert page.tags <= {"html", "body", "p", "strong", "br"}
        return page.text.strip()

    def actions(self, shown: str) -> list[str]:
        return broken_up(shown) + control_characters(shown)

    def count(self) -> int:
        return len(self.box.mails)


class Page(HTMLParser):
    """The text and the tags of an HTML page."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.text = ""
        self.tags: set[str] = set()
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@contextmanager
def unused_port() -> Iterator[int]:
    """A port that refuses connections, as far as anyone can know."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield unused.getsockname()[1]


@contextmanager
def harness_of(kind: str, certificate: Certificate) -> Iterator[Harness]:
    match kind:
        case "console":
            with closing(ConsoleHarness()) as harness:
                yield harness
        case "email":
            with mail_server(certificate.context, password=SECRET) as box:
                yield EmailHarness(box, certificate)
        case _:
            with receiving() as receiver:
                yield {"discord": DiscordHarness, "slack": SlackHarness, "webhook": WebhookHarness}[kind](receiver)


def has_unescaped(text: str, mark: str) -> bool:
    return mark in text.replace("\\\\", "").replace(f"\\{mark}", "")


def broken_up(text: str) -> list[str]:
    """Mentions and links that are not broken up by a zero-width space."""
    return [each for each in ("@here", "@everyone", "://", "www.") if each in text]


def control_characters(text: str) -> list[str]:
    return [character for character in text if ord(character) < 32 and character != "\n"]
