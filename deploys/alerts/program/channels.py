"""The ways out: a mail relay and a webhook; and the call that says all is well. TLS always, and always verified."""

from __future__ import annotations

import http.client
import json
import smtplib
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from .findings import text

_SECONDS = 20
_LONGEST_SUBJECT = 150
ERRORS = (OSError, smtplib.SMTPException, http.client.HTTPException, ValueError)
"""What sending may raise; `reason(error)` says it in a line. No URL and no password is in it."""


@dataclass(frozen=True)
class Message:
    """What people get. `state` is alert, again, resolved or test; `told_by` the machine that sends it."""

    stack: str
    machine: str
    what: str
    state: str
    told_by: str
    lines: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """[STACK] machine: what."""
        prefix = {"resolved": "resolved: ", "again": "still: ", "test": "test: "}.get(self.state, "")
        return text(f"[{self.stack}] {self.machine}: {prefix}{self.what}")[:_LONGEST_SUBJECT]

    @property
    def body(self) -> str:
        """What, since when, what next; and who says it."""
        return "\n".join((*map(text, self.lines), "", f"told by {self.told_by}", ""))


class Channel(Protocol):
    """A way out. Both raise one of `ERRORS` when it is none at the moment, and return what the other side said."""

    name: str

    def send(self, message: Message) -> str:
        """Hand a message over."""

    def check(self) -> str:
        """All that sending does, without a message."""


class Mail:
    """A relay that is logged in to."""

    name = "mail"

    def __init__(self, config: dict[str, Any], password: str, trusted: ssl.SSLContext) -> None:
        self._config, self._password, self._trusted = config, password, trusted

    def send(self, message: Message) -> str:
        """Taken is what the relay has answered 250 to, for every recipient."""
        mail = EmailMessage()
        # the email package refuses line breaks in a header: nobody adds one
        mail["Subject"], mail["From"] = message.subject, self._config["sender"]
        mail["To"] = ", ".join(self._config["recipients"])
        mail["Date"], mail["Message-ID"] = formatdate(), make_msgid(domain=self._config["sender"].rpartition("@")[2])
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no answers of machines to machines
        mail.set_content(message.body)
        relay = self._open()
        try:
            refused = relay.send_message(mail)
            if refused:
                raise ValueError(f"not for {', '.join(sorted(refused))}")
            return "250, for " + ", ".join(self._config["recipients"])
        finally:
            _close(relay)

    def check(self) -> str:
        """EHLO, STARTTLS, AUTH, NOOP, QUIT."""
        relay = self._open()
        try:
            code, said = relay.noop()
            if code != 250:
                raise smtplib.SMTPResponseException(code, said)
            return "logged in"
        finally:
            _close(relay)

    def _open(self) -> smtplib.SMTP:
        host, port = self._config["host"], self._config["port"]
        relay: smtplib.SMTP
        if self._config["tls"] == "tls":
            relay = smtplib.SMTP_SSL(host, port, timeout=_SECONDS, context=self._trusted)
        else:
            relay = smtplib.SMTP(host, port, timeout=_SECONDS)
        try:
            if self._config["tls"] != "tls":
                relay.starttls(context=self._trusted)  # raises when the relay does not offer it
            relay.login(self._config["username"], self._password)
        except BaseException:
            relay.close()
            raise
        return relay


class Webhook:
    """A URL that is called with JSON. `text` is what Slack, Mattermost and their like show."""

    name = "webhook"

    def __init__(self, url: str, trusted: ssl.SSLContext) -> None:
        self._url, self._trusted = url, trusted

    def send(self, message: Message) -> str:
        """Taken is what was answered with 2xx."""
        value = {
            "text": f"{message.subject}\n{message.body}",
            "stack": message.stack,
            "machine": message.machine,
            "what": message.what,
            "state": message.state,
            "told_by": message.told_by,
        }
        return call(self._url, self._trusted, value)

    def check(self) -> str:
        """A verified TLS connection: what a call would do beyond that, only a call shows."""
        parts = urlsplit(self._url)
        connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port or 443, timeout=_SECONDS, context=self._trusted
        )
        try:
            connection.connect()
            return "answers over TLS"
        finally:
            connection.close()


def channels(config: dict[str, Any], secrets: dict[str, str], trusted: ssl.SSLContext) -> list[Channel]:
    """The declared ones."""
    found: list[Channel] = []
    if config["mail"]:
        found.append(Mail(config["mail"], secrets["mail_password"], trusted))
    if config["webhook"]:
        found.append(Webhook(secrets["webhook_url"], trusted))
    return found


def trust(certificate: str) -> ssl.SSLContext:
    """Public authorities, and this certificate where there is one."""
    context = ssl.create_default_context()
    if certificate and Path(certificate).exists():
        context.load_verify_locations(cafile=certificate)
    return context


def reason(error: Exception) -> str:
    """Why a way is none, in a line."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return text(f"refused for {', '.join(sorted(error.recipients))}")
    if isinstance(error, smtplib.SMTPResponseException):
        said = error.smtp_error
        return text(f"{error.smtp_code} {said.decode(errors='replace') if isinstance(said, bytes) else said}")
    return text(error) or type(error).__name__


def call(url: str, trusted: ssl.SSLContext, value: dict[str, str] | None = None) -> str:
    """POST JSON, or GET. Returns the status. Raises one of `ERRORS` for any answer but 2xx: no redirect is followed,
    since the URL may be a secret, and would be told to whoever it leads to."""
    if not url.startswith("https://"):
        raise ValueError("its URL does not begin with https://")
    data = None if value is None else json.dumps(value).encode()
    headers = {"User-Agent": "bastide-alerts", **({"Content-Type": "application/json"} if data else {})}
    request = urllib.request.Request(url, data, headers)  # noqa: S310 - https, see above
    opener = urllib.request.build_opener(_NoRedirect, urllib.request.HTTPSHandler(context=trusted))
    try:
        with opener.open(request, timeout=_SECONDS) as answer:
            return str(answer.status)
    except urllib.error.HTTPError as error:
        raise ValueError(f"answered {error.code}") from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:  # noqa: ANN401
        return None


def _close(relay: smtplib.SMTP) -> None:
    try:
        relay.quit()
    except ERRORS:
        relay.close()
