"""Who decides which database leads: what each voter says, where it writes, and what is kept of that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bastide.controls import count
from bastide.layout.etcd import KEEP, LEAD
from bastide.machines import Inventory, Machine
from bastide.settings import Settings
from tests.verify.evidence_plugin import not_provable_here
from tests.verify.findings import judge
from tests.verify.probes import etcd
from tests.verify.probes.etcd import said_of
from tests.verify.probes.systemd import boots, next_of, told_besides, units
from tests.verify.probes.world import Observation

_SNAPSHOT_HOURS = 26
_TIMER = f"{LEAD}.timer"
Note = Callable[[str], None]


@pytest.mark.control("etcd-01")
@pytest.mark.probe(etcd.members)
def test_all_voters_agree(
    observation: Observation, settings: Settings, machine: Machine, inventory: Inventory, note: Note
) -> None:
    """Each voter answers, all name the same leader and members, and no two of them stand in one place."""
    said = said_of(settings, observation, machine, note)
    if not said:
        return
    wrong: list[str] = []
    if silent := sorted(name for name, status in said["status"].items() if not status):
        wrong.append(f"no answer from the voter on {', '.join(silent)}")
    if said["well"]["status"] != "200":
        wrong.append(f"its voter sees no quorum ({said['well']['why']})")
    members = sorted(one.get("name", "") for one in said["members"])
    if members != sorted(settings.etcd_members):
        wrong.append(f"those who vote are {', '.join(members) or 'unknown'}")
    if learners := [one.get("name", "") for one in said["members"] if one.get("isLearner")]:
        wrong.append(f"who may not vote yet: {', '.join(learners)}")
    if machine.role == "witness":
        judge(wrong)
        note(f"it sees a quorum, and counts {', '.join(members)}")
        return
    places = [(one.country, one.place.city) for one in inventory if one.name in settings.etcd_members]
    crowded = {city for country, city in places if places.count((country, city)) > len(places) // 2}
    wrong += [*_disagreements(said["status"]), *(f"most voters stand in {city}" for city in sorted(crowded))]
    judge(wrong)
    note(f"{count(len(members), 'voter')} in {count(len(set(places)), 'place')}, one leader")


def _disagreements(statuses: dict[str, Any]) -> Iterator[str]:
    """What the voters that answered do not all say."""
    told = {name: status for name, status in statuses.items() if status}
    if not statuses:
        yield "nobody says which voters there are"
    if len({status["header"]["cluster_id"] for status in told.values()}) > 1:
        yield "the voters belong to several clusters"
    if len({status.get("leader", 0) for status in told.values()}) > 1:
        yield "the voters do not agree on who leads them"
    if alarmed := sorted(name for name, status in told.items() if status.get("errors")):
        yield f"a voter raised an alarm: {', '.join(alarmed)}"


@pytest.mark.control("etcd-03")
@pytest.mark.probe(etcd.members)
def test_the_witness_leads_the_voters(
    observation: Observation, settings: Settings, machine: Machine, note: Note
) -> None:
    """The witness leads the voters; where a site does, its timer that gives that to the witness runs."""
    said = said_of(settings, observation, machine, note)
    if not said:
        return
    own = said["status"][machine.name]
    assert own, "its voter does not answer"
    names = {one["ID"]: one.get("name", "") for one in said["members"]}
    leader = names.get(own.get("leader", 0), "nobody")
    mover, wrong = said["mover"], list[str]()
    if mover["timer"] != "active":
        wrong.append(f"{leader} leads the voters, and nothing gives that away: {_TIMER} does not run")
    if leader == machine.name and mover["result"] != "success":
        wrong.append(f"{leader} leads the voters, and moving it fails")
    judge(wrong)
    note(f"{leader} leads the voters")


@pytest.mark.control("etcd-04")
@pytest.mark.probe(etcd.members)
def test_a_full_disk_takes_no_vote(observation: Observation, settings: Settings, machine: Machine, note: Note) -> None:
    """The file that the running voter writes to lies on a file system apart from the system's and the databases'."""
    said = said_of(settings, observation, machine, note)
    if not said:
        return
    if not machine.volume:
        not_provable_here("it has no volume of its own for it")
    assert said["data"], "its voter has no file open to write to"
    shared = said["data"]["with"]
    assert not shared, f"{said['data']['file']} shares its file system with {' and '.join(shared)}"
    note(said["data"]["file"])


@pytest.mark.control("etcd-04")
@pytest.mark.probe(etcd.members)
def test_the_volume_is_as_large_as_declared(
    observation: Observation, settings: Settings, machine: Machine, note: Note
) -> None:
    """The disk that the voter writes to has the declared size, and the file system on it reaches to its end."""
    said = said_of(settings, observation, machine, note)
    if not said:
        return
    if not machine.volume:
        not_provable_here("it has no volume of its own for it")
    assert "device" in said["data"], "its voter has no disk of its own"
    disk, used = (said["data"][part] / 2**30 for part in ("device", "used"))
    declared = settings.etcd.volume_gb or 0
    wrong = [] if disk >= declared else [f"its volume has {disk:.1f} GB, {declared} are declared"]
    # ext4 grows by groups of 128 MB (mke2fs(8))
    if disk - used >= 0.125:
        wrong.append(f"its file system leaves {disk - used:.1f} GB of its volume unused")
    judge(wrong)
    note(f"{used:.1f} GB")


@pytest.mark.control("etcd-04")
@pytest.mark.probe(etcd.members)
def test_snapshots_are_fresh(observation: Observation, settings: Settings, machine: Machine, note: Note) -> None:
    """The youngest snapshot is of the last day and can be read; none is older than they are kept."""
    said = said_of(settings, observation, machine, note)
    if not said:
        return
    taken = said["snapshot"]
    if machine.role == "witness":
        assert not taken, "it only votes, and snapshots lie on it"
        note("the sites take them")
        return
    assert taken, "there is no snapshot"
    hours, days, wrong = taken["age"] / 3600, taken["oldest"] / 86400, list[str]()
    if hours > _SNAPSHOT_HOURS:
        wrong.append(f"the youngest snapshot is {hours:.0f} hours old")
    if not taken["keys"]:
        wrong.append("the youngest snapshot cannot be read")
    if days > settings.etcd.snapshot_days + 2:
        wrong.append(f"a snapshot of {days:.0f} days ago is still there")
    judge(wrong)
    note(f"{count(taken['keys'], 'key')}, {hours:.0f} hours old")


@pytest.mark.control("etcd-04")
@pytest.mark.probe(etcd.keeps)
def test_the_next_snapshot_is_due(observation: Observation, settings: Settings, machine: Machine, note: Note) -> None:
    """On a site, the timer that takes snapshots runs, now and after a reboot, and is due within a day."""
    if machine.name not in settings.etcd_members or machine.role == "witness":
        note("no snapshots are taken here")
        return
    shown = units(observation.data)
    timer, service = shown[f"{KEEP}.timer"], shown[f"{KEEP}.service"]
    wrong = [*boots(timer), *told_besides(timer), *told_besides(service)]
    due = next_of(timer) - observation.at.timestamp()
    if not wrong and due > _SNAPSHOT_HOURS * 3600:
        wrong.append(f"the next snapshot is due in {due / 3600:.0f} hours only")
    judge(wrong)
    note(f"next in {due / 3600:.0f} h")
