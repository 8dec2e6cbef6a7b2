"""A real mail server on a free port. It behaves as a test sets and keeps the mails that it accepts."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.waiting import DEADLINE_S

OK = "250 OK"


@dataclass
class MailBox:
    """`replies` are the answers to commands, by verb; for RCPT also by address. While `open` is not set, DATA waits.

    If `drops_answer` is set, the server keeps the mail and closes the connection without an answer.
    """

    replies: dict[str, str] = field(default_factory=dict)
    drops_answer: bool = False
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    open: threading.Event = field(default_factory=threading.Event)
    logins: list[LoginPassword] = field(default_factory=list)
    port: int = 0


class _Handler:
    """Answers the commands of one server; aiosmtpd calls the methods by their names."""

    def __init__(self, box: MailBox) -> None:
        self._box = box

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        return self._box.replies.get("MAIL", OK)

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        reply = self._box.replies.get(address, self._box.replies.get("RCPT", OK))
        if reply == OK:
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        await asyncio.get_running_loop().run_in_executor(None, self._box.open.wait, DEADLINE_S)
        reply = self._box.replies.get("DATA", OK)
        if reply == OK:
            mail = message_from_bytes(cast("bytes", envelope.content), policy=default)
            self._box.mails.append(mail)
            self._box.recipients.append(list(envelope.rcpt_tos))
        if self._box.drops_answer:
            cast("asyncio.Transport", server.transport).abort()
        return reply


@contextmanager
def mail_server(
    tls: ssl.SSLContext | None = None, implicit_tls: bool = False, password: str | None = None
) -> Iterator[MailBox]:
    """`tls`: offers STARTTLS, or with `implicit_tls` speaks TLS from the start. `password`: a login is required."""
    box = MailBox()
    box.open.set()

    def authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        box.logins.append(data)
        return AuthResult(success=data.password.decode() == password, handled=False)

    connections: list[SMTP] = []

    def connection() -> SMTP:
        smtp = SMTP(
            _Handler(box),
            hostname="mail.example",
            tls_context=None if implicit_tls else tls,
            authenticator=authenticate if password else None,
            auth_required=password is not None,
            loop=loop,
        )
        connections.append(smtp)
        return smtp

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(connection, "127.0.0.1", 0, ssl=tls if implicit_tls else None))
    box.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield box
    finally:
        box.open.set()
        asyncio.run_coroutine_threadsafe(_stop(server, connections), loop).result(DEADLINE_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def _stop(server: asyncio.Server, connections: Sequence[SMTP]) -> None:
    server.close()
    for connection in connections:
        if connection.transport is not None:
            cast("asyncio.Transport", connection.transport).abort()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0)  # the transports close their sockets
