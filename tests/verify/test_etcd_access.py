"""Who gets to the votes, and what may they do there: what each voter answers to whoever has less than all."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bastide.controls import count
from bastide.layout.etcd import FOLDER, prefix
from bastide.machines import Inventory, Machine
from bastide.settings import Settings
from tests.verify.evidence_plugin import not_provable_here
from tests.verify.findings import judge
from tests.verify.probes import cluster, etcd
from tests.verify.probes.cluster import ETCD_PORTS, judge_silence
from tests.verify.probes.etcd import said_of
from tests.verify.probes.world import Observation, World

# what etcd 3.5 says to whoever may not come in (api/v3rpc/rpctypes/error.go)
_REFUSALS = ("user name is empty", "permission denied", "authentication failed", "user name not found")
# what a voter needs of its folder, and no password among it
_FILES = {"ca.crt", "peer-ca.crt", "server.crt", "server.key", "peer.crt", "peer.key"}
_FILES |= {"client.env", "own-endpoint", "join.env"}
Note = Callable[[str], None]


@pytest.mark.control("etcd-02")
@pytest.mark.probe(etcd.members)
def test_no_way_in_with_less(observation: Observation, settings: Settings, machine: Machine, note: Note) -> None:
    """Without TLS, with TLS 1.1, without a certificate, a password or the right one nobody gets anything."""
    said = said_of(settings, observation, machine, note)
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
    said = said_of(settings, observation, machine, note) or observation.data.own
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
    said = said_of(settings, observation, machine, note)
    if not said:
        return
    wrong = [] if said["keys"] else ["there is no file with its key"]
    wrong += [f"others can read {path} ({mode})" for path, (mode, _) in said["keys"].items() if int(mode, 8) & 0o077]
    wrong += cluster.strangers_own(said["keys"], {"": "etcd"})
    ends = said["tries"]["certificate"].get("ends", 0)
    left = (ends - observation.at.timestamp()) / 86400
    if left < 30:
        wrong.append(f"its certificate is good for {left:.0f} more days")
    judge(wrong)
    note(f"{', '.join(said['keys'])}; the certificate is good for {left:.0f} days")


@pytest.mark.control("etcd-02")
@pytest.mark.probe(etcd.members)
def test_voters_trust_the_declared_authorities(
    observation: Observation, settings: Settings, machine: Machine, inventory: Inventory, note: Note
) -> None:
    """Whom a running voter trusts as a client, and whom as a voter, is this stack's own authority, and none beside."""
    said = said_of(settings, observation, machine, note)
    if not said:
        return
    if not inventory.authorities:
        not_provable_here("the inventory does not say whom to trust: `make inventory` writes it anew")
    whom = {"etcd": "clients", "etcd-peers": "other voters"}
    judge(
        f"it trusts another authority than this stack's for {text}"
        for purpose, text in whom.items()
        if said["trusts"].get(purpose) != inventory.authorities[purpose]
    )
    note("one for clients and one for voters, as the stack's master gives them")


@pytest.mark.control("etcd-05")
@pytest.mark.probe(etcd.members)
def test_users_have_their_own_keys_only(
    observation: Observation, settings: Settings, machine: Machine, world: World, note: Note
) -> None:
    """root may do all, a user of Patroni's reads and writes below the stack's prefix; there is nobody else."""
    said = said_of(settings, observation, machine, note)
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
    said = said_of(settings, observation, machine, note)
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
    said = said_of(settings, observation, machine, note)
    if not said:
        return
    answer: str = said["administers"]
    if machine.role != "witness":
        assert "root" in answer.split(), f"they refuse a site, too: {answer[-80:]}"
        note("the voters tell their users")
        return
    wrong = [f"a password lies in {path}" for path in said["keys"] if not path.endswith(".key")]
    wrong += [f"{FOLDER}/{name} is nobody's here" for name in said["folder"] if name not in _FILES]
    if not re.match(r"[0-9]", answer):
        wrong.append("the voters tell their users to a server that only votes")
    elif not any(word in answer for word in _REFUSALS):
        wrong.append(f"the voters could not be asked: {answer[-80:]}")
    if said["patroni"]:
        wrong.append("Patroni's password lies on a server that only votes")
    judge(wrong)
    note("refused: user list")
