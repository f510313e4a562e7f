"""The few questions to the provider's API that day-two commands have: does it let us in, and what runs there?"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from bastide.console import run
from bastide.errors import StackError
from bastide.provider import access_in

_ASK_SECONDS = 10.0
_PULUMI_SECONDS = 60.0
_PAGE = 50  # docs.hetzner.cloud, "Pagination": the largest page


@dataclass(frozen=True)
class Answer:
    """What the provider said. `clock_offset` is by how many seconds this machine's clock is ahead; None: unknown."""

    data: dict[str, Any]
    clock_offset: float | None


@dataclass(frozen=True)
class Provider:
    """The provider's API as the stack's token opens it."""

    endpoint: str
    token: str

    def __repr__(self) -> str:
        return f"Provider({self.endpoint})"

    def get(self, path: str) -> Answer:
        """One question. Raises `StackError` when the token is refused or nobody answers."""
        request = urllib.request.Request(f"{self.endpoint}{path}")  # noqa: S310 - the endpoint is the stack file's
        request.add_header("Authorization", f"Bearer {self.token}")
        try:
            with urllib.request.urlopen(request, timeout=_ASK_SECONDS) as answer:  # noqa: S310
                text, date = answer.read(), answer.headers.get("Date")
        except urllib.error.HTTPError as error:
            if error.code in (401, 403):
                raise StackError(
                    f"{self.endpoint} refuses the token", "pulumi config set --secret hcloud:token"
                ) from None
            raise StackError(
                f"{self.endpoint} answers {error.code}", "try again; the provider has a status page"
            ) from None
        except OSError as error:
            why = getattr(error, "reason", error)
            raise StackError(
                f"{self.endpoint} does not answer ({why})", "is hcloud:endpoint right? For a lab: make lab"
            ) from None
        return Answer(json.loads(text), time.time() - parsedate_to_datetime(date).timestamp() if date else None)

    def server_states(self) -> dict[str, str]:
        """Every server of the project: id to the provider's word for its state ("running", "off")."""
        found: dict[str, str] = {}
        page: int | None = 1
        while page:
            data = self.get(f"/servers?per_page={_PAGE}&page={page}").data
            found |= {str(server["id"]): str(server["status"]) for server in data["servers"]}
            page = data["meta"]["pagination"]["next_page"]
        return found


def provider_of(stack: str, root: Path) -> Provider:
    """The provider of a stack. Raises `StackError` without a passphrase that opens it, or without a token."""
    return provider_in(stack, opened(stack, root))


def opened(stack: str, root: Path) -> dict[str, str]:
    """The configuration of a stack in plain, by key. Raises `StackError` without a passphrase that opens it."""
    words = ["pulumi", "config", "--json", "--show-secrets", "--non-interactive", "--stack", stack]
    done = run(words, cwd=root, check=False, timeout=_PULUMI_SECONDS)
    if not done.ok:
        raise StackError(f"the passphrase does not open the stack {stack}", "set that of this stack")
    return {key: str(item.get("value", "")) for key, item in json.loads(done.stdout).items()}


def provider_in(stack: str, config: Mapping[str, str], *, dns: bool = False) -> Provider:
    """The provider as this configuration says, with `dns` as the zones' own token opens it, where they have one.

    Raises `StackError` without a token.
    """
    access = access_in(config, dns=dns)
    if not access.token:
        raise StackError(f"the stack {stack} has no API token", "pulumi config set --secret hcloud:token")
    return Provider(access.endpoint, access.token)
