"""The few requests to the provider's API that commands have: does the token open it, and what runs there?"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from bastide.errors import StackError
from bastide.provider import Access

_REQUEST_SECONDS = 10.0
_PAGE = 50  # docs.hetzner.cloud, "Pagination": the largest page


@dataclass(frozen=True)
class Response:
    """What the provider said. `clock_offset` is by how many seconds this machine's clock is ahead; None: unknown."""

    data: dict[str, Any]
    clock_offset: float | None


@dataclass(frozen=True)
class Provider:
    """The provider's API as the stack's token opens it (`hosts/stack.py`)."""

    access: Access

    @property
    def endpoint(self) -> str:
        """Where it answers."""
        return self.access.endpoint

    def get(self, path: str) -> Response:
        """One request. Raises `StackError` when the token is refused or nobody answers."""
        request = urllib.request.Request(f"{self.endpoint}{path}")  # noqa: S310 - the endpoint is the stack file's
        request.add_header("Authorization", f"Bearer {self.access.token}")
        try:
            with urllib.request.urlopen(request, timeout=_REQUEST_SECONDS) as response:  # noqa: S310
                text, date = response.read(), response.headers.get("Date")
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
        return Response(json.loads(text), time.time() - parsedate_to_datetime(date).timestamp() if date else None)

    def server_states(self) -> dict[str, str]:
        """Every server of the project: id to the provider's word for its state ("running", "off")."""
        found: dict[str, str] = {}
        page: int | None = 1
        while page:
            data = self.get(f"/servers?per_page={_PAGE}&page={page}").data
            found |= {str(server["id"]): str(server["status"]) for server in data["servers"]}
            page = data["meta"]["pagination"]["next_page"]
        return found
