"""What turns the checks of database servers red, and for which reason."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import Any

import pytest

from bastide.settings.postgres import ReplicaReads
from tests.unit.bastide.proofs import SETTINGS, inventory
from tests.verify import test_postgres as checked_postgres
from tests.verify import test_postgres_access as checked_access
from tests.verify.probes import postgres
from tests.verify.probes.cluster import Said, judge_silence
from tests.verify.probes.postgres_rules import position, shared_settings
from tests.verify.probes.world import Observation, now

PRIMARY, STANDBY, WITNESS = inventory().machines


POSTGRES = SETTINGS.postgres
assert POSTGRES
DATABASES = tuple(POSTGRES.databases)
ROW = {"name": "standby", "state": "streaming", "sync": "sync", "bytes": 0, "seconds": 0, "tls": "TLSv1.3"}


PLATE = {"answer": "asks for scram", "tls": "TLSv1.3"}


def observation(data: object) -> Observation:
    return Observation("psql", data, now(), 0.0)


def servers(**changed: Any) -> Observation:
    """The primary leads and the standby follows; `changed` are the leader's facts."""
    leads = {"sql": {"recovery": False, "standbys": [ROW], "receiver": None, **changed}}
    follows = {"sql": {"recovery": True, "standbys": None, "receiver": None}}
    return observation(Said(leads, {"primary": leads, "standby": follows}))


def test_places_in_the_stream_are_in_order() -> None:
    assert position("0/5000060") < position("0/50000A0") < position("1/0")
    assert position("failed") == position("") == 0


def test_a_standby_as_declared_is_proven() -> None:
    notes: list[str] = []
    checked_postgres.test_the_standby_streams(servers(), SETTINGS, PRIMARY, inventory(), notes.append)
    checked_postgres.test_the_standby_streams(servers(), SETTINGS, STANDBY, inventory(), notes.append)
    assert notes == ["standby from primary: sync, 0 bytes behind"] * 2


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"standbys": None}, "standby does not stream from primary"),
        ({"standbys": [{**ROW, "state": "catchup"}]}, "does not stream: catchup"),
        ({"standbys": [{**ROW, "tls": ""}]}, "streams by no TLS"),
        ({"standbys": [{**ROW, "bytes": 2**30}]}, "bytes behind"),
        ({"standbys": [{**ROW, "seconds": 90}]}, "90 seconds behind"),
        ({"recovery": True}, "no server takes writes"),
    ],
)
def test_a_standby_that_lags_or_does_not_stream_is_named(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        checked_postgres.test_the_standby_streams(servers(**changed), SETTINGS, PRIMARY, inventory(), [].append)


def test_a_standby_that_may_wait_for_a_read_may_be_as_far_behind() -> None:
    assert SETTINGS.postgres
    reads = ReplicaReads(max_standby_streaming_delay_seconds=600)
    allowed = SETTINGS.postgres.model_copy(update={"replica_reads": reads})
    settings = SETTINGS.model_copy(update={"postgres": allowed})
    for seconds in (400, 700):
        seen = servers(standbys=[{**ROW, "seconds": seconds}])
        refused = pytest.raises(AssertionError, match="700 seconds behind") if seconds == 700 else nullcontext()
        with refused:
            checked_postgres.test_the_standby_streams(seen, settings, PRIMARY, inventory(), [].append)


def test_all_that_is_wrong_with_a_standby_is_named() -> None:
    assert POSTGRES
    row = {**ROW, "state": "catchup", "tls": "", "bytes": 2**40, "seconds": 9999}
    assert list(checked_postgres._lags(row, POSTGRES)) == [
        "standby does not stream: catchup",
        "standby streams by no TLS",
        f"standby is {2**40} bytes behind",
        "standby is 9999 seconds behind",
    ]
    assert list(checked_postgres._lags({**ROW, "bytes": None}, POSTGRES)) == [
        "standby does not say how far behind it is"
    ]


def test_all_that_a_patroni_says_otherwise_is_named() -> None:
    fine = {"role": "replica", "state": "running"}
    assert not list(checked_postgres._unlike("standby", fine, "primary"))
    wrong = {"role": "master", "state": "starting", "pause": True, "pending_restart": True}
    assert list(checked_postgres._unlike("standby", wrong, "primary")) == [
        "standby is leader for Patroni, and primary leads",
        "nobody would take over: Patroni is paused",
        "standby is starting",
        "standby runs with older settings until it is restarted",
    ]
    assert list(checked_postgres._unlike("standby", None, "primary")) == ["Patroni on standby does not answer"]


def test_two_leaders_are_named() -> None:
    both = {"sql": {"recovery": False}}
    with pytest.raises(AssertionError, match="primary and standby both take writes"):
        postgres.leader_of(SETTINGS, observation(Said(both, {"primary": both, "standby": both})))


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
    checked_access.test_no_way_in_with_less(observation(Said(own, {})), SETTINGS, [].append)
    with pytest.raises(AssertionError, match=says.replace("(", r"\(").replace(")", r"\)")):
        checked_access.test_no_way_in_with_less(
            observation(Said({**own, "tries": {**tries, **changed}}, {})), SETTINGS, [].append
        )


def marked(**changed: Any) -> dict[str, dict[str, Any]]:
    primary = {"leads": True, "written": "0/50", "open": [], "sealed": ["wg0"], "there": ""}
    primary |= {"times": [5.0, 6.0], "looked": [4.0, 7.0]}
    standby = {**primary, "leads": False, "written": "", "times": [], "there": "0/60"}
    return {"primary": {**primary, **changed}, "standby": standby}


def test_a_word_on_the_wire_is_named_and_silence_proves_nothing() -> None:
    def judge(seen: dict[str, dict[str, Any]]) -> None:
        checked_postgres.test_a_word_is_not_read_on_the_way(observation(seen), PRIMARY, [].append)

    judge(marked())
    with pytest.raises(AssertionError, match="can be read on eth1, wg0"):
        judge(marked(open=["eth1", "wg0"]))
    with pytest.raises(AssertionError, match="silence proves nothing"):
        judge(marked(sealed=[]))
    with pytest.raises(AssertionError, match="could not be written"):
        judge(marked(written="failed"))
    with pytest.raises(AssertionError, match="not every site looked while"):
        judge(marked(times=[3.0, 7.1]))
    late = marked(written="0/70")
    with pytest.raises(AssertionError, match="the word did not come to standby"):
        judge(late)


def test_what_a_stranger_reaches_is_named() -> None:
    knock = {"ping": True, "ports": {"5432": "filtered", "8008": "filtered"}}
    judge_silence(SETTINGS, {"prober": knock}, (5432, 8008), [].append)
    for changed, says in (
        ({"ping": False}, "silence proves nothing"),
        ({"ports": {"5432": "open", "8008": "filtered"}}, r"port 5432 \(open\) can be reached"),
        ({"ports": {"5432": "closed", "8008": "filtered"}}, r"5432 \(closed\)"),
        ({"ports": {}}, "not tried"),
    ):
        with pytest.raises(AssertionError, match=says):
            judge_silence(SETTINGS, {"prober": {**knock, **changed}}, (5432, 8008), [].append)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"read": {"status": "", "why": "timed out"}}, r"it answers nobody \(timed out\)"),
        ({"no TLS": {"status": "200", "why": ""}}, "it answers without TLS"),
        ({"no password": {"status": "200", "why": ""}}, r"it takes a change with no password \(200\)"),
    ],
)
def test_an_open_api_of_patroni_is_named(changed: dict[str, Any], says: str) -> None:
    refused = {"status": "401", "why": ""}
    api = {"read": {"status": "200"}, "no TLS": {"status": ""}, "no certificate": refused, "no password": refused}
    own = {"sql": {"recovery": False}, "api": api}
    checked_postgres.test_changing_the_leader_takes_more(observation(Said(own, {})), SETTINGS, [].append)
    with pytest.raises(AssertionError, match=says):
        checked_postgres.test_changing_the_leader_takes_more(
            observation(Said({**own, "api": {**api, **changed}}, {})), SETTINGS, [].append
        )


def test_a_route_that_ends_elsewhere_is_named() -> None:
    def judge(name: str) -> None:
        lines = {database: ["127.0.0.1", "5000", database, "", "transaction"] for database in DATABASES}
        routes = {"leader": [{"name": name, "answer": ""}], "replicas": [{"name": "standby"}]}
        seen = servers()
        seen.data.own.update({"routes": routes, "pool": lines})
        checked_access.test_the_routes_end_at_the_leader(seen, SETTINGS, PRIMARY, [].append)

    judge("primary")
    with pytest.raises(AssertionError, match=r"the way to the leader \(primary\) ends at standby"):
        judge("standby")


def test_what_stands_in_the_votes_beside_what_is_declared_is_named() -> None:
    assert POSTGRES
    wanted = shared_settings(POSTGRES)

    def judge(text: str | None) -> list[str]:
        notes: list[str] = []
        own = {"patroni": {} if text is None else {"shared": text}}
        checked_postgres.test_nothing_else_stands_in_the_votes(
            observation(Said(own, {"primary": own})), SETTINGS, notes.append
        )
        return notes

    judge(json.dumps({**wanted, "pause": True}))
    assert judge(None) == ["it has no vote"]
    evil = {**wanted, "postgresql": {**wanted["postgresql"], "callbacks": {"on_start": "touch /tmp/x"}}}
    with pytest.raises(AssertionError, match=r"in the votes: postgresql[.]callbacks is"):
        judge(json.dumps(evil))
    with pytest.raises(AssertionError, match="do not say"):
        judge("1 permission denied")


def test_debians_own_patroni_is_told_from_ours() -> None:
    def judge(*words: str) -> None:
        seen = servers(settings={})
        seen.data.own["program"] = [*words]
        checked_postgres.test_the_votes_run_nothing(seen, SETTINGS, PRIMARY, [].append)

    with pytest.raises(AssertionError, match="archive_command is None"):
        judge("/usr/bin/python3", "-I", "/usr/local/lib/bastide/patroni", "/etc/patroni/config.yml")
