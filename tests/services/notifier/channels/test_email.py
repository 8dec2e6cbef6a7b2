"""What only the mail channel does. contract/test_channels.py has what it shares with the others."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import pytest

from services.notifier.channels.base import ChannelBusy, ChannelClosed, ChannelRefused, ChannelUncertain, Message
from services.notifier.channels.email import EmailChannel, MailSecurity, MailServer
from services.notifier.texts.content import Content
from shared.errors import ConfigError
from tests.certificates import Certificate
from tests.services.notifier.mail_server import MailBox, mail_server

MESSAGE = Message("id/tip", UUID(int=5), "tip", "k", "**Tip** · 1 < 2\nmore")
PASSWORD = "s3cret"
PEOPLE = {"": ["a@example.org", "b@example.org"], "ops": ["ops@example.org"]}


def recipients_of(name: str) -> Sequence[str]:
    return PEOPLE.get(name, ())


def channel_to(
    box: MailBox, certificate: Certificate, security: MailSecurity = "none", password: str | None = None
) -> EmailChannel:
    server = MailServer(
        "127.0.0.1", box.port, "headrace@example.org", security, password and "user", password, certificate.file
    )
    return EmailChannel(server, recipients_of, timeout_s=60, total_timeout_s=60)


def test_a_mail_has_text_and_html_and_goes_to_all_recipients(certificate: Certificate) -> None:
    with mail_server() as box:
        receipt = channel_to(box, certificate).send(MESSAGE._replace(content=Content(details="details")))

    (mail,) = box.mails
    plain, html = mail.iter_parts()
    assert box.recipients == [["a@example.org", "b@example.org"]]
    assert (mail["From"], mail["To"]) == ("headrace@example.org", "a@example.org, b@example.org")
    assert mail["Subject"] == "Tip · 1 < 2"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-ID"] == receipt.external_id
    assert plain.get_content().splitlines() == ["Tip · 1 < 2", "more", "", "details"]
    assert "<strong>Tip</strong> · 1 &lt; 2<br>" in html.get_content()


def test_each_attempt_of_a_message_has_the_same_id_and_no_other_message_has(certificate: Certificate) -> None:
    with mail_server() as box:
        for message_id in ("one", "one", "two"):
            channel_to(box, certificate).send(MESSAGE._replace(message_id=message_id))

    first, again, other = [mail["Message-ID"] for mail in box.mails]
    assert first == again != other
    assert first.endswith(".headrace@example.org>")


def test_a_name_selects_the_recipients(certificate: Certificate) -> None:
    with mail_server() as box:
        channel_to(box, certificate).send(MESSAGE._replace(destination="ops"))
        with pytest.raises(ChannelClosed, match="no recipients for races"):
            channel_to(box, certificate).send(MESSAGE._replace(destination="races"))

    assert box.recipients == [["ops@example.org"]]


def test_a_mail_is_sent_over_tls(certificate: Certificate) -> None:
    with mail_server(certificate.context, implicit_tls=True) as box:
        channel_to(box, certificate, "tls").send(MESSAGE)

    assert len(box.mails) == 1


def test_the_connection_is_encrypted_before_the_login(certificate: Certificate) -> None:
    with mail_server(certificate.context, password=PASSWORD) as box:
        channel_to(box, certificate, "starttls", PASSWORD).send(MESSAGE)

    assert len(box.mails) == 1
    assert [login.password for login in box.logins] == [PASSWORD.encode()]


def test_a_server_without_starttls_gets_neither_password_nor_mail(certificate: Certificate) -> None:
    with mail_server() as box, pytest.raises(ChannelClosed, match="STARTTLS"):
        channel_to(box, certificate, "starttls", PASSWORD).send(MESSAGE)

    assert (box.logins, box.mails) == ([], [])


def test_a_server_with_an_unknown_certificate_gets_neither_password_nor_mail(certificate: Certificate) -> None:
    with mail_server(certificate.context, password=PASSWORD) as box:
        server = MailServer("127.0.0.1", box.port, "headrace@example.org", "starttls", "user", PASSWORD)
        with pytest.raises(ChannelBusy, match="SSLCertVerificationError"):
            EmailChannel(server, recipients_of, timeout_s=60).send(MESSAGE)

    assert (box.logins, box.mails) == ([], [])


def test_a_wrong_password_is_refused(certificate: Certificate) -> None:
    with (
        mail_server(certificate.context, password=PASSWORD) as box,
        pytest.raises(ChannelClosed, match=r"email_user and its password \(535\)"),
    ):
        channel_to(box, certificate, "starttls", "wrong").send(MESSAGE)

    assert box.mails == []


def test_one_refused_recipient_does_not_keep_the_mail_from_the_others(certificate: Certificate) -> None:
    with mail_server() as box:
        box.replies["a@example.org"] = "550 no such user"
        channel_to(box, certificate).send(MESSAGE)

    assert box.recipients == [["b@example.org"]]


def test_a_recipient_that_is_busy_lets_all_get_the_mail_later(certificate: Certificate) -> None:
    with mail_server() as box:
        box.replies["b@example.org"] = "450 try again"
        with pytest.raises(ChannelBusy, match="450"):
            channel_to(box, certificate).send(MESSAGE)

    assert box.mails == []


@pytest.mark.parametrize(("reply", "error"), [("451 later", ChannelBusy), ("554 looks like spam", ChannelRefused)])
def test_an_answer_after_the_mail_is_certain(
    certificate: Certificate, reply: str, error: type[ChannelBusy | ChannelRefused]
) -> None:
    with mail_server() as box:
        box.replies["DATA"] = reply
        with pytest.raises(error):
            channel_to(box, certificate).send(MESSAGE)

    assert box.mails == []


@pytest.mark.parametrize("command", ["MAIL", "RCPT"])
def test_a_refusal_before_the_mail_closes_the_address(certificate: Certificate, command: str) -> None:
    with mail_server() as box:
        box.replies[command] = "550 not allowed"
        with pytest.raises(ChannelClosed, match="550"):
            channel_to(box, certificate).send(MESSAGE)


def test_a_name_cannot_add_a_header_or_end_the_mail(certificate: Certificate) -> None:
    text = "Tip\r\nBcc: victim@example.org\r\n.\r\nMAIL FROM:<evil@example.org>\r\n.hidden"
    with mail_server() as box:
        channel_to(box, certificate).send(MESSAGE._replace(text=text))

    (mail,) = box.mails
    assert (mail["Subject"], mail["Bcc"]) == ("Tip", None)
    assert box.recipients == [["a@example.org", "b@example.org"]]
    plain, _ = mail.iter_parts()
    assert [line for line in plain.get_content().splitlines() if line][-1] == ".hidden"


def test_a_server_that_answers_too_slowly_in_all_is_left(certificate: Certificate) -> None:
    with mail_server() as box:
        box.open.clear()
        server = MailServer("127.0.0.1", box.port, "headrace@example.org", "none")
        with pytest.raises((ChannelBusy, ChannelUncertain)):
            EmailChannel(server, recipients_of, timeout_s=60, total_timeout_s=0.2).send(MESSAGE)


def test_only_this_machine_may_be_reached_without_encryption() -> None:
    with pytest.raises(ConfigError, match="must be encrypted"):
        EmailChannel(MailServer("mail.example.org", 25, "headrace@example.org", "none"), recipients_of)
