"""Who decides which database leads: what each voter says, what it answers to whoever has less than all, and where it
writes."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bastide.controls import count
from bastide.layout.etcd import KEEP, LEAD, prefix
from bastide.machines import Inventory, Machine
from bastide.settings import Settings
from tests.verify.evidence_plugin import not_provable_here
from tests.verify.findings import judge
from tests.verify.probes import cluster, etcd
from tests.verify.probes.cluster import ETCD_PORTS, Said, judge_silence
from tests.verify.probes.systemd import boots, next_of, told_besides, units
from tests.verify.probes.world import Observation, World

# what etcd 3.5 says to whoever may not come in (api/v3rpc/rpctypes/error.go)
_REFUSALS = ("user name is empty", "permission denied", "authentication failed", "user name not found")
_SNAPSHOT_HOURS = 26
_TIMER = f"{LEAD}.timer"
Note = Callable[[str], None]


def _said(settings: Settings, observation: Observation, machine: Machine, note: Note) -> dict[str, Any]:
    """What the voter says; empty on a machine that has no vote, where no voter may run."""
    said: Said = observation.data
    if machine.name in settings.etcd_members:
        return said.own
    assert not said.own["listening"], f"it has no vote, and a voter listens at {', '.join(said.own['listening'])}"
    note("it has no vote, and no voter runs")
    return {}


@pytest.mark.control("etcd-01")
@pytest.mark.probe(etcd.members)
def test_all_voters_agree(
    observation: Observation, settings: Settings, machine: Machine, inventory: Inventory, note: Note
) -> None:
    """Each voter answers, all name the same leader and members, and no two of them stand in one place."""
    said = _said(settings, observation, machine, note)
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


@pytest.mark.control("etcd-02")
@pytest.mark.probe(etcd.members)
def test_no_way_in_with_less(observation: Observation, settings: Settings, machine: Machine, note: Note) -> None:
    """Without TLS, with TLS 1.1, without a certificate, a password or the right one nobody gets anything."""
    said = _said(settings, observation, machine, note)
    if not said:
        return
    tries = said["tries"]
    judge(_ways_in(tries))
    answered = tries["certificate"], tries["a voter's certificate, as a voter"]
    note("refused: " + ", ".join(what for what in tries if tries[what] not in answered))


def _ways_in(tries: dict[str, Any]) -> Iterator[str]:
    """Who gets an answer with less than all, and what of this could not be tried."""
    good, voter = tries["certificate"], tries["a voter's certificate, as a voter"]
    if good["status"] != "200":
        yield f"whoever has a certificate gets no answer either ({good['why']})"
    elif good["tls"] not in ("TLSv1.2", "TLSv1.3"):
        yield f"it speaks {good['tls']}"
    # who comes in the clear is told so
    for what in ("no TLS", "TLS 1.1", "no certificate, as a voter"):
        if tries[what]["status"] not in ("", "400"):
            yield f"it answers whoever comes with {what}"
        elif what == "TLS 1.1" and "ALERT" not in tries[what]["why"]:
            yield f"TLS 1.1 could not be tried ({tries[what]['why']})"
    if voter["status"] != "200":
        yield f"other voters get no answer either ({voter['why']})"
    for what in ("no certificate", "a client's certificate, as a voter", "a voter's certificate, as a client"):
        if tries[what]["status"] != "":
            yield f"it answers whoever comes with {what}"
    for what in ("no password", "wrong password"):
        if not re.match(r"[0-9]", tries[what]):
            yield f"it lets in whoever comes with {what}"
        elif not any(word in tries[what] for word in _REFUSALS):
            yield f"{what} could not be tried: {tries[what][-80:]}"


@pytest.mark.control("etcd-02")
@pytest.mark.probe(etcd.members)
def test_other_accounts_have_no_way_to_it(
    observation: Observation, settings: Settings, machine: Machine, note: Note
) -> None:
    """It listens in the mesh only; root of any machine reaches every voter, accounts without a right reach none."""
    said = _said(settings, observation, machine, note) or observation.data.own
    votes = machine.name in settings.etcd_members
    allowed = {f"etcd {settings.mesh[machine.name]}:{port}" for port in ETCD_PORTS} if votes else set()
    more = sorted(set(said["listening"]) - allowed)
    wrong = [f"it listens at {', '.join(word.split()[1] for word in more)}"] if more else []
    judge([*wrong, *cluster.reached_by_accounts(said["accounts"], "voter")])
    listens = ", ".join(sorted(word.split()[1] for word in said["listening"]))
    note(f"{listens}; root alone gets through" if votes else "root alone gets through to those who vote")


@pytest.mark.control("etcd-02")
@pytest.mark.active
@pytest.mark.probe(cluster.strangers)
def test_strangers_reach_no_voter(observation: Observation, settings: Settings, note: Note) -> None:
    """From outside, no port of a voter answers."""
    judge_silence(settings, observation.data, ETCD_PORTS, note)


@pytest.mark.control("etcd-02")
@pytest.mark.probe(cluster.neighbours)
def test_neighbours_reach_no_voter_past_the_mesh(observation: Observation, settings: Settings, note: Note) -> None:
    """Another server reaches no voter's port but in the mesh."""
    if cluster.nobody_else(settings, note):
        return
    judge_silence(settings, {"another server": observation.data.get("outside", {})}, ETCD_PORTS, note)


@pytest.mark.control("etcd-02")
@pytest.mark.probe(etcd.members)
def test_keys_of_voters_are_closed(observation: Observation, settings: Settings, machine: Machine, note: Note) -> None:
    """Nobody but their owner reads the voter's key and root's password, and its certificate is good for weeks."""
    said = _said(settings, observation, machine, note)
    if not said:
        return
    wrong = [] if said["keys"] else ["there is no file with its key"]
    wrong += [f"others can read {path} ({mode})" for path, (mode, _) in said["keys"].items() if int(mode, 8) & 0o077]
    ends = said["tries"]["certificate"].get("ends", 0)
    left = (ends - observation.at.timestamp()) / 86400
    if left < 30:
        wrong.append(f"its certificate is good for {left:.0f} more days")
    judge(wrong)
    note(f"{', '.join(said['keys'])}; the certificate is good for {left:.0f} days")


@pytest.mark.control("etcd-03")
@pytest.mark.probe(etcd.members)
def test_the_witness_leads_the_voters(
    observation: Observation, settings: Settings, machine: Machine, note: Note
) -> None:
    """The witness leads the voters; where a site does, its timer that gives that to the witness runs."""
    said = _said(settings, observation, machine, note)
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
    said = _said(settings, observation, machine, note)
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
    said = _said(settings, observation, machine, note)
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
    said = _said(settings, observation, machine, note)
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


@pytest.mark.control("etcd-05")
@pytest.mark.probe(etcd.members)
def test_users_have_their_own_keys_only(
    observation: Observation, settings: Settings, machine: Machine, world: World, note: Note
) -> None:
    """root may do all, a user of Patroni's reads and writes below the stack's prefix; there is nobody else."""
    said = _said(settings, observation, machine, note)
    if not said:
        return
    if machine.name != settings.etcd_administrator:
        note(f"asked on {settings.etcd_administrator}: all voters would say the same")
        return
    users, rights = said["users"]["users"], said["users"]["rights"]
    assert "root" in users, "it does not say who its users are"
    wrong: list[str] = []
    for name, roles in users.items():
        if name != "root" and not re.fullmatch(r"patroni-v[0-9]+", name):
            wrong.append(f"a user that nobody declared: {name}")
        if roles != (["root"] if name == "root" else ["bastide"]):
            wrong.append(f"{name} has the roles {', '.join(roles) or '(none)'}")
    wrong += [f"a role that nobody declared: {name}" for name in sorted(set(rights) - {"root", "bastide"})]
    keys = prefix(world.stack)
    # permType 2 is READWRITE; the end of a prefix is the prefix with its last byte raised (etcd 3.5 API)
    wanted = " ".join(("2", *(base64.b64encode(word.encode()).decode() for word in (keys, keys[:-1] + "0"))))
    if rights.get("bastide") != [wanted]:
        wrong.append(f"Patroni's rights are other ones than {keys}")
    judge(wrong)
    note(f"{count(len(users) - 1, 'user')} of Patroni's, {keys}")


@pytest.mark.control("etcd-05")
@pytest.mark.probe(etcd.members)
def test_patroni_gets_nothing_else(observation: Observation, settings: Settings, machine: Machine, note: Note) -> None:
    """With its own password Patroni reads its keys, and is refused other keys, to read and to write, and the users."""
    said = _said(settings, observation, machine, note)
    if not said:
        return
    tries: dict[str, str] = said["patroni"]
    if machine.role == "witness":
        assert not tries, "Patroni is set up on a machine without databases"
        note("no Patroni here")
        return
    assert tries, "Patroni is not set up"
    wrong = [] if tries["own"].startswith("/") else [f"it gets no keys of its own either: {tries['own'][-80:]}"]
    for what, may in (
        ("read", "it may read keys of others"),
        ("write", "it may write keys of others"),
        ("users", "it may see who the users are"),
    ):
        if not re.match(r"[0-9]+ ", tries[what]):
            wrong.append(may)
        elif "permission denied" not in tries[what]:
            wrong.append(f"{what} could not be tried: {tries[what][-80:]}")
    judge(wrong)
    note("its own keys; refused: other keys to read, to write, and the list of users")


@pytest.mark.control("etcd-06")
@pytest.mark.probe(etcd.members)
def test_who_only_votes_administers_nothing(
    observation: Observation, settings: Settings, machine: Machine, note: Note
) -> None:
    """Asked for their users with all that lies on this machine, the voters refuse; with a site's they answer."""
    said = _said(settings, observation, machine, note)
    if not said:
        return
    answer: str = said["administers"]
    if machine.role != "witness":
        assert "root" in answer.split(), f"they refuse a site, too: {answer[-80:]}"
        note("the voters tell their users")
        return
    wrong = [f"a password lies in {path}" for path in said["keys"] if not path.endswith(".key")]
    if not re.match(r"[0-9]", answer):
        wrong.append("the voters tell their users to a server that only votes")
    elif not any(word in answer for word in _REFUSALS):
        wrong.append(f"the voters could not be asked: {answer[-80:]}")
    if said["patroni"]:
        wrong.append("Patroni's password lies on a server that only votes")
    judge(wrong)
    note("refused: user list")
