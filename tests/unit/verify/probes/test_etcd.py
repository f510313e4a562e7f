"""What turns the checks of etcd's members red, for which reason, and that nothing is judged without databases."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.bastide.proofs import SETTINGS, inventory
from tests.verify import test_etcd as checked
from tests.verify import test_etcd_access as access
from tests.verify.probes import etcd
from tests.verify.probes.cluster import Said, reached_by_accounts, strangers_own
from tests.verify.probes.world import Observation, now

PRIMARY, STANDBY, WITNESS = inventory().machines


def observation(data: object) -> Observation:
    return Observation("psql", data, now(), 0.0)


def voter(**changed: Any) -> Observation:
    status = {"header": {"cluster_id": 1, "member_id": 1}, "leader": 3}
    members = [{"name": name, "ID": number} for number, name in enumerate(SETTINGS.etcd_members, 1)]
    well = {"status": "200", "why": ""}
    own = {"status": dict.fromkeys(SETTINGS.etcd_members, status), "members": members, "well": well, **changed}
    return observation(Said(own, {}))


def test_voters_that_disagree_are_named() -> None:
    def judge(seen: Observation) -> None:
        checked.test_all_voters_agree(seen, SETTINGS, PRIMARY, inventory(), [].append)

    judge(voter())
    all_ = voter().data.own["status"]
    other = {"header": {"cluster_id": 2}, "leader": 3}
    for changed, says in (
        ({**all_, "standby": {}}, "no answer from the voter on standby"),
        ({**all_, "standby": other}, "several clusters"),
        ({**all_, "standby": {**all_["standby"], "leader": 1}}, "do not agree"),
        ({**all_, "standby": {**all_["standby"], "errors": ["NOSPACE"]}}, "raised an alarm"),
    ):
        with pytest.raises(AssertionError, match=says):
            judge(voter(status=changed))
    with pytest.raises(AssertionError, match="those who vote are primary"):
        judge(voter(members=[{"name": "primary", "ID": 1}]))


def test_another_authority_is_named_by_whom_it_may_vouch_for() -> None:
    own = {"etcd": "1", "etcd-peers": "2"}

    def judge(trusts: dict[str, str], known: dict[str, str]) -> None:
        all_ = replace(inventory(), authorities=known)
        access.test_voters_trust_the_declared_authorities(voter(trusts=trusts), SETTINGS, PRIMARY, all_, [].append)

    judge(own, own)
    with pytest.raises(AssertionError, match="another authority than this stack's for other voters"):
        judge({**own, "etcd-peers": "3"}, own)
    with pytest.raises(AssertionError, match="for clients"):
        judge({}, own)
    with pytest.raises(pytest.skip.Exception, match="make inventory"):
        judge(own, {})


def test_a_key_of_somebody_elses_is_named() -> None:
    keys = {"/etc/pgbouncer/server.key": ["0o400", "pgbouncer"], "/etc/etcd/server.key": ["0o400", "root"]}
    accounts = {"/etc/pgbouncer/": "pgbouncer", "": "etcd"}
    assert list(strangers_own(keys, accounts)) == []
    keys["/etc/etcd/server.key"][1] = "pgbouncer"
    assert list(strangers_own(keys, accounts)) == ["/etc/etcd/server.key belongs to pgbouncer, who can read it"]


def test_the_witness_leads_or_something_brings_that_back() -> None:
    def judge(timer: str, result: str, leader: int) -> None:
        seen = voter(mover={"timer": timer, "result": result})
        seen.data.own["status"] = {name: {"leader": leader} for name in SETTINGS.etcd_members}
        checked.test_the_witness_leads_the_voters(seen, SETTINGS, PRIMARY, [].append)

    judge("active", "success", 3)
    judge("active", "success", 1)
    with pytest.raises(AssertionError, match="nothing gives that away"):
        judge("inactive", "success", 1)
    with pytest.raises(AssertionError, match="moving it fails"):
        judge("active", "exit-code", 1)


def test_a_voter_at_no_site_says_whether_it_sees_a_quorum() -> None:
    """It has no password to ask the others with."""

    def judge(seen: Observation) -> None:
        checked.test_all_voters_agree(seen, SETTINGS, WITNESS, inventory(), [].append)

    judge(voter(status={}))
    with pytest.raises(AssertionError, match="sees no quorum"):
        judge(voter(status={}, well={"status": "503", "why": ""}))
    with pytest.raises(AssertionError, match="those who vote are primary"):
        judge(voter(status={}, members=[{"name": "primary", "ID": 1}]))


@pytest.mark.parametrize(
    ("answer", "keys", "says"),
    [
        ("1 Error: etcdserver: user name is empty", {"/etc/etcd/peer.key": ["0o400", "1"]}, ""),
        ("patroni-v1\nroot", {}, "the voters tell their users"),
        ("1 Error: context deadline exceeded", {}, "could not be asked"),
        ("1 user name is empty", {}, "/etc/etcd/more is nobody's"),
        ("1 user name is empty", {"/etc/etcd/root.env": ["0o600", "0"]}, "a password lies in /etc/etcd/root.env"),
    ],
)
def test_who_only_votes_has_no_password(answer: str, keys: dict[str, Any], says: str) -> None:
    def judge(machine: Any, said: str) -> None:
        seen = voter(
            administers=said,
            keys=keys,
            patroni={},
            folder=["ca.crt", "own-endpoint", *(["more"] if "more" in says else [])],
        )
        access.test_who_only_votes_administers_nothing(seen, SETTINGS, machine, [].append)

    judge(PRIMARY, "patroni-v1\nroot")
    with pytest.raises(AssertionError, match="refuse a site"):
        judge(PRIMARY, "1 Error: authentication failed")
    if not says:
        judge(WITNESS, answer)
        return
    with pytest.raises(AssertionError, match=says):
        judge(WITNESS, answer)


def test_whose_certificate_is_worth_what() -> None:
    good, none = {"status": "200", "tls": "TLSv1.3", "why": ""}, {"status": "", "why": "TLSV1_ALERT_UNKNOWN_CA"}
    fine = {
        "certificate": good,
        "no TLS": none,
        "TLS 1.1": {**none, "why": "TLSV1_ALERT_PROTOCOL_VERSION"},
        "no certificate": none,
        "no certificate, as a voter": none,
        "a voter's certificate, as a voter": {**good},
        "a client's certificate, as a voter": none,
        "a voter's certificate, as a client": none,
        "no password": "1 user name is empty",
        "wrong password": "1 authentication failed",
    }

    def judge(**changed: Any) -> None:
        seen = voter(tries=fine | {key.replace("_", " "): value for key, value in changed.items()})
        access.test_no_way_in_with_less(seen, SETTINGS, WITNESS, [].append)

    judge()
    for what in ("a client's certificate, as a voter", "a voter's certificate, as a client"):
        with pytest.raises(AssertionError, match=f"it answers whoever comes with {what}"):
            judge(**{what: good})
    with pytest.raises(AssertionError, match="other voters get no answer"):
        judge(**{"a voter's certificate, as a voter": none})


def test_every_way_in_with_less_is_named() -> None:
    answers, could_not = {"status": "200", "tls": "TLSv1.1", "why": ""}, {"status": "", "why": "NO_PROTOCOLS_AVAILABLE"}
    tries = {
        "certificate": answers,
        "no TLS": answers,
        "TLS 1.1": could_not,
        # who comes without one in the clear may be told so, who comes over TLS may not
        "no certificate": {"status": "400", "why": ""},
        "no certificate, as a voter": could_not,
        "a voter's certificate, as a voter": could_not,
        "a client's certificate, as a voter": could_not,
        "a voter's certificate, as a client": answers,
        "no password": "patroni-v1",
        "wrong password": "1 context deadline exceeded",
    }
    assert list(access._ways_in(tries)) == [
        "it speaks TLSv1.1",
        "it answers whoever comes with no TLS",
        "TLS 1.1 could not be tried (NO_PROTOCOLS_AVAILABLE)",
        "other voters get no answer either (NO_PROTOCOLS_AVAILABLE)",
        "it answers whoever comes with no certificate",
        "it answers whoever comes with a voter's certificate, as a client",
        "it lets in whoever comes with no password",
        "wrong password could not be tried: 1 context deadline exceeded",
    ]


def test_all_that_voters_do_not_agree_on_is_named() -> None:
    one, other = {"header": {"cluster_id": 1}, "leader": 1, "errors": ["NOSPACE"]}, {"header": {"cluster_id": 2}}
    assert list(checked._disagreements({"a": one, "b": other, "c": {}})) == [
        "the voters belong to several clusters",
        "the voters do not agree on who leads them",
        "a voter raised an alarm: a",
    ]
    assert list(checked._disagreements({})) == ["nobody says which voters there are"]


def test_every_account_that_gets_through_is_named() -> None:
    closed = {"10.21.0.11:2379": "refused", "10.21.0.11:2380": "refused"}
    fine = {"0": dict.fromkeys(closed, "open"), "65534": closed, "41000": closed}
    assert not list(reached_by_accounts(fine, "voter"))
    assert list(reached_by_accounts({"0": closed, "65534": {}, "41000": fine["0"]}, "voter")) == [
        "root reaches not every voter either: silence proves nothing",
        "nothing could be tried as account 65534",
        "account 41000 of this machine gets through to 10.21.0.11:2379, 10.21.0.11:2380",
    ]


def test_rights_of_patroni_are_its_prefix_alone() -> None:
    def judge(keys: str, end: str) -> None:
        line = " ".join(("2", *(base64.b64encode(word.encode()).decode() for word in (keys, end))))
        users = {"users": {"root": ["root"], "patroni-v1": ["bastide"]}, "rights": {"root": [], "bastide": [line]}}
        world: Any = type("World", (), {"stack": "example"})
        access.test_users_have_their_own_keys_only(voter(users=users), SETTINGS, PRIMARY, world, [].append)

    judge("/bastide/example/", "/bastide/example0")
    with pytest.raises(AssertionError, match="rights are other ones"):
        judge("/", "0")


def test_a_machine_without_a_vote_runs_no_voter() -> None:
    fewer = SETTINGS.model_copy(update={"etcd": SETTINGS.etcd.model_copy(update={"voters": ("standby", "witness")})})
    assert '"ctl"' not in etcd.member_script(fewer, PRIMARY, "example")
    assert '"ctl"' in etcd.member_script(fewer, STANDBY, "example")
    notes: list[str] = []
    checked.test_all_voters_agree(observation(Said({"listening": []}, {})), fewer, PRIMARY, inventory(), notes.append)
    assert notes == ["it has no vote, and no voter runs"]
    with pytest.raises(AssertionError, match="no vote, and a voter listens"):
        checked.test_all_voters_agree(
            observation(Said({"listening": ["etcd 10.21.0.11:2379"]}, {})), fewer, PRIMARY, inventory(), [].append
        )


def test_accounts_of_a_machine_without_a_vote_reach_no_voter_either() -> None:
    fewer = SETTINGS.model_copy(update={"etcd": SETTINGS.etcd.model_copy(update={"voters": ("standby", "witness")})})

    def judge(root: str, other: str) -> None:
        accounts = {"0": {"10.21.0.12:2379": root}, "65534": {"10.21.0.12:2379": other}}
        seen = observation(Said({"listening": [], "accounts": accounts}, {}))
        access.test_other_accounts_have_no_way_to_it(seen, fewer, PRIMARY, [].append)

    judge("open", "closed")
    with pytest.raises(AssertionError, match="65534 of this machine gets through"):
        judge("open", "open")
    with pytest.raises(AssertionError, match="silence proves nothing"):
        judge("closed", "closed")
