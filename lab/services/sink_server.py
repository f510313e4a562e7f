"""The sink's program: SMTP at 587 (STARTTLS) and 465 (TLS from the first byte), HTTPS at 443.

Runs as it stands here, without the project: standard library only.

    sink_server.py ADDRESS CERTIFICATE KEY

Who may do what stands in the environment: SINK_USER and SINK_PASSWORD (mail, over TLS), SINK_HOOK and SINK_BEAT
(the last words of URLs), SINK_TOKEN (who may see what came, and set faults).
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import socketserver
import ssl
import sys
import threading
import time
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FAULTS = ("refuse", "slow", "drop")
WAYS = ("mail", "hook", "beat")
_SLOW_SECONDS = 40
_MOST = 2000
_LONGEST = 1_000_000


class Kept:
    """What came, and how the ways misbehave."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._messages: list[dict[str, Any]] = []
        self._faults: dict[str, str] = {}

    def add(self, way: str, client: str, content: dict[str, Any]) -> None:
        """Keep one that was taken."""
        with self._lock:
            self._messages.append({"way": way, "at": time.time(), "client": client, **content})
            del self._messages[:-_MOST]

    def show(self) -> dict[str, Any]:
        """All of it."""
        with self._lock:
            return {"messages": list(self._messages), "faults": dict(self._faults)}

    def clear(self) -> None:
        """Nothing came, and all is well."""
        with self._lock:
            self._messages.clear()
            self._faults.clear()

    def break_(self, faults: Any) -> None:  # noqa: ANN401 - whatever was sent
        """From now on these faults. Raises `ValueError`."""
        if not isinstance(faults, dict) or set(faults) - set(WAYS) or set(faults.values()) - set(FAULTS):
            raise ValueError(f"faults are {{way: fault}}: of {', '.join(WAYS)}, one of {', '.join(FAULTS)}")
        with self._lock:
            self._faults = dict(faults)

    def fault(self, way: str) -> str:
        """How it misbehaves at the moment, after having been slow where it is; "" when it does not."""
        with self._lock:
            fault = self._faults.get(way, "")
        if fault == "slow":
            time.sleep(_SLOW_SECONDS)
        return fault


KEPT = Kept()


class Smtp(socketserver.StreamRequestHandler):
    """RFC 5321, 3207 and 4954, as far as a client that logs in and sends needs them."""

    timeout = 60
    trusted: ssl.SSLContext

    def handle(self) -> None:
        """One connection."""
        self._tls, self._user = isinstance(self.connection, ssl.SSLSocket), False
        self._recipients: list[str] = []
        self._sender = ""
        if (fault := KEPT.fault("mail")) == "drop":
            return
        self._say("421 not now" if fault == "refuse" else "220 sink ESMTP")
        while fault != "refuse":
            line = self.rfile.readline(1000)
            verb, _, rest = line.decode("ascii", "replace").strip().partition(" ")
            if not line or not self._does(verb.upper(), rest):
                return

    def _does(self, verb: str, rest: str) -> bool:
        """Carry out one command; False ends the connection."""
        if verb == "QUIT":
            self._say("221 bye")
            return False
        if verb == "EHLO":
            self._say("250-sink", *(["250-AUTH PLAIN LOGIN"] if self._tls else ["250-STARTTLS"]), "250 8BITMIME")
        elif verb == "STARTTLS" and not self._tls:
            self._say("220 go ahead")
            self.connection = self.trusted.wrap_socket(self.connection, server_side=True)
            self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", buffering=0)
            self._tls = True
        elif verb == "AUTH" and self._tls:
            self._user = self._logs_in(rest)
            self._say("235 welcome" if self._user else "535 wrong user or password")
        elif verb in ("NOOP", "RSET"):
            self._say("250 OK")
        elif not self._user:
            self._say("530 log in first")
        elif verb == "MAIL":
            self._sender, self._recipients = _address(rest), []
            self._say("250 OK")
        elif verb == "RCPT":
            self._recipients.append(_address(rest))
            self._say("250 OK")
        elif verb == "DATA" and self._recipients:
            self._take()
        else:
            self._say("503 not like this")
        return True

    def _logs_in(self, rest: str) -> bool:
        kind, _, first = rest.partition(" ")
        try:
            if kind.upper() == "PLAIN":
                _, user, password = base64.b64decode(first or self._asked("")).decode().split("\0")
            else:
                user = base64.b64decode(first or self._asked("Username:")).decode()
                password = base64.b64decode(self._asked("Password:")).decode()
        except ValueError:
            return False
        return _same(user, os.environ["SINK_USER"]) and _same(password, os.environ["SINK_PASSWORD"])

    def _asked(self, what: str) -> bytes:
        self._say(f"334 {base64.b64encode(what.encode()).decode()}")
        return self.rfile.readline(1000).strip()

    def _take(self) -> None:
        self._say("354 go on")
        data = b""
        while (line := self.rfile.readline(2000)) not in (b".\r\n", b"") and len(data) < _LONGEST:
            data += line[1:] if line.startswith(b".") else line
        mail = message_from_bytes(data, policy=policy.default)
        content = {
            "port": self.connection.getsockname()[1],
            "sender": self._sender,
            "recipients": self._recipients,
            "subject": str(mail["Subject"]).strip(),
            "headers": {name: str(value) for name, value in mail.items()},
            "text": mail.get_content().replace("\r\n", "\n") if mail.get_content_type() == "text/plain" else "",
        }
        KEPT.add("mail", self.client_address[0], content)
        self._say("250 taken")

    def _say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())


class Https(BaseHTTPRequestHandler):
    """The webhook, the dead man's switch, and the way to look at what came."""

    timeout = 60
    server_version, sys_version = "sink", ""

    def do_GET(self) -> None:
        """A sign of life, or what came."""
        self._answer()

    def do_POST(self) -> None:
        """A call of the webhook, a sign of life, or faults."""
        self._answer()

    def do_DELETE(self) -> None:
        """Forget what came."""
        self._answer()

    def log_message(self, *_: object) -> None:
        """The path holds a secret."""

    def _answer(self) -> None:
        size = min(int(self.headers.get("Content-Length") or 0), _LONGEST)
        data = self.rfile.read(size)
        if self.path == "/messages":
            self._own(data)
            return
        way = next((w for w in ("hook", "beat") if _same(self.path, f"/{w}/{os.environ[f'SINK_{w.upper()}']}")), "")
        if not way or (way == "hook" and self.command != "POST"):
            self._say(404, {})
            return
        if (fault := KEPT.fault(way)) == "drop":
            self.close_connection = True
            return
        if fault == "refuse":
            self._say(503, {})
            return
        try:
            value = json.loads(data) if data else None
        except ValueError:
            value = data.decode(errors="replace")
        KEPT.add(way, self.client_address[0], {"body": value})
        self._say(200, {})

    def _own(self, data: bytes) -> None:
        if not _same(self.headers.get("Authorization", ""), f"Bearer {os.environ['SINK_TOKEN']}"):
            self._say(401, {"error": "who are you?"})
            return
        try:
            if self.command == "POST":
                KEPT.break_(json.loads(data))
        except ValueError as error:
            self._say(422, {"error": str(error)})
            return
        if self.command == "DELETE":
            KEPT.clear()
        self._say(200, KEPT.show())

    def _say(self, status: int, value: dict[str, Any]) -> None:
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


class SmtpServer(socketserver.ThreadingTCPServer):
    """Port 587."""

    allow_reuse_address = daemon_threads = True


class OverTls(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """TLS from the first byte. The handshake is each connection's own: one that says nothing keeps nobody waiting."""

    allow_reuse_address = daemon_threads = True
    trusted: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """In a thread of its own."""
        request.settimeout(20)
        super().finish_request(self.trusted.wrap_socket(request, server_side=True), client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Whoever speaks no TLS, or went away: said in a line."""
        print(f"{client_address[0]}: {sys.exc_info()[1]}", flush=True)


class SmtpsServer(OverTls):
    """Port 465 (RFC 8314)."""


class HttpsServer(OverTls, ThreadingHTTPServer):
    """Port 443."""


def servers(address: str, certificate: str, key: str, ports: tuple[int, int, int] = (443, 587, 465)) -> tuple[Any, ...]:
    """All three, listening and not yet answering."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    Smtp.trusted = OverTls.trusted = context
    https, smtp, smtps = ((address, port) for port in ports)
    return HttpsServer(https, Https), SmtpServer(smtp, Smtp), SmtpsServer(smtps, Smtp)


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _address(rest: str) -> str:
    return rest.partition("<")[2].partition(">")[0]


if __name__ == "__main__":
    https, *mail = servers(sys.argv[1], sys.argv[2], sys.argv[3])
    for one in mail:
        threading.Thread(target=one.serve_forever, daemon=True).start()
    https.serve_forever()
