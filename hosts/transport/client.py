"""One ssh connection with pinned host keys, for deploys and for the enrolment.

It reads no ssh configuration of the user's, asks no agent and knows no password: which key opens the session and which
host key is accepted is said by the caller. OpenSSH clients get the same rules from `hosts/transport/ssh_config.py`.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import paramiko
from pyinfra.connectors.sshuserclient.client import SSHClient

from bastide.errors import BastideError, StackError
from bastide.settings import key_blob
from hosts.transport.key_exchange import HybridTransport

HOST_KEY_TYPE = "ssh-ed25519"

_TCP_SECONDS = 5.0
_LOGIN_SECONDS = 30.0
_KEEPALIVE_SECONDS = 15
# a machine that lost its power acknowledges nothing: give up after this instead of after TCP's quarter of an hour
_UNACKNOWLEDGED_MS = 45_000
# While a machine boots, pam_nologin(8) refuses people for a moment. sshd_config(5), PerSourcePenalties: a refused login
# costs 5 s and counts from 15 s on, so that later attempts keep that distance.
_LOGIN_PAUSES = (1.0, 5.0, 5.0)
_RETRY_SECONDS = 0.2


class MachineUnreachable(BastideError):
    """A machine does not answer, or does not let the automation account in."""


class LoginRefused(MachineUnreachable):
    """A machine answers with an accepted host key, and lets this user in with this key no more or not yet."""


class HostKeyRefused(paramiko.SSHException):
    """The host key that was shown is none of the accepted ones. `shown` is "ssh-ed25519 AAAA..."."""

    def __init__(self, shown: str) -> None:
        super().__init__("the host key is not an accepted one")
        self.shown = shown


@dataclass(frozen=True)
class Endpoint:
    """Where a machine answers and who logs in. `ports` are tried in turn; `hint` is what to do when nobody answers.

    `others` are further addresses, tried in turn after the first.
    """

    name: str
    address: str
    ports: tuple[int, ...]
    user: str
    identity: Path
    hint: str = (
        "see at the provider's console whether it runs, and whether settings.firewall.operators has your address"
    )

    others: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = " or ".join((self.address, *self.others))
        return f"{self.name} ({where}, port {' or '.join(str(port) for port in self.ports)})"


class PinnedClient(SSHClient):
    """A connected ssh client; `host_key` is the one that the machine has shown.

    A subclass of pyinfra's client only for its type: pyinfra's own `connect`, which reads the user's configuration and
    trusts on first use, is never called.
    """

    host_key: str = ""

    def open(self, endpoint: Endpoint, port: int, accepted: Collection[str], key: paramiko.PKey) -> None:
        """Connect and log in once. Raises what paramiko raises, and `HostKeyRefused`."""
        self.set_missing_host_key_policy(_Pinned(accepted))
        paramiko.SSHClient.connect(
            self,
            endpoint.address,
            port=port,
            username=endpoint.user,
            pkey=key,
            timeout=_TCP_SECONDS,
            banner_timeout=_LOGIN_SECONDS,
            auth_timeout=_LOGIN_SECONDS,
            channel_timeout=_LOGIN_SECONDS,
            allow_agent=False,
            look_for_keys=False,
            transport_factory=_transport,  # type: ignore[arg-type]
        )
        transport = self.get_transport()
        assert transport is not None
        transport.set_keepalive(_KEEPALIVE_SECONDS)
        self.host_key = _text(transport.get_remote_server_key())


def connect(
    endpoint: Endpoint,
    accepted: Collection[str],
    *,
    wait: float,
    report: Callable[[str], None] = lambda text: None,
    patient: bool = True,
) -> PinnedClient:
    """Connect as soon as the machine lets us in.

    `accepted` are the host keys ("ssh-ed25519 AAAA...") of which it must show one, `wait` is how long in seconds it may
    take to come up; `report` gets a line when it does not answer at once. A refused login is tried again a few times,
    unless not `patient`. The caller closes the client.

    Raises `MachineUnreachable` when the time is over (`LoginRefused` when it refused the login), `HostKeyRefused` at
    once for another host key, `StackError` for an identity that cannot be used.
    """
    key = load_identity(endpoint.identity)
    deadline = time.monotonic() + wait
    login_pauses: Iterator[float] = iter(_LOGIN_PAUSES)
    told = False
    while True:
        failures: list[Exception] = []
        for address, port in product((endpoint.address, *endpoint.others), endpoint.ports):
            client = PinnedClient()
            try:
                client.open(replace(endpoint, address=address), port, accepted, key)
                return client
            except HostKeyRefused:
                client.close()
                raise
            except (OSError, EOFError, paramiko.SSHException) as error:
                client.close()
                failures.append(error)
        pause = _RETRY_SECONDS
        if refused := [error for error in failures if isinstance(error, paramiko.AuthenticationException)]:
            failures = list(refused)
            pause = next(login_pauses, wait) if patient else wait
        if time.monotonic() + pause >= deadline:
            raise _unreachable(endpoint, failures[0], wait)
        if not told:
            told = True
            report(f"no way in yet ({_reason(failures[0])}), waiting up to {wait:.0f} s")
        time.sleep(pause)


def load_identity(path: Path) -> paramiko.PKey:
    """Read the automation account's private key. Raises `StackError` when it is missing, encrypted or no key."""
    where = "settings.users.automation.identity names it"
    try:
        return paramiko.PKey.from_path(path)
    except FileNotFoundError:
        raise StackError(f"the automation account's private key {path} does not exist", where) from None
    except (paramiko.PasswordRequiredException, TypeError):
        raise StackError(
            f"the automation account's private key {path} has a passphrase",
            "deploys run unattended and ask no agent: use a key of its own, without one, on an encrypted disk",
        ) from None
    except (OSError, ValueError, paramiko.SSHException, paramiko.pkey.UnknownKeyType):
        raise StackError(f"{path} is not a private ssh key that can be read", where) from None


def check_identity(path: Path, public_key: str) -> None:
    """Raise `StackError` unless the private key is that of `public_key`: each refused login would cost a penalty."""
    if _text(load_identity(path)) != key_blob(public_key):
        raise StackError(
            f"{path} is not the private key of settings.users.automation.key",
            "set settings.users.automation.identity to the right file",
        )


def _transport(sock: socket.socket, **options: object) -> paramiko.Transport:
    """A transport that sends at once.

    paramiko leaves Nagle's algorithm on, and together with the peer's delayed acknowledgement each command then waits
    some 40 ms (measured: benchmarks/).
    """
    # a jump host's channel, or a test's socket pair, has no such options
    with contextlib.suppress(AttributeError, OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)
    transport = HybridTransport(sock, **options)
    transport.get_security_options().key_types = (HOST_KEY_TYPE,)
    return transport


class _Pinned(paramiko.MissingHostKeyPolicy):
    """Accepts exactly the given keys. No known_hosts file is loaded, so paramiko asks it at every connection."""

    def __init__(self, accepted: Collection[str]) -> None:
        self._accepted = {key_blob(key) for key in accepted}

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        if _text(key) not in self._accepted:
            raise HostKeyRefused(_text(key))


def _text(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {key.get_base64()}"


def _unreachable(endpoint: Endpoint, error: Exception, wait: float) -> MachineUnreachable:
    if isinstance(error, paramiko.AuthenticationException):
        return LoginRefused(
            f"{endpoint} refuses the user {endpoint.user} with the key {endpoint.identity}",
            "the key must be that of settings.users.automation.key at the time when the server was made; "
            "the server's console shows the reason: journalctl -u ssh",
        )
    return MachineUnreachable(f"{endpoint} gave no way in within {wait:.0f} s: {_reason(error)}", endpoint.hint)


def _reason(error: Exception) -> str:
    """Why a connection failed, in a few words."""
    if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError):
        error = next(iter(error.errors.values()))
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if "banner" in str(error):
        return "something accepts the connection, but no ssh server speaks"
    return (str(error) or type(error).__name__).rstrip(".")
