"""The way to the provider: forward proxies, certificates, kept connections, and answers that are none."""

from __future__ import annotations

import datetime
import ipaddress
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from llmguard.errors import ConfigError
from llmguard.proxy.upstream import forward_proxy
from llmguard.testing import Fakes
from tests.proxy.test_upstream import Line, _local, said
from tests.wire import Wire, answer, forward

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXIES, "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


# --------------------------------------------------------------------------- certificates and proxies


class Authority:
    """A certificate authority and what it signs, as PEM files."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority of the tests")])
        self.file = folder / "ca.pem"
        self.file.write_bytes(self._signed(self._name, self._key, True).public_bytes(serialization.Encoding.PEM))

    def certificate(self, name: str) -> Path:
        """A file with a certificate for a host name and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        file = self._folder / f"{name}.pem"
        file.write_bytes(
            self._signed(subject, key, False).public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return file

    def _signed(self, subject: x509.Name, key: Any, ca: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        common = subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
        names = [x509.IPAddress(ipaddress.ip_address(common))] if common == "127.0.0.1" else [x509.DNSName(str(common))]
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(x509.KeyUsage(True, False, False, False, False, ca, ca, False, False), critical=True)
        )
        if not ca:
            made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return made.sign(self._key, hashes.SHA256())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@contextmanager
def secured(wire: Wire, certificate: Path, authority: Path | None = None) -> Iterator[int]:
    """The port of a TLS server before a provider. With an authority, it asks for a certificate of it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if authority:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(authority)

    def serve(connection: socket.socket) -> None:
        with suppress(OSError), context.wrap_socket(connection, server_side=True) as s:
            wire._serve(s)

    with listening(serve) as port:
        yield port


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    listener, open_ = socket.create_server(("127.0.0.1", 0)), []

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                open_.append(connection)
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    with suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for connection in open_:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()
    thread.join(5)


class Tunnels:
    """The work of a CONNECT proxy that knows one name."""

    def __init__(self, name: str, port: int) -> None:
        self._name, self._port = name, port
        self.heads: list[bytes] = []

    def __call__(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65536)
            self.heads.append(head)
            if not head.startswith(f"CONNECT {self._name}:443 ".encode()):
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
                return
            with socket.create_connection(("127.0.0.1", self._port)) as onward:
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=self._copy, args=(onward, connection), daemon=True)
                back.start()
                self._copy(connection, onward)

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("by", ["upstream_ca", "SSL_CERT_FILE"])
def test_the_provider_is_reached_through_a_proxy_and_known_by_its_certificate(
    tmp_path: Path, authority: Authority, fakes: Fakes, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    email, changes = fakes.email(), {"upstream": "https://provider.test", "upstream_ca": authority.file}
    if by == "SSL_CERT_FILE":
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        del changes["upstream_ca"]
    with Wire(answer(said("fine"))) as wire, secured(wire, authority.certificate("provider.test")) as port:
        tunnels = Tunnels("provider.test", port)
        with listening(tunnels) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://user:word@127.0.0.1:{proxy}")
            with _local(wire, tmp_path, **changes) as local:
                response = Line(wire, local).ask(email)
    assert response.json()["choices"][0]["message"]["content"] == "fine"
    [head] = tunnels.heads
    assert b"Proxy-Authorization: Basic" in head
    assert b"provider-key" not in head
    [request] = wire.requests
    assert b"bearer provider-key" in request.lower()
    assert b"proxy-authorization" not in request.lower()
    assert email.encode() not in request


def test_a_plain_provider_is_reached_through_a_proxy_too(
    tmp_path: Path, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    email = fakes.email()

    def reply(connection: socket.socket, request: bytes) -> None:
        forward(connection, request.replace(b"http://provider.test", provider.url.encode(), 1))

    with Wire(answer(said("fine"))) as provider, Wire(reply) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        with _local(provider, tmp_path, upstream="http://provider.test") as local:
            assert Line(provider, local).ask(email).status_code == 200
    assert proxy.requests[0].startswith(b"POST http://provider.test/v1/chat/completions HTTP/1.1\r\n")
    assert email.encode() not in b"".join(proxy.requests)


@pytest.mark.parametrize("wrong", ["unknown authority", "another name", "no proxy", "proxy refuses"])
def test_a_way_that_cannot_be_trusted_is_not_taken(
    tmp_path: Path, authority: Authority, fakes: Fakes, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    name = "another.test" if wrong == "another name" else "provider.test"
    changes: dict[str, Any] = {"upstream": "https://provider.test", "upstream_ca": authority.file}
    if wrong == "unknown authority":
        del changes["upstream_ca"]
    with Wire(answer(said("fine"))) as wire, secured(wire, authority.certificate(name)) as port:
        tunnels = Tunnels("nobody.test" if wrong == "proxy refuses" else "provider.test", port)
        with listening(tunnels) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{9 if wrong == 'no proxy' else proxy}")
            with _local(wire, tmp_path, **changes) as local:
                response = Line(wire, local).ask(fakes.email())
    assert response.status_code == 502
    assert "nothing was sent" in response.json()["error"]["message"]
    assert not wire.requests


def test_a_provider_that_asks_for_a_certificate_gets_it(tmp_path: Path, authority: Authority) -> None:
    own = authority.certificate("guard.test")
    with (
        Wire(answer(said("fine"))) as wire,
        secured(wire, authority.certificate("127.0.0.1"), authority.file) as port,
    ):
        changes: dict[str, Any] = {"upstream": f"https://127.0.0.1:{port}", "upstream_ca": authority.file}
        with _local(wire, tmp_path / "with", upstream_cert=own, **changes) as local:
            assert Line(wire, local).ask().status_code == 200
        with _local(wire, tmp_path / "without", **changes) as local:
            assert Line(wire, local).ask().status_code == 502
    assert len(wire.requests) == 1


def test_which_proxy_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "secure.example:3128")
    monkeypatch.setenv("ALL_PROXY", "http://all.example:3128")
    monkeypatch.setenv("NO_PROXY", "internal.example, other.example:8443")
    assert forward_proxy("https://api.openai.com") == "http://secure.example:3128"
    assert forward_proxy("http://api.openai.com") == "http://all.example:3128"
    for direct in ("https://internal.example", "https://llm.internal.example/v1", "https://other.example:8443"):
        assert forward_proxy(direct) is None
    for here in ("http://127.0.0.1:9", "http://localhost:9", "http://[::1]:9"):
        assert forward_proxy(here) is None
    monkeypatch.setenv("HTTPS_PROXY", "socks5://secure.example:1080")
    with pytest.raises(ConfigError, match="HTTPS_PROXY"):
        forward_proxy("https://api.openai.com")


# --------------------------------------------------------------------------- kept connections


def test_an_answer_that_nobody_asked_for_is_not_the_next_ones(tmp_path: Path) -> None:
    """A second answer on a kept connection would otherwise be read by whoever calls next."""
    sent = threading.Event()

    def reply(connection: socket.socket, _: bytes) -> None:
        connection.sendall(answer(said("mine")))
        if not sent.is_set():
            threading.Timer(0.2, lambda: (connection.sendall(answer(said("poison"))), sent.set())).start()

    with Wire(reply) as wire, _local(wire, tmp_path) as local:
        line = Line(wire, local)
        assert "mine" in line.ask().text
        assert sent.wait(5)
        for _ in range(3):
            assert "mine" in line.ask().text


@pytest.mark.parametrize("method", ["POST", "DELETE", "GET"])
def test_what_may_have_arrived_is_not_sent_again(tmp_path: Path, method: str) -> None:
    """The provider takes the second request of a connection and hangs up without a word."""

    def reply(connection: socket.socket, _: bytes) -> None:
        if len(wire.requests) == 2:
            connection.shutdown(socket.SHUT_RDWR)
        else:
            connection.sendall(answer(b'{"id": "resp_1"}'))

    with Wire(reply) as wire, _local(wire, tmp_path) as local:
        key = local.key("app", "ann@example.org")
        path, body = ("/responses", b'{"model": "m", "input": "x"}') if method == "POST" else ("/responses/resp_1", b"")
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        codes = [
            httpx.request(method, local.url + path, content=body, headers=headers, trust_env=False).status_code
            for _ in range(3)
        ]
    assert codes == [200, 502, 200]
    assert len(wire.requests) == 3


def test_a_connection_that_the_provider_closed_meanwhile_is_not_used(tmp_path: Path) -> None:
    closed = threading.Event()

    def reply(connection: socket.socket, _: bytes) -> None:
        connection.sendall(answer(said("x")))
        connection.shutdown(socket.SHUT_WR)
        closed.set()

    with Wire(reply) as wire, _local(wire, tmp_path) as local:
        line = Line(wire, local)
        for _ in range(3):
            assert line.ask().status_code == 200
            assert closed.wait(5)
            closed.clear()
            threading.Event().wait(0.1)
        assert wire.connections == 3


# --------------------------------------------------------------------------- answers that are none

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
NONE: dict[str, bytes] = {
    "interim answers for ever": b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000,
    "early hints for ever": b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * 100_000,
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    "a status of 999": b"HTTP/1.1 999 Odd\r\ncontent-length: 2\r\n\r\n{}",
    "a status of 000": b"HTTP/1.1 000 Odd\r\ncontent-length: 2\r\n\r\n{}",
    "a null byte in a header": HEAD + b"x-a: b\x00c\r\ncontent-length: 2\r\n\r\n{}",
    "a bare carriage return in a header": HEAD + b"x-a: b\rset-cookie: c\r\ncontent-length: 2\r\n\r\n{}",
    "a bell in a header": HEAD + b"x-a: \x07\r\ncontent-length: 2\r\n\r\n{}",
    "a name with a space": HEAD + b"x a: b\r\ncontent-length: 2\r\n\r\n{}",
    "two lengths": HEAD + b"content-length: 2\r\ncontent-length: 50\r\n\r\n{}",
    "length and chunks": HEAD + b"content-length: 50\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "a negative length": HEAD + b"content-length: -2\r\n\r\n{}",
    "a length that is too long": HEAD + b"content-length: 50\r\nconnection: close\r\n\r\n{}",
    "a chunk without a size": HEAD + b"transfer-encoding: chunked\r\n\r\nhello\r\n",
    "a chunk that is cut": HEAD + b"transfer-encoding: chunked\r\n\r\n50\r\n{}",
    "chunks without an end": HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n",
    "a redirect to another host": b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n",
    "a redirect without a place": b"HTTP/1.1 300 Choices\r\ncontent-length: 2\r\n\r\n{}",
    "not modified": b"HTTP/1.1 304 Not Modified\r\n\r\n",
}


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    with Wire() as wire, _local(wire, tmp_path_factory.mktemp("guard")) as local:
        yield Line(wire, local)


@pytest.mark.parametrize("said_", NONE.values(), ids=NONE)
def test_what_is_no_answer_is_a_bad_gateway_and_nothing_of_it_comes_through(
    line: Line, fakes: Fakes, said_: bytes
) -> None:
    def reply(connection: socket.socket, _: bytes) -> None:
        with suppress(OSError):
            connection.sendall(said_)
            connection.shutdown(socket.SHUT_WR)

    for text in (fakes.email(), "clean"):
        line.says(reply)
        response = None
        with suppress(httpx.RemoteProtocolError, httpx.ReadError):  # a clean answer passes as it comes, cut as it came
            response = line.ask(text)
        if response is not None:
            assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_error")
            assert not {"location", "set-cookie", "upgrade"} & set(response.headers)
        line.says(answer(said("fine")))
        assert line.ask().status_code == 200


def test_a_head_that_drips_is_given_up(tmp_path: Path) -> None:
    def reply(connection: socket.socket, _: bytes) -> None:
        with suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while True:
                connection.sendall(b"x")
                threading.Event().wait(0.05)

    with Wire(reply) as wire, _local(wire, tmp_path, read_timeout=0.3, connect_timeout=0.3) as local:
        response = Line(wire, local).ask()
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_error")


def test_a_provider_that_does_not_take_the_request_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmguard.proxy.upstream.SLOWEST", 1 << 30)
    with (
        listening(lambda connection: threading.Event().wait(10) and None) as port,
        Wire() as wire,
        _local(wire, tmp_path, upstream=f"http://127.0.0.1:{port}", read_timeout=0.3, connect_timeout=0.3) as local,
    ):
        response = Line(wire, local).ask("many words " * 1_000_000)
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_error")
    assert json.loads(response.text)
