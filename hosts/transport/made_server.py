"""One server that the provider made: what it is, and the few things that are done to it while it is off."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import hcloud
import requests
from hcloud.server_types import ServerType

from bastide.errors import StackError
from bastide.provider import Access
from bastide.provider_api import provider_api

_POLL_SECONDS = 0.5
_POWER_SECONDS = 900.0
# a system that was asked to go down may still do so long after one has stopped waiting for it
_SLOW_SECONDS = 600.0

T = TypeVar("T")


class MadeServer:
    """A server at the provider. Every method raises `StackError` when the provider refuses or does not answer."""

    def __init__(self, access: Access, server_id: str, name: str) -> None:
        """`server_id` is the provider's number, as the stack's output has it."""
        self.name = name
        self._may_go_down_until = 0.0
        self._client = provider_api(access)
        # what a server that was found has is None by its type alone
        self._server: Any = self._asked("found", lambda: self._client.servers.get_by_id(int(server_id)))

    @property
    def type(self) -> str:
        """The name of its type, as of the last look."""
        return str(self._server.server_type.name)

    @property
    def disk_gb(self) -> int:
        """How big its own disk is."""
        return int(self._server.primary_disk_size)

    def status(self) -> str:
        """The provider's word for what it is doing now: "running", "off", "migrating"."""
        self._asked("looked at", self._server.reload)
        return str(self._server.status)

    def fitting(self, wanted: str, *, grow_disk: bool) -> ServerType:
        """The type of this name. Raises `StackError` when this server cannot become one of it."""
        kind = self._asked("given another type", lambda: self._client.server_types.get_by_name(wanted))
        location = str(self._server.location.name)
        if kind is None:
            raise StackError(f"the provider has no server type {wanted}", "see its list: docs.hetzner.com/cloud")
        sold = {place.location.name: place for place in kind.locations or []}
        if kind.architecture != self._server.server_type.architecture:
            raise StackError(
                f"{wanted} is {kind.architecture}, {self.name} is {self._server.server_type.architecture}",
                "choose a type of the same architecture, or replace the server: docs/how-to/lose-a-server.md",
            )
        if location not in sold or sold[location].available is False:
            raise StackError(f"the provider has no {wanted} in {location} now", "choose another type, or try later")
        if int(kind.disk or 0) < self.disk_gb:
            raise StackError(
                f"{wanted} has a disk of {kind.disk} GB, that of {self.name} has {self.disk_gb} GB and cannot shrink",
                "choose a type with at least that, or replace the server: docs/how-to/lose-a-server.md",
            )
        if grow_disk and kind.disk == self.disk_gb:
            raise StackError(f"the disk of {wanted} is no bigger than the one of {self.name}", "leave disk=1 out")
        return kind

    def shut_down(self, seconds: float) -> bool:
        """Ask its system to power off; returns whether it is off before that many seconds are over."""
        if self.status() == "off":
            return True
        self._may_go_down_until = time.monotonic() + _SLOW_SECONDS
        self._asked("shut down", lambda: self._server.shutdown().wait_until_finished())
        if not self._is("off", seconds):
            return False
        self._may_go_down_until = 0.0
        return True

    def change_type(self, kind: ServerType, *, grow_disk: bool) -> None:
        """Make one of that type of it; it is off and stays off."""
        change = lambda: self._server.change_type(kind, upgrade_disk=grow_disk).wait_until_finished(max_retries=1200)  # noqa: E731
        self._asked(f"made a {kind.name}", change)
        self._asked("looked at", self._server.reload)

    def power_on(self) -> None:
        """Switch it on, however often that must be asked for, and see that it is on. No effect when it is.

        One that was asked to go down and has not yet is watched for ten minutes: it would be off after this.
        """
        deadline = time.monotonic() + _POWER_SECONDS
        problem = None
        while time.monotonic() < deadline:
            try:
                status = self.status()
                if status == "running" and time.monotonic() > self._may_go_down_until:
                    return
                # what the provider is in the middle of locks the server; it ends by itself
                if status == "off":
                    self._may_go_down_until = 0.0
                    self._asked("switched on", lambda: self._server.power_on().wait_until_finished())
            except StackError as error:
                problem = error
            time.sleep(_POLL_SECONDS)
        why = problem.message if problem else f"{self.name} is {self._server.status} at the provider"
        raise StackError(why, "`make infra` switches it on; if it does not, the provider's console")

    def _is(self, status: str, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.status() != status:
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def _asked(self, what: str, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except (hcloud.HCloudException, requests.RequestException) as error:
            raise StackError(
                f"{self.name} could not be {what}: {error}", "mend what it says; then the same command again"
            ) from None
