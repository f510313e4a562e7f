"""Who is asked at the provider, and with which token: its own servers alone, and nobody where it has none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bastide.errors import StackError
from bastide.pulumi_config import config_from
from bastide.settings import ExistingServer, Settings
from hosts.commands import doctor
from hosts.commands.comparison import compare
from hosts.commands.comparison.changes import MachineChange
from hosts.stack import Stack, access_in
from hosts.transport import provider_api
from tests.unit.bastide.proofs import SETTINGS, inventory, with_existing

SILENT = tuple(MachineChange(name, "silent", "no answer; next: look") for name in ("primary", "standby", "witness"))
THEIRS = ExistingServer(
    provider="existing",
    role="primary",
    hoster="OVH",
    city="Gravelines",
    country="FR",
    address="192.0.2.1",
    host_key=SETTINGS.users.automation.key,
    user="debian",
)


def stack(*existing: str) -> Stack:
    """The example's machines, of which these are somebody else's; as far as a drift report looks."""
    theirs = with_existing(inventory()).machines[0]
    machines = [
        replace(theirs, name=machine.name) if machine.name in existing else machine for machine in inventory().machines
    ]
    return SimpleNamespace(name="example", root=Path(), machines=tuple(machines))  # type: ignore[return-value]


def test_of_an_existing_server_the_provider_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    states = SimpleNamespace(server_states=lambda: {"41": "off", "42": "running"})
    monkeypatch.setattr(compare, "provider_access", lambda name, root: None)
    monkeypatch.setattr(compare, "Provider", lambda access: states)
    primary, standby, witness = compare._explained(stack("primary"), SILENT)
    assert primary == SILENT[0], "`make infra` brings no server of somebody else back"
    assert (standby.state, "is off" in standby.note) == ("off", True)
    assert witness == SILENT[2]


def test_a_server_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "provider_access", lambda name, root: None)
    monkeypatch.setattr(compare, "Provider", lambda access: SimpleNamespace(server_states=dict))
    assert "no longer exists" in compare._explained(stack(), SILENT)[0].note


def test_a_drift_report_of_existing_servers_needs_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, root: Path) -> None:
        raise StackError("the stack example has no API token", "set one")

    monkeypatch.setattr(compare, "provider_access", refuse)
    assert compare._explained(stack("primary", "standby", "witness"), SILENT) == SILENT
    seen = (SILENT[0], *(MachineChange(name, "compared") for name in ("standby", "witness")))
    assert compare._explained(stack("primary"), seen) == seen


OWN = {"hcloud:token": {"value": "own", "secret": True}}
ZONES = {"bastide:secrets": {"value": '{"dns": {"token": "of-the-zones"}}', "secret": True}}


@pytest.mark.parametrize(
    ("config", "dns", "token"),
    [
        (OWN, False, "own"),
        ({**OWN, **ZONES}, False, "own"),
        ({**OWN, **ZONES}, True, "of-the-zones"),
        (OWN, True, "own"),
        (ZONES, False, ""),
    ],
)
def test_the_zones_may_have_a_token_of_their_own(
    monkeypatch: pytest.MonkeyPatch, config: Mapping[str, Any], dns: bool, token: str
) -> None:
    monkeypatch.delenv("HCLOUD_TOKEN", raising=False)
    if token:
        assert access_in(config_from("example", config), dns=dns).token == token
    else:
        with pytest.raises(StackError, match="no API token"):
            access_in(config_from("example", config), dns=dns)


def settings(*, zones: bool, made: bool = False) -> Settings:
    servers = SETTINGS.servers if made else dict.fromkeys(SETTINGS.servers, THEIRS)
    return SETTINGS.model_copy(update={"servers": servers, "dns": SETTINGS.dns if zones else None})


@pytest.mark.parametrize(
    ("wanted", "config", "token"),
    [
        (settings(zones=False), {}, None),
        (settings(zones=True), ZONES, "of-the-zones"),
        (settings(zones=True), {}, ""),
        (settings(zones=False, made=True), {}, ""),
        (settings(zones=True, made=True), {**OWN, **ZONES}, "own"),
    ],
)
def test_the_doctor_asks_for_a_token_only_where_something_is_made_with_it(
    monkeypatch: pytest.MonkeyPatch, wanted: Settings, config: Mapping[str, Any], token: str | None
) -> None:
    """`token` is the one that is tried, "" when one is missing, None when none is needed."""
    tried: list[str] = []
    monkeypatch.delenv("HCLOUD_TOKEN", raising=False)
    monkeypatch.setattr(doctor, "opened", lambda name, root: config_from(name, config))

    def get(self: provider_api.Provider, path: str) -> provider_api.Response:
        tried.append(self.access.token)
        return provider_api.Response({}, None)

    monkeypatch.setattr(provider_api.Provider, "get", get)
    found = list(doctor._secrets("example", wanted, Path()))
    assert tried == ([token] if token else [])
    assert [item.level for item in found] == (["ok", "missing"] if token == "" else ["ok", "ok"])
