"""Sends messages as mails, through the operator's mail server.

A server that has answered the final dot has taken responsibility for the mail. If the connection is lost before this
answer, the mail may or may not be delivered. A repeated mail has the same Message-ID; many mail programs show it once.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple

import structlog

from services.notifier.channels.base import (
    ChannelBusy,
    ChannelClosed,
    ChannelRefused,
    ChannelUncertain,
    Message,
    Receipt,
)
from services.notifier.pacing import RateLimit
from services.notifier.texts.mail_body import html_part, plain_part, subject_of
from shared.clock import SystemClock
from shared.errors import ConfigError
from shared.loopback import is_loopback

MailSecurity = Literal["starttls", "tls", "none"]
RecipientsOf = Callable[[str], Sequence[str]]
# Longer digests are cut to first lines.
MAX_DIGEST_LENGTH = 100_000
# A server that answers slowly must not hold a claim longer than its lease.
TOTAL_TIMEOUT_S = 30.0
log = structlog.get_logger("notifier.email")


class MailServer(NamedTuple):
    """How to reach the server. `password` is a secret: do not log this object; its repr hides it."""

    host: str
    port: int
    sender: str
    security: MailSecurity = "starttls"
    user: str | None = None
    password: str | None = None
    ca_file: Path | None = None

    def __repr__(self) -> str:
        return f"MailServer({self.host!r}, {self.port}, {self.security!r})"


class EmailChannel:
    """`recipients_of` returns the mail addresses of a destination's name; the empty name is the address without one."""

    name = "email"
    rate = RateLimit(burst=5, per_s=1)
    max_digest_length = MAX_DIGEST_LENGTH

    def __init__(
        self,
        server: MailServer,
        recipients_of: RecipientsOf,
        digest_every_s: float = 300,
        timeout_s: float = 5,
        total_timeout_s: float = TOTAL_TIMEOUT_S,
    ) -> None:
        """`timeout_s` limits each step of the protocol. Raises ConfigError if the server's settings are not safe."""
        if server.security == "none" and not is_loopback(server.host):
            raise ConfigError(f"email: the connection to {server.host} must be encrypted: use starttls or tls")
        self.pace = RateLimit(burst=1, per_s=1 / digest_every_s)
        self._server = server
        self._recipients_of = recipients_of
        self._timeout_s = timeout_s
        self._total_timeout_s = total_timeout_s
        self._tls = ssl.create_default_context(cafile=server.ca_file)

    def __repr__(self) -> str:
        return f"EmailChannel({self._server!r})"

    def send(self, message: Message) -> Receipt:
        recipients = self._recipients_of(message.destination)
        if not recipients:
            raise ChannelClosed(f"email has no recipients for {message.destination or 'messages without a name'}")
        mail = mail_of(message, self._server.sender, recipients)
        failure: Exception
        try:
            with self._session() as session:
                self._hand_over(session, mail, recipients)
            return Receipt(mail["Message-ID"])
        except (ChannelBusy, ChannelRefused, ChannelUncertain) as error:
            failure = error
        except smtplib.SMTPAuthenticationError as error:
            failure = _error_of_reply(error.smtp_code, "notifier.email_user and its password", ChannelClosed)
        except smtplib.SMTPNotSupportedError:
            failure = ChannelClosed("email: the server offers no STARTTLS (notifier.email_security), or no login")
        except (OSError, ValueError) as error:
            failure = ChannelBusy(f"email: the server cannot be reached: {type(error).__name__}")
        # Raised outside of `except`: a server may repeat the password in its answer, so the error is not chained.
        raise failure

    @contextmanager
    def _session(self) -> Iterator[smtplib.SMTP]:
        """A connection with TLS and login, which is cut after the total time-out."""
        server = self._server
        if server.security == "tls":
            session: smtplib.SMTP = smtplib.SMTP_SSL(
                server.host, server.port, timeout=self._timeout_s, context=self._tls
            )
        else:
            session = smtplib.SMTP(server.host, server.port, timeout=self._timeout_s)
        cut = threading.Timer(self._total_timeout_s, _cut, (session.sock,))
        cut.daemon = True
        cut.start()
        try:
            if server.security == "starttls":
                session.starttls(context=self._tls)
            if server.user is not None:
                session.login(server.user, server.password or "")
            yield session
        finally:
            cut.cancel()
            session.close()

    def _hand_over(self, session: smtplib.SMTP, mail: EmailMessage, recipients: Sequence[str]) -> None:
        """Send the mail. Raises ChannelUncertain if the connection is lost after the final dot."""
        session.ehlo_or_helo_if_needed()
        _expect(session.mail(self._server.sender), 250, "the sender", ChannelClosed)
        codes = [session.rcpt(recipient)[0] for recipient in recipients]
        # Those that are refused for now would miss the mail if the others got it.
        if (busy := next((code for code in codes if 400 <= code < 500), None)) is not None:
            raise ChannelBusy(f"email: the server does not accept a recipient now ({busy})")
        accepted = [code for code in codes if code < 400]
        if not accepted:
            raise ChannelClosed(f"email: the server refused every recipient ({codes[0]})")
        _expect(session.docmd("DATA"), 354, "the mail")
        content = smtplib.quotedata(mail.as_bytes(policy=SMTP).decode("ascii"))
        session.send(content.removesuffix("\r\n") + "\r\n.\r\n")
        try:
            reply = session.getreply()
        except (OSError, smtplib.SMTPException) as error:
            raise ChannelUncertain(f"email: no answer after the mail: {type(error).__name__}") from None
        _expect(reply, 250, "the mail")
        if len(accepted) < len(codes):
            log.warning("email_recipients_refused", refused=len(codes) - len(accepted), recipients=len(codes))
        with suppress(OSError, smtplib.SMTPException):
            session.quit()


def mail_of(message: Message, sender: str, recipients: Sequence[str]) -> EmailMessage:
    """The mail of a message, as plain text and as HTML. Its Message-ID is the same in every attempt."""
    mail = EmailMessage(policy=SMTP)
    text = message.text
    if message.content is not None and message.content.details:
        text = f"{text}\n\n{message.content.details}"
    digest = sha256(message.message_id.encode()).hexdigest()[:32]
    mail["Message-ID"] = f"<{digest}.headrace@{sender.rpartition('@')[2]}>"
    mail["Date"] = format_datetime(SystemClock().now())
    mail["From"] = sender
    mail["To"] = ", ".join(recipients)
    mail["Subject"] = subject_of(message.text)
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(plain_part(text), cte="quoted-printable")
    mail.add_alternative(html_part(text), subtype="html", cte="quoted-printable")
    return mail


def _expect(reply: tuple[int, bytes], code: int, what: str, refusal: type[ChannelRefused] = ChannelRefused) -> None:
    if reply[0] != code:
        raise _error_of_reply(reply[0], what, refusal)


def _error_of_reply(code: int, what: str, refusal: type[ChannelRefused]) -> ChannelBusy | ChannelRefused:
    """`refusal` if it is final. The server's text is left out: it may repeat what it was sent."""
    if 500 <= code < 600:
        return refusal(f"email: the server refused {what} ({code})")
    return ChannelBusy(f"email: the server did not accept {what} now ({code})")


def _cut(connection: socket.socket | None) -> None:
    if connection is not None:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
