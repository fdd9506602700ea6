"""An issuer of tokens on loopback: its key set and discovery over real HTTP, and a hand that signs anything."""

from __future__ import annotations

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

AUDIENCE, CLIENT = "https://guard.example", "billing-bot"


class Issuer:
    """``with Issuer() as issuer: issuer.token(sub=…)``. ``asked`` are the paths that were fetched, in order."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {"first": RSAKey.generate_key(2048, {"kid": "first"})}
        self.published = ["first"]
        self.asked: list[str] = []
        self.status = 200
        self.document: bytes | None = None
        self.redirect: str | None = None
        issuer = self

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                if issuer.redirect:
                    self.send_response(302)
                    self.send_header("location", issuer.redirect)
                    self.end_headers()
                    return
                body = issuer.document if issuer.document is not None else json.dumps(issuer.page(self.path)).encode()
                self.send_response(issuer.status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def page(self, path: str) -> Any:
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        return {"keys": [self.public(name) for name in self.published]}

    def public(self, name: str) -> dict[str, Any]:
        return {**self.keys[name].as_dict(private=False), "kid": name}

    def add(self, name: str, kind: str = "RSA", *, publish: bool = True) -> None:
        makers = {"RSA": (RSAKey, 2048), "EC": (ECKey, "P-256"), "OKP": (OKPKey, "Ed25519")}
        cls, parameter = makers[kind]
        self.keys[name] = cls.generate_key(parameter, {"kid": name})  # type: ignore[attr-defined]
        if publish:
            self.published.append(name)

    def claims(self, **more: Any) -> dict[str, Any]:
        """What an access token of the billing bot says; a value of None leaves a claim out."""
        now = int(time.time())
        told = {"iss": self.url, "aud": AUDIENCE, "sub": CLIENT, "client_id": CLIENT, "iat": now, "exp": now + 600}
        return {name: value for name, value in {**told, **more}.items() if value is not None}

    def token(self, *, header: dict[str, Any] | None = None, key: str = "first", **claims: Any) -> str:
        head = {"typ": "at+jwt", "alg": "RS256", "kid": key} | (header or {})
        return self.sign({k: v for k, v in head.items() if v is not None}, self.claims(**claims), self.keys[key])

    @staticmethod
    def sign(header: dict[str, Any], claims: Any, key: Any) -> str:
        payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
        signed = b".".join((part(json.dumps(header).encode()), part(payload)))
        algorithm = JWSRegistry.algorithms[header["alg"]]
        return (signed + b"." + part(algorithm.sign(signed, key))).decode()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()


def part(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
