"""`settings.alerts`: by which ways the machines tell what needs somebody's attention."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from bastide.settings.common import Area

# RFC 5321 without quoted local parts and address literals: what mail providers hand out
# a name with a dot, or an IPv4 address: a certificate may vouch for either
_HOST = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+([a-z]{2,63}|[0-9]{1,3})")
_MAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_{|}~-]{1,64}@([A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,63}")


def _mail_address(value: str) -> str:
    if not _MAIL.fullmatch(value):
        raise ValueError("must be a mail address alone, like alerts@example.eu")
    return value


def _host(value: str) -> str:
    if "://" in value or ":" in value:
        raise ValueError("must be a host alone, like smtp.example.eu: the port stands beside it")
    if not _HOST.fullmatch(value):
        raise ValueError("must be a host name in lower case with a dot, like smtp.example.eu")
    return value


MailAddress = Annotated[str, AfterValidator(_mail_address)]


class Mail(Area):
    """A relay that takes mail from whoever logs in, over TLS. Its password is a secret."""

    host: Annotated[str, AfterValidator(_host)]
    """The relay. For a stack in the local cloud it is written here when that is up."""
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    """587 with starttls, 465 with tls, as most relays have it."""
    tls: Literal["starttls", "tls"] = "starttls"
    """`starttls`: TLS is asked for and insisted on; `tls`: from the first byte. There is no way without."""
    username: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[!-~]+$")]
    """Who logs in. The password: bastide:secrets.alerts.mail_password."""
    sender: MailAddress
    """Whom the mails are from; the relay must accept it of this user."""
    recipients: Annotated[tuple[MailAddress, ...], Field(min_length=1, max_length=20)]
    """Whom they go to."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.recipients)) != len(self.recipients):
            raise ValueError("recipients names an address twice")
        if (self.port, self.tls) in ((465, "starttls"), (587, "tls")):
            raise ValueError(f"port {self.port} does not speak {self.tls}: it is 587 with starttls, 465 with tls")
        return self


class Heartbeat(Area):
    """The dead man's signal: a service outside is called, and raises the alarm when no call comes any more."""

    every_minutes: Annotated[int, Field(ge=1, le=60)] = 5
    """Minutes between two calls. Let the service wait for three of them before it raises the alarm."""


class Alerts(Area):
    """Who hears of what needs attention: by mail, by a webhook, or both."""

    mail: Mail | None = None
    """A mail relay; leave it out for none."""
    webhook: bool = False
    """Whether a URL is called (POST, JSON) for each message. The URL: bastide:secrets.alerts.webhook_url."""
    heartbeat: Heartbeat | None = None
    """The dead man's signal; leave it out for none. Its URL: bastide:secrets.alerts.heartbeat_url."""
    certificate: str | None = None
    """File with a certificate to trust beside the public authorities (a relay of your own); relative to the project."""
    repeat_hours: Annotated[int, Field(ge=1, le=168)] = 24
    """Hours after which a state that lasts is told again."""
    silent_minutes: Annotated[int, Field(ge=1, le=60)] = 3
    """Minutes for which a machine must not answer before another one tells; longer than a reboot takes."""
    disk_percent: Annotated[int, Field(ge=50, le=99)] = 90
    """How full a disk may be, of its space or its files."""

    @model_validator(mode="after")
    def _somebody_hears(self) -> Self:
        if self.mail is None and not self.webhook:
            raise ValueError("needs mail, webhook or both: nobody would hear of anything")
        return self
