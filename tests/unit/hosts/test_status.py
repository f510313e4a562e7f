"""The status lines: what is not well, and the next step for each."""

from __future__ import annotations

from typing import Any

import pytest

from bastide.controls import CONTROLS, facts
from bastide.machines import Inventory, Machine
from bastide.report import Report, judge
from hosts.commands.health.lines import cluster_lines, machine_lines, proofs_line
from hosts.commands.health.observation import Observation
from tests.unit.bastide import proofs

HEAD = "a" * 40
MACHINE = Machine("db", "primary", "fsn1", "1", 1, "192.0.2.1", "2001:db8::1", "10.20.0.11", "ssh-ed25519 AAAA")
INVENTORY = Inventory("prod", "cloud", "bastide", "~/.ssh/key", 22, (MACHINE,))


def line(**what: object) -> str:
    seen = Observation("db", **{"up_seconds": 7200, "disk_used": 40, "disk_free_mb": 900, "revision": HEAD, **what})
    (found,) = machine_lines([seen], HEAD, INVENTORY)
    return str(found)


def test_a_well_machine_has_no_next_step() -> None:
    assert line() == "✓ db (primary, fsn1): up 2 h, disk 40 % used, 900 MB free, deployed from aaaaaaaaaa"
    assert "with uncommitted changes" in line(revision=f"{HEAD}+changes")


@pytest.mark.parametrize(
    ("what", "said", "step"),
    [
        ({"problem": "no route to host"}, "no route to host", "ssh -v -F build/prod/ssh_config db"),
        ({"failed": ("nginx.service",)}, "failed: nginx.service", "systemctl status nginx.service"),
        ({"reboot": True}, "a reboot is pending", "reboot db"),
        ({"outdated": ("etcd", "patroni")}, "newer etcd, patroni installed, not running yet", "make deploy"),
        ({"disk_used": 91}, "its disk fills up", "du -xh /"),
        ({"certificate_days": 59}, "its certificates end in 59 days", "make deploy"),
        ({"revision": ""}, "never completely deployed", "make deploy"),
        ({"revision": "b" * 40}, "this clone is at aaaaaaaaaa", "make plan"),
    ],
)
def test_what_is_not_well_ends_with_the_next_step(what: dict[str, object], said: str, step: str) -> None:
    text = line(**what)
    assert text.startswith("✗")
    assert said in text.partition("; next: ")[0]
    assert step in text.partition("; next: ")[2]


LEADER = {"name": "primary", "role": "leader", "state": "running"}
FOLLOWER = {"name": "standby", "role": "sync_standby", "state": "streaming", "lag": 3 * 2**20}


def cluster(*members: dict[str, Any], voters: tuple[bool, ...] = (True, True, True), **more: object) -> str:
    said = {"members": list(members), **more} if members else {}
    names = ("primary", "standby", "witness")
    seen = [
        Observation(name, patroni=None if name == "witness" else said, voter=voter)
        for name, voter in zip(names, voters, strict=True)
    ]
    (found,) = cluster_lines(seen)
    return str(found)


def test_a_well_cluster_is_one_line_and_a_stack_without_one_none() -> None:
    assert cluster(LEADER, FOLLOWER) == (
        "✓ cluster: primary leads, standby follows in sync, 3 MB behind, 3 voters well"
    )
    assert list(cluster_lines([Observation("primary")])) == []


@pytest.mark.parametrize(
    ("members", "more", "said", "step"),
    [
        ((LEADER, FOLLOWER), {"pause": True}, "PAUSED: nobody takes over", "`make resume`"),
        ((LEADER, {**FOLLOWER, "state": "stopped"}), {}, "standby does not follow (stopped)", "`make cluster`"),
        ((LEADER,), {}, "nobody follows", "`make drift`"),
        ((FOLLOWER,), {}, "nobody leads", "`make cluster`"),
        ((), {}, "nobody leads", "lose-a-server.md"),
        (({**LEADER, "pending_restart": True}, FOLLOWER), {}, "a restart is pending", "`make deploy`"),
        ((LEADER, FOLLOWER), {"voters": (True, True, False)}, "2 voters well", "`journalctl -u etcd` on witness"),
    ],
)
def test_a_cluster_that_is_not_well_ends_with_the_next_step(
    members: tuple[dict[str, Any], ...], more: dict[str, Any], said: str, step: str
) -> None:
    text = cluster(*members, **more)
    assert text.startswith("✗")
    assert said in text.partition("; next: ")[0]
    assert step in text.partition("; next: ")[2]


def test_sites_that_say_different_things_are_not_well() -> None:
    """A leader that is cut off from the others says that it leads and that the other one is in sync."""
    theirs = [{**FOLLOWER, "name": "primary"}, {**LEADER, "name": "standby"}]
    seen = [
        Observation("primary", patroni={"members": [LEADER, FOLLOWER]}, voter=False),
        Observation("standby", patroni={"members": theirs}, voter=True),
    ]
    (found,) = cluster_lines(seen)
    assert str(found).startswith(
        "✗ cluster: the sites do not agree on who leads: "
        "primary says that primary does and standby says that standby does; next: "
    )


def test_proofs_of_other_settings_are_said_to_be_that() -> None:
    """Not one sentence of the page stands any more: that nothing was looked at would be the wrong trail."""
    elsewhere = proofs.SETTINGS.base.model_copy(update={"timezone": "Europe/Lisbon"})
    changed = proofs.SETTINGS.model_copy(update={"base": elsewhere})
    assert "next" in str(_proofs(changed))
    assert "the stack file was changed since" in str(_proofs(changed))
    assert "`make deploy` and `make prove`" in str(_proofs(changed))
    assert "changed since" not in str(_proofs(proofs.SETTINGS))


def _proofs(settings: Any) -> object:
    machines = proofs.inventory()
    evidence = proofs.all_green(machines)
    values = facts(settings, machines)
    verdicts = tuple(judge(one, values, settings, machines, evidence, proofs.AT) for one in CONTROLS)
    return proofs_line(Report("example", settings, machines, evidence, verdicts), proofs.AT)
