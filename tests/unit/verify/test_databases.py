"""What turns the checks of voters and databases red, for which reason, and that nothing is judged without databases."""

from __future__ import annotations

import base64
import copy
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from bastide.cluster import cluster_of
from deploys.postgres.patroni import hba, shared
from tests.unit.bastide.proofs import SETTINGS, inventory
from tests.verify import test_etcd as checked_etcd
from tests.verify import test_postgres as checked
from tests.verify.probes import postgres_rights as rights
from tests.verify.probes.cluster import Said
from tests.verify.probes.cluster_commands import commands
from tests.verify.probes.judge_reach import judge_outside
from tests.verify.probes.remote import knocks
from tests.verify.probes.world import Sight, now

PRIMARY, STANDBY, WITNESS = inventory().machines
POSTGRES = SETTINGS.postgres
assert POSTGRES
NO_POWER: dict[str, Any] = {"login": True, "super": False, "powers": [], "groups": [], "password": "SCRAM-SHA-256"}
ROLES: dict[str, dict[str, Any]] = {
    "postgres": {**NO_POWER, "super": True, "powers": ["createrole", "createdb"], "password": "none"},
    "replicator": {**NO_POWER, "powers": ["replication"]},
    "rewinder": NO_POWER,
    **dict.fromkeys(POSTGRES.roles, NO_POWER),
}
ROW = {"name": "standby", "state": "streaming", "sync": "sync", "bytes": 0, "seconds": 0, "tls": "TLSv1.3"}
PLATE = {"answer": "asks for scram", "tls": "TLSv1.3"}


def sight(data: object) -> Sight:
    return Sight("psql", data, now(), 0.0)


def servers(**changed: Any) -> Sight:
    """The primary leads and the standby follows; `changed` are the leader's facts."""
    leads = {"sql": {"recovery": False, "standbys": [ROW], "receiver": None, **changed}}
    follows = {"sql": {"recovery": True, "standbys": None, "receiver": None}}
    return sight(Said(leads, {"primary": leads, "standby": follows}))


def rule(line: str) -> dict[str, Any]:
    """A line of pg_hba.conf as pg_hba_file_rules has it."""
    words = line.replace('"', "").split()
    address, _, length = words[3].partition("/") if len(words) == 5 else ("", "", "")
    return {
        "type": words[0],
        "database": [words[1]],
        "user": [words[2]],
        "address": address or None,
        "netmask": "255.255.255.255" if length else None,
        "method": words[-1],
        "options": None,
        "error": None,
    }


def test_declared_rules_are_read_back_as_they_were_written() -> None:
    lines = hba(cluster_of(SETTINGS, PRIMARY, "example"))
    plain = [line.replace('"', "") for line in lines]
    assert [rights.line_of(rule(line)) for line in lines] == plain
    assert rights.difference(plain, plain) == ""
    assert "nobody declared: host all all 0.0.0.0/0 trust" in rights.difference(
        ["host all all 0.0.0.0/0 trust", *plain], plain
    )
    assert rights.difference(plain[1:], plain) == f"a line is missing: {plain[0]}"
    # the first line that fits counts
    assert "another order" in rights.difference(plain[::-1], plain)
    assert "an error" in rights.line_of({**rule(lines[0]), "error": "invalid"})


@pytest.mark.parametrize(
    ("name", "changed", "says"),
    [
        ("visitor", {**NO_POWER, "super": True}, "nobody declared may log in as a superuser: visitor"),
        ("visitor", NO_POWER, "nobody declared may log in: visitor"),
        # without a login it still hands on what it may
        ("visitor", {**NO_POWER, "login": False, "super": True}, "visitor may do more"),
        (POSTGRES.roles[0], {**NO_POWER, "super": True}, "may do more than is declared: superuser"),
        (POSTGRES.roles[0], {**NO_POWER, "powers": ["bypassrls"]}, "may do more than is declared: bypassrls"),
        (POSTGRES.roles[0], {**NO_POWER, "groups": ["pg_read_all_data"]}, "has the rights of pg_read_all_data"),
        (POSTGRES.roles[0], {**NO_POWER, "password": "none"}, "is kept as none"),
        (POSTGRES.roles[0], {**NO_POWER, "login": False}, "no role that may log in"),
        ("rewinder", {**NO_POWER, "powers": ["replication"]}, "rewinder may do more"),
    ],
)
def test_roles_with_more_or_less_are_named(name: str, changed: dict[str, Any], says: str) -> None:
    assert POSTGRES
    assert rights.roles_differ(ROLES, POSTGRES.roles) == ""
    assert says in rights.roles_differ({**ROLES, name: changed}, POSTGRES.roles)


def test_a_password_is_no_difference_and_a_right_is() -> None:
    assert POSTGRES
    role = {"login": True, "limit": 40, "digest": "theirs", "powers": [], "member_of": [], "ours": True}
    seen: dict[str, Any] = {"roles": {name: dict(role) for name in POSTGRES.roles}, "databases": {}, "inside": {}}
    about_roles = [line for line in rights.missing(POSTGRES, 2, seen) if "role" in line or "password" in line]
    assert about_roles == []
    assert seen["roles"][POSTGRES.roles[0]]["digest"] == "theirs"
    seen["roles"][POSTGRES.roles[0]]["powers"] = ["superuser"]
    assert f"set what {POSTGRES.roles[0]} is" in rights.missing(POSTGRES, 2, seen)


def test_the_first_difference_of_settings_is_named_with_its_place() -> None:
    wanted = shared(cluster_of(SETTINGS, PRIMARY, "example"))
    assert rights.differs(copy.deepcopy(wanted), wanted) == ""
    assert rights.differs({**wanted, "failsafe_mode": True}, wanted) == "failsafe_mode is True, not False"
    assert rights.differs({**wanted, "more": 1}, wanted) == "more is 1, not None"
    inner = copy.deepcopy(wanted)
    inner["postgresql"]["parameters"]["wal_level"] = "minimal"
    assert rights.differs(inner, wanted) == "postgresql.parameters.wal_level is minimal, not replica"


def test_places_in_the_stream_are_in_order() -> None:
    assert rights.position("0/5000060") < rights.position("0/50000A0") < rights.position("1/0")
    assert rights.position("failed") == rights.position("") == 0


def test_a_standby_as_declared_is_proven() -> None:
    notes: list[str] = []
    checked.test_the_standby_streams(servers(), SETTINGS, PRIMARY, inventory(), notes.append)
    checked.test_the_standby_streams(servers(), SETTINGS, STANDBY, inventory(), notes.append)
    assert notes == ["standby from primary: sync, 0 bytes behind"] * 2


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"standbys": None}, "standby does not stream from primary"),
        ({"standbys": [{**ROW, "state": "catchup"}]}, "does not stream: catchup"),
        ({"standbys": [{**ROW, "tls": ""}]}, "streams by no TLS"),
        ({"standbys": [{**ROW, "sync": "async"}]}, "a commit waits for no standby: they are async"),
        ({"standbys": [{**ROW, "bytes": 2**30}]}, "bytes behind"),
        ({"standbys": [{**ROW, "seconds": 90}]}, "90 seconds behind"),
        ({"recovery": True}, "no server takes writes"),
    ],
)
def test_a_standby_that_lags_or_does_not_stream_is_named(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        checked.test_the_standby_streams(servers(**changed), SETTINGS, PRIMARY, inventory(), [].append)


def test_two_leaders_are_named() -> None:
    both = {"sql": {"recovery": False}}
    with pytest.raises(AssertionError, match="primary and standby both take writes"):
        checked._leader(SETTINGS, sight(Said(both, {"primary": both, "standby": both})))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"right": {"answer": "lets in"}}, "is not asked for a password: lets in"),
        ({"no TLS": {"answer": "asks for scram"}}, "does not refuse (no TLS)"),
        ({"superuser": {"answer": "asks for scram"}}, "does not refuse (superuser)"),
        ({"wrong password": {"answer": "lets in"}}, "does not refuse (wrong password)"),
        ({"TLS 1.1": {"answer": "asks for scram"}}, "it takes TLS 1.1"),
        # an OpenSSL that cannot speak it says nothing of the server
        ({"TLS 1.1": {"answer": "no TLS: NO_PROTOCOLS_AVAILABLE"}}, "could not be tried"),
        ({"TLS 1.1": {"answer": "silent: timed out"}}, "it takes TLS 1.1"),
    ],
)
def test_a_way_in_is_named(changed: dict[str, Any], says: str) -> None:
    refused = {"answer": "refuses: pg_hba.conf rejects connection"}
    tries = {
        "right": PLATE,
        **dict.fromkeys(("no TLS", "superuser", "elsewhere", "nobody", "wrong password"), refused),
        "TLS 1.1": {"answer": "no TLS: TLSV1_ALERT_PROTOCOL_VERSION"},
    }
    own = {"sql": {"recovery": False}, "tries": tries}
    checked.test_no_way_in_with_less(sight(Said(own, {})), SETTINGS, [].append)
    with pytest.raises(AssertionError, match=says.replace("(", r"\(").replace(")", r"\)")):
        checked.test_no_way_in_with_less(sight(Said({**own, "tries": {**tries, **changed}}, {})), SETTINGS, [].append)


def marked(**changed: Any) -> dict[str, dict[str, Any]]:
    primary = {"leads": True, "written": "0/50", "open": [], "sealed": ["wg0"], "there": ""}
    return {"primary": {**primary, **changed}, "standby": {**primary, "leads": False, "written": "", "there": "0/60"}}


def test_a_word_on_the_wire_is_named_and_silence_proves_nothing() -> None:
    def judge(seen: dict[str, dict[str, Any]]) -> None:
        checked.test_a_word_is_not_read_on_the_way(sight(seen), SETTINGS, PRIMARY, [].append)

    judge(marked())
    with pytest.raises(AssertionError, match="can be read on eth1, wg0"):
        judge(marked(open=["eth1", "wg0"]))
    with pytest.raises(AssertionError, match="silence proves nothing"):
        judge(marked(sealed=[]))
    with pytest.raises(AssertionError, match="could not be written"):
        judge(marked(written="failed"))
    late = marked(written="0/70")
    with pytest.raises(AssertionError, match="the word did not come to standby"):
        judge(late)


def voter(**changed: Any) -> Sight:
    status = {"header": {"cluster_id": 1, "member_id": 1}, "leader": 3}
    members = [{"name": name, "ID": number} for number, name in enumerate(SETTINGS.etcd_members, 1)]
    own = {"voters": dict.fromkeys(SETTINGS.etcd_members, status), "members": members, **changed}
    return sight(Said(own, {}))


def test_voters_that_disagree_are_named() -> None:
    def judge(seen: Sight) -> None:
        checked_etcd.test_all_voters_agree(seen, SETTINGS, PRIMARY, inventory(), [].append)

    judge(voter())
    all_ = voter().data.own["voters"]
    other = {"header": {"cluster_id": 2}, "leader": 3}
    for changed, says in (
        ({**all_, "standby": {}}, "no answer from the voter on standby"),
        ({**all_, "standby": other}, "several clusters"),
        ({**all_, "standby": {**all_["standby"], "leader": 1}}, "do not agree"),
        ({**all_, "standby": {**all_["standby"], "errors": ["NOSPACE"]}}, "raised an alarm"),
    ):
        with pytest.raises(AssertionError, match=says):
            judge(voter(voters=changed))
    with pytest.raises(AssertionError, match="those who vote are primary"):
        judge(voter(members=[{"name": "primary", "ID": 1}]))


def test_the_witness_leads_or_something_brings_that_back() -> None:
    def judge(timer: str, result: str, leader: int) -> None:
        seen = voter(mover={"timer": timer, "result": result})
        seen.data.own["voters"] = {name: {"leader": leader} for name in SETTINGS.etcd_members}
        checked_etcd.test_the_witness_leads_the_voters(seen, SETTINGS, WITNESS, [].append)

    judge("active", "success", 3)
    judge("active", "success", 1)
    with pytest.raises(AssertionError, match="nothing brings that back"):
        judge("inactive", "success", 1)
    with pytest.raises(AssertionError, match="moving it fails"):
        judge("active", "exit-code", 1)


def test_rights_of_patroni_are_its_prefix_alone() -> None:
    def judge(keys: str, end: str) -> None:
        line = " ".join(("2", *(base64.b64encode(word.encode()).decode() for word in (keys, end))))
        users = {"users": {"root": ["root"], "patroni-v1": ["bastide"]}, "rights": {"root": [], "bastide": [line]}}
        world: Any = type("World", (), {"stack": "example"})
        checked_etcd.test_users_have_their_own_keys_only(voter(users=users), SETTINGS, WITNESS, world, [].append)

    judge("/bastide/example/", "/bastide/example0")
    with pytest.raises(AssertionError, match="rights are other ones"):
        judge("/", "0")


@pytest.mark.parametrize("check", [checked_etcd.test_snapshots_are_fresh, checked_etcd.test_a_full_disk_takes_no_vote])
def test_nothing_is_proven_without_databases(check: Callable[..., None]) -> None:
    none = SETTINGS.model_copy(update={"postgres": None})
    with pytest.raises(pytest.skip.Exception, match="declares no databases"):
        check(sight(Said({}, {})), none, PRIMARY, [].append)
    assert set(commands(none, PRIMARY, "example").values()) == {"true"}


def test_a_machine_without_a_vote_runs_no_voter() -> None:
    fewer = SETTINGS.model_copy(update={"etcd": SETTINGS.etcd.model_copy(update={"voters": ("standby", "witness")})})
    assert "root.env" not in commands(fewer, PRIMARY, "example")["voter"]
    notes: list[str] = []
    checked_etcd.test_all_voters_agree(sight(Said({"listening": []}, {})), fewer, PRIMARY, inventory(), notes.append)
    assert notes == ["it has no vote, and no voter runs"]
    with pytest.raises(AssertionError, match="no vote, and a voter listens"):
        checked_etcd.test_all_voters_agree(
            sight(Said({"listening": ["etcd 10.21.0.11:2379"]}, {})), fewer, PRIMARY, inventory(), [].append
        )


def test_accounts_of_a_machine_without_a_vote_reach_no_voter_either() -> None:
    fewer = SETTINGS.model_copy(update={"etcd": SETTINGS.etcd.model_copy(update={"voters": ("standby", "witness")})})

    def judge(root: str, other: str) -> None:
        accounts = {"0": {"10.21.0.12:2379": root}, "65534": {"10.21.0.12:2379": other}}
        seen = sight(Said({"listening": [], "accounts": accounts}, {}))
        checked_etcd.test_other_accounts_have_no_way_to_it(seen, fewer, PRIMARY, [].append)

    judge("open", "closed")
    with pytest.raises(AssertionError, match="65534 of this machine gets through"):
        judge("open", "open")
    with pytest.raises(AssertionError, match="silence proves nothing"):
        judge("closed", "closed")


def test_what_a_stranger_reaches_is_named() -> None:
    knock = {"ping": True, "ports": {"5432": "filtered", "8008": "filtered"}}
    judge_outside(SETTINGS, {"prober": knock}, (5432, 8008), [].append)
    for changed, says in (
        ({"ping": False}, "silence proves nothing"),
        ({"ports": {"5432": "open", "8008": "filtered"}}, r"port 5432 \(open\) can be reached"),
        ({"ports": {"5432": "closed", "8008": "filtered"}}, r"5432 \(closed\)"),
        ({"ports": {}}, "not tried"),
    ):
        with pytest.raises(AssertionError, match=says):
            judge_outside(SETTINGS, {"prober": {**knock, **changed}}, (5432, 8008), [].append)


@pytest.mark.parametrize(
    ("says", "answer"),
    [
        (b"R" + struct.pack("!II", 23, 10) + b"SCRAM-SHA-256\0\0", "asks for scram"),
        (b"R" + struct.pack("!II", 12, 5) + b"salt", "asks for something else"),
        (b"R" + struct.pack("!II", 8, 0), "lets in"),
        (b"E" + struct.pack("!I", 20) + b"SFATAL\0Mno way\0\0", "refuses: no way"),
        (b"", "refuses: it hangs up"),
    ],
)
def test_a_servers_first_word_is_understood(says: bytes, answer: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:

        def serve() -> None:
            line, _ = door.accept()
            with line:
                line.recv(1024)
                line.sendall(says)

        server = threading.Thread(target=serve)
        server.start()
        assert knocks.postgres("127.0.0.1", door.getsockname()[1], "app", "app", None)["answer"] == answer
        server.join()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_a_server_without_tls_or_without_a_server_is_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]

        def serve() -> None:
            line, _ = door.accept()
            with line:
                line.recv(1024)
                line.sendall(b"N")

        server = threading.Thread(target=serve)
        server.start()
        found = knocks.postgres("127.0.0.1", port, "app", "app", knocks.old_client())
        assert found["answer"] == "no TLS: it is not offered"
        server.join()
    assert knocks.postgres("127.0.0.1", port, "app", "app", None)["answer"].startswith("silent")


def test_scripts_for_machines_are_whole_programs() -> None:
    for machine in (PRIMARY, WITNESS):
        for command in commands(SETTINGS, machine, "example").values():
            assert len(command) < 100_000  # Linux takes 128 KB in one word (MAX_ARG_STRLEN)
            program = command.split()[2] if " " in command else ""
            text = base64.b64decode(program).decode()
            done = subprocess.run(
                [sys.executable, "-c", "import sys; compile(sys.stdin.read(), 'script', 'exec')"],
                input=text,
                text=True,
                check=False,
                capture_output=True,
            )
            assert done.returncode == 0, done.stderr
