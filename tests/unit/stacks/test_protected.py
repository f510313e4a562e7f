"""What is protected cannot be lost by taking it out of the stack file."""

from __future__ import annotations

from typing import Any

import pytest

from bastide.errors import StackError
from bastide.settings import ExistingServer
from stacks.ops.protected import protected_names, refuse_lost
from tests.unit.bastide.proofs import SETTINGS


def resource(kind: str, name: str, protect: bool = True) -> dict[str, Any]:
    word = kind[0].lower() + kind[1:]
    return {"urn": f"urn:pulumi:lab::bastide::x$y::{name}", "type": f"hcloud:index/{word}:{kind}", "protect": protect}


def test_what_is_there_is_passed() -> None:
    state = {"resources": [resource("Server", "primary"), resource("Zone", "example.eu"), resource("Network", "n")]}
    names = protected_names(state)
    assert names == [("server", "primary"), ("zone", "example.eu")]
    refuse_lost(names, SETTINGS)
    refuse_lost(protected_names({"resources": [resource("Zone", "example.net", protect=False)]}), SETTINGS)
    assert protected_names({}) == []


@pytest.mark.parametrize(("kind", "name"), [("Server", "third"), ("Zone", "example.net"), ("Volume", "third-volume")])
def test_what_was_taken_out_is_named(kind: str, name: str) -> None:
    with pytest.raises(StackError, match=f"{kind.lower()} {name}: protected, and no longer in the stack file") as error:
        refuse_lost(protected_names({"resources": [resource(kind, name)]}), SETTINGS)
    assert "protection: false" in error.value.hint


def test_without_dns_every_protected_zone_is_lost() -> None:
    with pytest.raises(StackError, match=r"zone example\.eu"):
        refuse_lost([("zone", "example.eu")], SETTINGS.model_copy(update={"dns": None}))


def test_a_server_whose_place_somebody_elses_takes_is_lost() -> None:
    """It would be deleted, though the stack file still has a server of its name."""
    primary = ExistingServer(
        provider="existing", role="primary", hoster="OVH", city="Gravelines", country="FR", address="192.0.2.17",
        host_key=SETTINGS.users.automation.key, user="debian",
    )  # fmt: skip
    settings = SETTINGS.model_copy(update={"servers": {**SETTINGS.servers, "primary": primary}})
    with pytest.raises(StackError, match="server primary: protected, and no longer in the stack file"):
        refuse_lost([("server", "primary"), ("server", "standby")], settings)
