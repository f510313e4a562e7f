"""Before the cloud firewall changes: the operator's address and the port that ssh answers on stay open."""

from __future__ import annotations

from pathlib import Path

import pytest

from bastide.errors import StackError
from bastide.machines import Inventory, inventory_path, save_inventory
from bastide.settings import Settings
from hosts.commands import access
from tests.unit.bastide.proofs import with_existing
from tests.unit.deploys.box import MACHINES, SETTINGS


@pytest.mark.parametrize(
    ("address", "before", "after", "refused"),
    [
        ("198.51.100.10", 22, 22, ""),
        ("198.51.100.10", 22, 2222, ""),
        ("198.51.100.10", 2222, 2222, ""),
        ("203.0.113.5", 22, 22, "you come from 203.0.113.5"),
        ("198.51.100.10", 2222, 22, "port 2222"),
        ("198.51.100.10", 2222, 2200, "port 2222"),
        # nobody answers on the recorded port: the change may be what opens the way again
        ("", 2222, 22, ""),
    ],
)
def test_who_would_be_shut_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, before: int, after: int, refused: str
) -> None:
    settings = SETTINGS.model_dump()
    settings["ssh"]["port"] = after
    monkeypatch.setattr(access, "read", lambda path: Settings.model_validate(settings))
    monkeypatch.setattr(access, "_own_address", lambda machine, config, root: address)
    inventory = Inventory("unit", "lab", "bastide", "key", before, MACHINES)
    save_inventory(inventory, inventory_path("unit", tmp_path))
    (tmp_path / "build/unit/ssh_config").touch()
    if refused:
        with pytest.raises(StackError, match=refused):
            access.refuse_lockout("unit", tmp_path)
    else:
        access.refuse_lockout("unit", tmp_path)


def test_machines_that_no_cloud_firewall_guards_are_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(access, "read", lambda path: SETTINGS)

    def own_address(machine: str, config: Path, root: Path) -> str:
        asked.append(machine)
        return "198.51.100.10"

    monkeypatch.setattr(access, "_own_address", own_address)
    machines = with_existing(Inventory("unit", "lab", "bastide", "key", 22, MACHINES))
    save_inventory(machines, inventory_path("unit", tmp_path))
    (tmp_path / "build/unit/ssh_config").touch()
    access.refuse_lockout("unit", tmp_path)
    assert asked == ["standby"]


@pytest.mark.parametrize(
    ("address", "before", "after", "refused"),
    [
        # 22 stays open to operators in the cloud firewall: the machines' own close it, in a confirmed change
        ("198.51.100.10", 22, 22, ""),
        ("198.51.100.10", 2222, 2222, "you do not come over the mesh"),
        ("203.0.113.5", 22, 22, "you come from 203.0.113.5"),
        # inside of the tunnel nothing of the cloud firewall is in the way
        ("10.21.0.101", 2222, 2222, ""),
        ("10.21.0.101", 22, 22, ""),
    ],
)
def test_who_would_be_shut_out_when_ssh_is_open_to_the_mesh_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, before: int, after: int, refused: str
) -> None:
    settings = SETTINGS.model_dump()
    settings["ssh"] |= {"port": after, "open_to": "vpn"}
    monkeypatch.setattr(access, "read", lambda path: Settings.model_validate(settings))
    monkeypatch.setattr(access, "_own_address", lambda machine, config, root: address)
    inventory = Inventory("unit", "lab", "bastide", "key", before, MACHINES)
    save_inventory(inventory, inventory_path("unit", tmp_path))
    (tmp_path / "build/unit/ssh_config").touch()
    if refused:
        with pytest.raises(StackError, match=refused):
            access.refuse_lockout("unit", tmp_path)
    else:
        access.refuse_lockout("unit", tmp_path)
