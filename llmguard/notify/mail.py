"""Mail: that something waits, and the link. Nothing can be decided by answering.

SMTP in a thread of its own, over TLS (``smtps``), or STARTTLS, which is demanded of every other machine than this one.
No header holds other people's words.
"""

from __future__ import annotations

import asyncio
import logging
import smtplib
import ssl
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from email.utils import formatdate
from urllib.parse import urlsplit

from llmguard.channels import Channel
from llmguard.notify.failure import Undelivered
from llmguard.notify.message import Message
from llmguard.notify.outgoing import Outgoing

log = logging.getLogger("llmguard")
TIMEOUT = 10.0
"""Seconds for each step of the conversation."""
WHOLE = 40.0
"""Seconds for all of it."""


class Mail:
    """Speaks to one server, one mail after the other."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._thread = ThreadPoolExecutor(1, "llmguard-mail")

    async def deliver(self, out: Outgoing, message: Message) -> str:
        await self._send(written(self._channel, message))
        return ""

    async def greet(self, out: Outgoing) -> None:
        text = f"llmguard writes to this address as the channel {self._channel.name}. Nothing is asked of anybody.\n"
        await self._send(_mail(self._channel, "llmguard: a test", text, None))

    async def _send(self, mail: EmailMessage) -> None:
        loop = asyncio.get_running_loop()
        try:
            await asyncio.wait_for(loop.run_in_executor(self._thread, _spoken, self._channel, mail), WHOLE)
        except TimeoutError:
            raise Undelivered("timeout") from None


def written(channel: Channel, message: Message) -> EmailMessage:
    """The mail of an event."""
    card = message.card
    lines = [card.title, "", *(f"{name}: {value}" for name, value in card.facts)]
    if card.excerpt:
        lines += ["", f"Leaves, redacted: {card.excerpt}"]
    decide = "Decide it in the inbox:" if card.open else "See it in the inbox:"
    lines += ["", decide, card.link or f"llmguard approvals show {card.approval}", ""]
    return _mail(channel, f"llmguard: {card.title.lower()} ({card.approval})", "\n".join(lines), message.id)


def _mail(channel: Channel, subject: str, text: str, id_: str | None) -> EmailMessage:
    """``EmailMessage`` itself refuses a line feed in a header."""
    mail = EmailMessage()
    mail["From"] = channel.sender
    mail["To"] = ", ".join(channel.to)
    mail["Subject"] = subject
    mail["Date"] = formatdate(usegmt=True)
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence note answers it
    if id_ is not None:
        mail["Message-ID"] = f"<{id_}.{channel.name}@llmguard.invalid>"
    mail.set_content(text)
    return mail


def _spoken(channel: Channel, mail: EmailMessage) -> None:
    """One conversation. Raises Undelivered."""
    parts = urlsplit(channel.address)
    host, tls = parts.hostname or "", ssl.create_default_context()
    try:
        if parts.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(host, parts.port or 465, timeout=TIMEOUT, context=tls)
        else:
            server = smtplib.SMTP(host, parts.port or 587, timeout=TIMEOUT)
        with server:
            if parts.scheme == "smtp" and not channel.local:
                server.starttls(context=tls)
            if channel.user:
                server.login(channel.user, channel.token or "")
            if refused := server.send_message(mail, channel.sender, channel.to):
                log.error(
                    "the channel %s: %d of %d recipients were refused", channel.name, len(refused), len(channel.to)
                )
    except ssl.SSLError:
        raise Undelivered("certificate") from None
    except smtplib.SMTPNotSupportedError:
        raise Undelivered("no_tls") from None
    except smtplib.SMTPResponseException as e:
        raise Undelivered(f"smtp_{e.smtp_code}", permanent=e.smtp_code in _NEVER) from None
    except smtplib.SMTPRecipientsRefused:
        raise Undelivered("recipients_refused") from None
    except (smtplib.SMTPException, OSError):
        raise Undelivered("unreachable") from None


_NEVER = frozenset({550, 551, 552, 553, 554})
"""Replies about this mail, not about the server (RFC 5321 §4.2.3)."""
