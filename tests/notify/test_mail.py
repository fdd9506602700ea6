"""Mail: over TLS or not at all, a link and no more, and no header of anybody else."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Callable
from dataclasses import replace
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from llmguard.channels import Channel
from llmguard.notify import deliveries, mail
from llmguard.notify.card import Card
from llmguard.notify.message import Message
from tests.desks import TENANT, Desk
from tests.notify.counterparts import mail_server
from tests.notify.test_slack import HOSTILE, hold

Tell = Callable[..., None]
ADDRESSES = {"to": ("bo@example.com", "cy@example.com"), "sender": "guard@example.com"}


def problem(desk: Desk) -> str:
    return desk.store.read(lambda tx: deliveries.health(tx, TENANT, "post")).problem


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Of localhost, by itself: a file with the certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "localhost.pem"
    path.write_bytes(pem)
    return path


def serving(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_a_mail_says_what_waits_and_where(desk: Desk, tell: Tell) -> None:
    approval = desk.hold()
    with mail_server() as server:
        channel = Channel("post", "email", url=f"smtp://127.0.0.1:{server.port}", **ADDRESSES)
        tell(channel)
        [received] = server.mails
    read = message_from_bytes(received, policy=default)
    assert read["To"] == "bo@example.com, cy@example.com"
    assert read["Subject"] == f"llmguard: waits for approval ({approval.id})"
    assert read["Auto-Submitted"] == "auto-generated"
    text = read.get_content().replace("\r\n", "\n")
    assert f"Decide it in the inbox:\n{desk.approvals.link(approval)}\n" in text
    assert "Found: 1 PERSON\n" in text
    assert read.get_content_type() == "text/plain"


@pytest.mark.parametrize("words", HOSTILE.values(), ids=HOSTILE.keys())
def test_other_peoples_words_make_no_header_and_no_line(desk: Desk, tell: Tell, words: str) -> None:
    words = f"x\r\nBcc: eve@evil.example\r\n\r\n{words}"
    hold(desk, operation=words, rule=words, findings={words: 2})
    with mail_server() as server:
        tell(Channel("post", "email", url=f"smtp://127.0.0.1:{server.port}", **ADDRESSES))
        [received] = server.mails
        assert len(server.recipients) == 2
    read = message_from_bytes(received, policy=default)
    assert "Bcc" not in read
    assert "\nBcc" not in read.get_content().replace("\r", "\n")


def test_a_header_that_would_break_is_refused_by_the_library_too() -> None:
    card = Card("01", "x\nBcc: eve@evil.example", (), "", "", True, "0", 1)
    channel = Channel("post", "email", url="smtps://localhost", **ADDRESSES)
    with pytest.raises(ValueError, match="linefeed"):
        mail.written(channel, Message("1", "pending", card, {}, 0, "", True))


@pytest.mark.parametrize("at_once", [True, False], ids=["tls", "starttls"])
def test_over_a_network_it_goes_encrypted_to_whom_we_know(
    desk: Desk, tell: Tell, certificate: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    monkeypatch.setattr(Channel, "local", False)  # as if localhost were another machine
    desk.hold()
    with mail_server(serving(certificate), at_once=at_once) as server:
        url = f"{'smtps' if at_once else 'smtp'}://localhost:{server.port}"
        channel = Channel("post", "email", url=url, user="guard", token="the password", **ADDRESSES)
        tell(channel)
        assert not server.mails
        assert not server.logins, "the password goes to nobody whose certificate does not hold"
        assert problem(desk) == "certificate"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        desk.now += 10_000
        tell(channel)
        assert len(server.mails) == 1
        assert server.logins == [("guard", "the password")]


def test_a_server_that_offers_no_encryption_gets_nothing(
    desk: Desk, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Channel, "local", False)
    desk.hold()
    with mail_server() as server:
        channel = Channel("post", "email", url=f"smtp://localhost:{server.port}", user="u", token="p", **ADDRESSES)
        tell(channel)
        assert not server.mails
        assert not server.logins
    assert problem(desk) == "no_tls"


@pytest.mark.parametrize(("code", "kept"), [(451, True), (554, False)])
def test_what_the_server_refuses_for_now_is_tried_again(desk: Desk, tell: Tell, code: int, kept: bool) -> None:
    desk.hold()
    with mail_server(code=code) as server:
        tell(Channel("post", "email", url=f"smtp://127.0.0.1:{server.port}", **ADDRESSES))
    assert problem(desk) == f"smtp_{code}"
    assert ("notification.failed" in desk.log()) == (not kept)


def test_a_mail_without_a_link_names_the_command() -> None:
    channel = Channel("post", "email", url="smtps://localhost", **ADDRESSES)
    card = Card("01", "Waits", (), "", "", True, "0", 1)
    made: EmailMessage = mail.written(channel, Message("1", "pending", card, {}, 0, "", True))
    assert "llmguard approvals show 01" in made.get_content()
    assert replace(card, open=False).votable is False
