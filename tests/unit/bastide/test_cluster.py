"""The database cluster as its machines see it, and what they write of names and passwords."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from cryptography import x509
from pydantic import SecretBytes

from bastide.cluster import cluster_of, password, role_verifier
from bastide.secrets import Keyring
from bastide.settings import Settings
from deploys.etcd import membership
from deploys.facts.fact import Facts
from deploys.local_access import LocalAccess
from deploys.postgres import patroni, routing
from tests.unit.deploys.box import MACHINES, SETTINGS

KEYRING = Keyring("prod", {"v1": SecretBytes(b"\1" * 32)})
PRIMARY, STANDBY, WITNESS = MACHINES


def settings(**databases: Any) -> Settings:
    data = SETTINGS.model_dump()
    return Settings.model_validate({**data, "postgres": {"databases": databases, "max_connections": 500}})


NAMES = settings(**{"App-1.x": {"roles": {"Own.er-1": "owner", "all": "writer"}}})


def test_each_machine_knows_what_it_is() -> None:
    primary, standby, witness = (cluster_of(NAMES, machine, "prod") for machine in MACHINES)
    assert [one.me.name for one in (primary, standby, witness)] == ["primary", "standby", "witness"]
    assert [member.name for member in primary.sites] == ["primary", "standby"]
    assert [member.name for member in primary.voters] == ["primary", "standby", "witness"]
    assert (primary.first, standby.first, witness.me.site) == (True, False, False)
    assert cluster_of(NAMES, STANDBY, "prod", first=True).first, "its data are said to be the cluster's"
    assert primary.memory_mb == 4096
    with pytest.raises(ValueError, match="no postgres"):
        cluster_of(SETTINGS, PRIMARY, "prod")


def test_a_second_standby_follows_and_does_not_vote() -> None:
    data = NAMES.model_dump()
    data["servers"]["third"] = {"role": "standby", "location": "hel1", "private_address": "10.20.0.14"}
    more = Settings.model_validate(data)
    found = cluster_of(more, PRIMARY, "prod")
    assert [member.name for member in found.sites] == ["primary", "standby", "third"]
    assert [member.name for member in found.voters] == ["primary", "standby", "witness"]


def test_a_password_belongs_to_one_role_of_one_stack() -> None:
    found = password(KEYRING, "app").get_secret_value()
    assert re.fullmatch("[0-9a-f]{64}", found)
    others = (password(KEYRING, "app2"), password(Keyring("lab", KEYRING.masters), "app"))
    assert found not in {other.get_secret_value() for other in others}
    assert role_verifier(KEYRING, "app") == role_verifier(KEYRING, "app")
    assert role_verifier(KEYRING, "app") != role_verifier(KEYRING, "app2")


def test_names_are_quoted_in_what_servers_and_pool_read() -> None:
    wanted = cluster_of(NAMES, PRIMARY, "prod")
    lines = patroni.hba(wanted)
    # in quotes a name has no meaning of its own: `all` is a role, not everybody
    assert 'hostssl "App-1.x" "all" 10.21.0.12/32 scram-sha-256' in lines
    assert lines[-1] == "host all all all reject"
    assert not any(line.startswith(("host ", "hostnossl")) for line in lines[:-1])
    config, users = routing.pool_files(wanted, KEYRING)[0], routing.pool_users_file(wanted, KEYRING)
    assert "dbname=App-1.x " in str(config.content)
    assert users.mode == 0o600
    assert "SCRAM" not in f"{users} {users.to_json()} {users.content}"


def test_memory_is_shared_out_by_what_the_machine_has() -> None:
    wanted = cluster_of(NAMES, PRIMARY, "prod")
    assert patroni.memory_of(wanted, 0)["shared_buffers"] == "1024MB"
    small = dataclasses.replace(wanted, memory_mb=0)
    assert patroni.memory_of(small, 2048)["shared_buffers"] == "512MB"


def test_times_fit_together() -> None:
    """Patroni 4.0 manual: loop_wait + 2 * retry_timeout <= ttl, or a leader would lose its lock by being slow."""
    shared = patroni.shared(cluster_of(NAMES, PRIMARY, "prod"))
    assert shared["loop_wait"] + 2 * shared["retry_timeout"] <= shared["ttl"]
    assert 0 < shared["primary_stop_timeout"] < 60, "a server that does not come down would keep the lease for ever"
    assert shared["synchronous_mode"]
    assert not shared["synchronous_mode_strict"]
    assert not shared["failsafe_mode"]


def test_a_guard_lets_in_accounts_and_closes_ports_to_all_others() -> None:
    guard = LocalAccess("postgres", "Patroni's API", (8008,), ("10.21.0.11", "10.21.0.12"), ("root", "postgres"))
    rules, unit = guard.files()
    text = str(rules.content)
    assert rules.check == "nft -c -f"
    assert "bastide_postgres" in text
    assert "flush ruleset" not in text, "others' tables are not its own"
    for word in ("8008", "10.21.0.11", "10.21.0.12", "root", "postgres"):
        assert word in text
    assert rules.path in str(unit.content)

    def drift(live: str) -> str:
        return guard.drift(Facts({"tables": {"bastide_postgres": {"live": live, "loaded": "a"}}}))

    assert drift("") == "the rules are not loaded"
    assert "changed by somebody" in drift("b")
    assert drift("a") == ""


def test_a_voter_knows_its_fellows_and_tells_no_secret() -> None:
    members = membership.members_of(NAMES, STANDBY, "prod")
    plan = membership.join_plan(members, KEYRING, begins=False, dismisses=True)
    assert plan["peers"] == {name: f"https://{NAMES.mesh[name]}:2380" for name in ("primary", "standby", "witness")}
    assert (plan["name"], plan["begins"], plan["token"]) == ("standby", False, "bastide-prod")
    assert membership.root_password(KEYRING, "v1") not in str(membership.tool_files(members, KEYRING))
    assert membership.timers(members) == ["bastide-etcd-keep.timer", "bastide-etcd-lead.timer"]


def test_a_machine_that_only_votes_gets_no_password_of_root_and_keeps_none_of_an_earlier_release() -> None:
    witness = membership.members_of(NAMES, WITNESS, "prod")
    files = membership.tool_files(witness, KEYRING)
    secret = membership.root_password(KEYRING, "v1")
    assert not any(secret in (file.content if isinstance(file.content, str) else "") for file in files)
    assert {file.path: file.content for file in files}["/etc/etcd/root.env"] is None
    assert membership.timers(witness) == []
    assert {file.content for file in membership.upkeep_files(NAMES.etcd, witness)} == {None}
    begun = membership.join_plan(witness, KEYRING, begins=True, dismisses=True)
    assert secret not in str(begun), "nor for a moment, when nobody asks for one"
    site = membership.upkeep_files(NAMES.etcd, membership.members_of(NAMES, PRIMARY, "prod"))
    assert f"--endpoints=https://{NAMES.mesh['witness']}:2379 defrag" in str(site[0].content)


def test_members_and_clients_are_told_apart_when_all_members_show_it() -> None:
    both = [file.content for file in membership.authority_files(KEYRING, apart=False)]
    clients, peers = (file.content for file in membership.authority_files(KEYRING, apart=True))
    assert clients != peers
    assert both == [f"{clients}{peers}"] * 2
    standby = membership.members_of(NAMES, STANDBY, "prod")
    files = {file.path: file.content for file in membership.certificate_files(standby, KEYRING)}
    shown = x509.load_pem_x509_certificate(str(files["/etc/etcd/peer.crt"]).encode())
    assert shown.issuer.rfc4514_string() == "CN=bastide prod etcd-peers v1"


def test_who_has_no_vote_is_told_of_those_who_have_and_reaches_none_with_other_accounts() -> None:
    data = NAMES.model_dump()
    data["servers"]["third"] = {"role": "standby", "location": "hel1", "private_address": "10.20.0.14"}
    more = Settings.model_validate({**data, "etcd": {"voters": ("primary", "third", "witness")}})
    left = membership.members_of(more, STANDBY, "prod")
    assert not left.votes
    assert list(left.addresses) == ["primary", "third", "witness"]
    guard = membership.local_access_of(left)
    others = membership.local_access_of(membership.members_of(NAMES, STANDBY, "prod"))
    assert set(guard.addresses) - set(others.addresses) == {"10.21.0.14"}, "whoever votes, and who does not"
    assert guard.accounts == ("root", "postgres"), "there is no account etcd"
    assert "etcd-server" not in membership.packages_of(left)
    assert set(more.volumes) == {"primary", "standby", "third", "witness"}, "none is taken from under one that runs"


def test_users_of_earlier_masters_stay_until_those_go() -> None:
    both = Keyring("prod", {"v1": SecretBytes(b"\1" * 32), "v2": SecretBytes(b"\2" * 32)})
    plan = membership.access_plan(membership.members_of(NAMES, PRIMARY, "prod"), both)
    assert plan["users"] == {
        f"patroni-{version}": membership.patroni_password(both, version) for version in ("v1", "v2")
    }
    assert plan["root"] == [membership.root_password(both, "v2"), membership.root_password(both, "v1")]
    assert plan["prefix"] == "/bastide/prod/"


def test_a_member_asks_itself_whether_there_is_a_quorum() -> None:
    """All three would have to be well else, and a lost one could not be brought back."""
    none_yet = "[ ! -e /etc/etcd/join.env ] || [ -e /var/lib/etcd/forming ] || "
    assert none_yet + membership.OWN_HEALTH == membership.QUORUM_CHECK
    assert "s/^# own: //p" in membership.OWN_HEALTH
