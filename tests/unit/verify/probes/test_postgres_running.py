"""What turns the checks of what runs red, and for which reason."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bastide import cluster
from bastide.settings import Settings
from deploys.postgres.routing import CLIENTS, haproxy_file, pool_files
from tests.unit.bastide.proofs import SETTINGS, inventory
from tests.unit.deploys.box import KEYRING
from tests.verify import test_postgres_running as checked
from tests.verify.probes.cluster import Said
from tests.verify.probes.postgres import roles_of
from tests.verify.probes.postgres_running import (
    declared_settings,
    exempt,
    let_in,
    not_durable,
    not_waiting,
    pool_differs,
    pool_settings,
    router_differs,
    router_limits,
    router_lines,
    settings_differ,
    told_otherwise,
)
from tests.verify.probes.remote import postgres_running as remote
from tests.verify.probes.world import Observation, now

PRIMARY = inventory().machines[0]
POSTGRES = SETTINGS.postgres
assert POSTGRES
DATABASE = next(iter(POSTGRES.databases))
FAST = SETTINGS.model_copy(update={"postgres": POSTGRES.model_copy(update={"durability": "fast"})})
HELD = {"synchronous_commit": "on", "fsync": "on", "full_page_writes": "on", "allow_alter_system": "off"}
ROW = {"name": "ssl", "value": "on", "unit": "", "source": "configuration file", "file": "postgresql.conf"}
OWN = SETTINGS.mesh["primary"]
WAY = {"user": "app", "database": DATABASE, "source": OWN, "tls": "TLS", "answer": "asks for scram"}
ROUTES = [[way, name, f"{SETTINGS.mesh[name]}:5432", "0"] for way in ("leader", "replicas") for name in SETTINGS.sites]


def seen(overrides: list[str] | None = None, **changed: Any) -> Observation:
    """A server as it should be; `changed` is what it says of what it goes by."""
    inside: dict[str, list[str]] = {"unlogged": [], "declines": []}
    running = {
        "settings": [ROW],
        "held": HELD,
        "waits": [],
        "by_hand": [],
        "wrong": [],
        "mapped": 0,
        "loaded": 0.0,
        "files": ["pg_hba.conf"],
        "unread": [],
        "patroni_unread": [],
        "subscriptions": [],
        "statements": {"passwords": [], "declines": []},
        "databases": {"postgres": inside, **dict.fromkeys(POSTGRES.databases if POSTGRES else (), inside)},
        "router": {
            "files": ["/etc/haproxy/haproxy.cfg"],
            "unread": [],
            "servers": ROUTES,
            "lines": router_lines(SETTINGS),
            "limits": router_limits(SETTINGS),
        },
        "logged": {"lines": 0, "last": 0.0, "asked": True},
        **changed,
    }
    refused = {"pool: does not wait": {"answer": "refuses: unsupported startup parameter"}}
    own = {
        "sql": {"recovery": False, "overrides": overrides, "standbys": [{"name": "standby", "sync": "sync"}]},
        "running": running,
        "tries": refused,
        "ways": [WAY],
        "api": {"said": {"primary": {"role": "primary"}, "standby": {"role": "replica"}}},
    }
    return Observation("psql", Said(own, {"primary": own, "standby": {"sql": {"recovery": True}}}), now(), 0.0)


def test_a_server_as_declared_is_proven() -> None:
    notes: list[str] = []
    checked.test_every_table_is_sent(seen(), SETTINGS, notes.append)
    checked.test_a_commit_waits_as_declared(seen(), SETTINGS, notes.append)
    checked.test_no_role_or_database_waits_less(seen(), SETTINGS, notes.append)
    checked.test_nobody_was_seen_to_decline(seen(), SETTINGS, notes.append)
    checked.test_the_settings_in_force_are_the_declared(seen(), SETTINGS, PRIMARY, inventory(), notes.append)
    checked.test_nothing_was_read_and_put_back(seen(), SETTINGS, notes.append)
    checked.test_patroni_treats_all_members_alike(seen(), SETTINGS, notes.append)
    checked.test_haproxy_leads_to_the_sites_alone(seen(), SETTINGS, notes.append)
    checked.test_everybody_else_is_refused(seen(), SETTINGS, PRIMARY, notes.append)
    checked.test_the_rules_were_not_read_and_put_back(seen(), SETTINGS, notes.append)
    checked.test_no_password_is_in_log_or_statistics(seen(), SETTINGS, notes.append)
    assert len(notes) == 11


def test_an_unlogged_table_is_named_unless_it_is_declared() -> None:
    assert POSTGRES
    found = seen(databases={name: {"unlogged": ["public.sessions"], "declines": []} for name in POSTGRES.databases})
    with pytest.raises(AssertionError, match=f"no other site has it: {DATABASE}: public.sessions"):
        checked.test_every_table_is_sent(found, SETTINGS, [].append)
    databases = {
        name: one.model_copy(update={"unlogged": ("public.sessions",)}) for name, one in POSTGRES.databases.items()
    }
    allowed = SETTINGS.model_copy(update={"postgres": POSTGRES.model_copy(update={"databases": databases})})
    checked.test_every_table_is_sent(found, allowed, [].append)


@pytest.mark.parametrize(
    ("check", "changed", "says"),
    [
        (checked.test_no_role_or_database_waits_less, {"held": {**HELD, "fsync": "off"}}, "fsync is off"),
        (checked.test_no_role_or_database_waits_less, {"subscriptions": ["move"]}, "tells of rows before .* move"),
        (
            checked.test_nobody_was_seen_to_decline,
            {"statements": {"passwords": [], "declines": ["app in app"]}},
            "seen to decline to wait: app in app",
        ),
        (checked.test_nobody_was_seen_to_decline, {"statements": None}, "nobody would be seen"),
        (checked.test_nothing_was_read_and_put_back, {"unread": ["pg_hba.conf"]}, "after the server .*: pg_hba.conf"),
        (checked.test_nothing_was_read_and_put_back, {"patroni_unread": ["config.yml"]}, "after Patroni"),
        (checked.test_the_rules_were_not_read_and_put_back, {"unread": ["pg_hba.conf"]}, "nobody can say"),
        (
            checked.test_no_password_is_in_log_or_statistics,
            {"logged": {"lines": 2, "last": 60.0, "asked": True}},
            "in 2 lines, the last of 1970-01-01 00:01 UTC",
        ),
        (
            checked.test_no_password_is_in_log_or_statistics,
            {"statements": {"passwords": ["app"], "declines": []}},
            "hold a password, from app",
        ),
        (
            checked.test_no_password_is_in_log_or_statistics,
            {"logged": {"lines": 0, "last": 0.0, "asked": False}},
            "could not be read",
        ),
        (
            checked.test_haproxy_leads_to_the_sites_alone,
            {
                "router": {
                    "files": ["/etc/haproxy/haproxy.cfg"],
                    "servers": ROUTES[1:],
                    "lines": router_lines(SETTINGS),
                    "limits": router_limits(SETTINGS),
                }
            },
            "leads otherwise: leader",
        ),
        (
            checked.test_haproxy_leads_to_the_sites_alone,
            {
                "router": {
                    "files": ["/etc/other.cfg"],
                    "servers": ROUTES,
                    "lines": router_lines(SETTINGS),
                    "limits": router_limits(SETTINGS),
                }
            },
            "reads /etc/other.cfg",
        ),
    ],
)
def test_what_runs_otherwise_is_named(check: Any, changed: dict[str, Any], says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        check(seen(**changed), SETTINGS, [].append)


def test_where_commits_wait_for_nobody_a_role_may_say_so() -> None:
    told = ["app: synchronous_commit=off"]
    checked.test_no_role_or_database_waits_less(seen(told), FAST, [].append)
    with pytest.raises(AssertionError, match="whose commits do not wait: app"):
        checked.test_no_role_or_database_waits_less(seen(told), SETTINGS, [].append)


def test_a_commit_that_waits_for_nobody_is_named() -> None:
    alone = seen()
    alone.data.own["sql"]["standbys"] = [{"name": "standby", "sync": "async"}]
    with pytest.raises(AssertionError, match="a commit waits for no standby: they are async"):
        checked.test_a_commit_waits_as_declared(alone, SETTINGS, [].append)
    with pytest.raises(AssertionError, match="which nobody declared"):
        checked.test_a_commit_waits_as_declared(seen(), FAST, [].append)


def test_a_tag_of_patroni_s_is_named() -> None:
    found = seen()
    found.data.own["api"]["said"]["standby"]["tags"] = {"nosync": True}
    with pytest.raises(AssertionError, match="standby is set apart by Patroni's tag nosync: True"):
        checked.test_patroni_treats_all_members_alike(found, SETTINGS, [].append)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"file": "postgresql.auto.conf"}, "ssl was set by hand"),
        ({"source": "command line", "file": ""}, "ssl was given on the server's command line"),
        ({"source": "global", "file": ""}, "ssl is set for everybody"),
        ({"file": "other.conf"}, "ssl comes from other.conf"),
        ({"name": "archive_command", "value": "cp"}, "archive_command is set, and nobody declared it"),
        ({"value": "off"}, "ssl is off, not on"),
        ({"name": "wal_keep_size", "value": "255", "unit": "MB"}, "wal_keep_size is 255MB, not 256MB"),
    ],
)
def test_a_setting_that_nobody_declared_is_named(changed: dict[str, str], says: str) -> None:
    (found,) = settings_differ([{**ROW, **changed}], declared_settings(SETTINGS, "primary", "example"))
    assert found.startswith(says)


def test_each_setting_is_named_and_both_its_faults() -> None:
    rows = [ROW, {**ROW, "value": "off", "file": "postgresql.auto.conf"}, {**ROW, "name": "work", "source": "global"}]
    assert list(settings_differ(rows, declared_settings(SETTINGS, "primary", "example"))) == [
        "ssl was set by hand (ALTER SYSTEM)",
        "ssl is off, not on",
        "work is set for everybody, for the superuser, or by the environment (global)",
        "work is set, and nobody declared it",
    ]


@pytest.mark.parametrize(
    ("name", "value", "unit"),
    [
        ("wal_keep_size", "256", "MB"),
        ("max_slot_wal_keep_size", "4096", "MB"),
        ("wal_sender_timeout", "10000", "ms"),
        ("log_min_duration_statement", "5000", "ms"),
        # asked at the socket, it is none
        ("tcp_user_timeout", "0", "ms"),
        ("wal_receiver_timeout", "10000", "ms"),
        ("shared_buffers", "131072", "8kB"),
        ("max_connections", str(POSTGRES.max_connections), ""),
    ],
)
def test_a_value_is_the_same_in_the_server_s_own_unit(name: str, value: str, unit: str) -> None:
    row = {**ROW, "name": name, "value": value, "unit": unit}
    assert not list(settings_differ([row], declared_settings(SETTINGS, "primary", "example")))


def test_what_is_acknowledged_is_kept() -> None:
    assert not_durable(HELD, waits=True) == []
    assert not_durable({**HELD, "synchronous_commit": "local"}, waits=True) == ["synchronous_commit is local"]
    assert not_durable({**HELD, "synchronous_commit": "local"}, waits=False) == []
    assert not_durable({}, waits=False) == ["fsync is None", "full_page_writes is None"]


def test_who_is_told_something_else_is_named() -> None:
    lines = ["app: synchronous_commit=off", "everybody in app: synchronous_commit=on", "app: statement_timeout=30s"]
    assert not_waiting(lines) == lines[:1]
    assert exempt([*lines, "app in app: pgaudit.log=none", "app: log_statement=none"]) == [
        "app in app: pgaudit.log=none",
        "app: log_statement=none",
    ]
    assert told_otherwise([*lines, "app: password_encryption=md5"]) == ["app: password_encryption=md5"]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, ""),
        ({"answer": "lets in"}, f"app to {DATABASE} from {OWN} over TLS: lets in"),
        ({"source": "127.0.0.1"}, f"app to {DATABASE} from 127.0.0.1 over TLS: asks for scram"),
        ({"tls": ""}, f"app to {DATABASE} from {OWN} without TLS: asks for scram"),
        ({"database": "template1"}, f"app to template1 from {OWN} over TLS: asks for scram"),
        ({"user": "postgres", "database": "replication"}, "postgres to replication"),
        ({"user": "replicator", "database": "replication"}, ""),
        ({"source": "the socket, as root", "database": "", "answer": "refuses: peer"}, ""),
    ],
)
def test_who_gets_in_another_way_is_named(changed: dict[str, str], says: str) -> None:
    found = let_in([{**WAY, **changed}], {**roles_of(SETTINGS), "app": [DATABASE]}, OWN)
    assert found == [] if not says else found[0].startswith(says)


def test_whoever_gets_in_is_named_once_with_all_addresses() -> None:
    open_ = {**WAY, "tls": "", "answer": "lets in"}
    ways = [WAY, open_, {**open_, "source": "127.0.0.1"}, {**open_, "user": "postgres"}]
    assert let_in(ways, {**roles_of(SETTINGS), "app": [DATABASE]}, OWN) == [
        f"app to {DATABASE} from {OWN}, 127.0.0.1 without TLS: lets in",
        f"postgres to {DATABASE} from {OWN} without TLS: lets in",
    ]


def test_the_pool_is_expected_to_go_by_what_a_deploy_writes() -> None:
    """Two hands wrote it: where one was changed alone, this says so before a machine does."""
    wanted = cluster.cluster_of(SETTINGS, PRIMARY, "example")
    text = next(file.content for file in pool_files(wanted, KEYRING) if file.path.endswith("pgbouncer.ini"))
    assert isinstance(text, str)
    written = dict(re.findall(r"^(\w+) = ?(.*)$", text.partition("[pgbouncer]")[2], re.MULTILINE))
    declared = pool_settings(str(CLIENTS))
    # what PgBouncer takes by itself too, and what a deploy does not write
    same = {"client_tls_protocols", "server_tls_protocols", "tcp_keepalive", "log_connections", "log_disconnections"}
    assert {name: value for name, value in written.items() if name not in same} == {
        name: value for name, value in declared.items() if name not in ("conffile", "unix_socket_mode", "verbose")
    }


def test_what_haproxy_was_told_at_its_socket_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """As HAProxy 3.0 answers `show info` and `show stat`, in part."""
    said = {
        "@1 show info": "Name: HAProxy\nMaxconn: 4000\nConnRateLimit: 0\nSessRateLimit: 0\nSslRateLimit: 0\n",
        "@1 show stat": "# pxname,svname,slim,status,weight,rate_lim,\nleader,FRONTEND,10,OPEN,,0,\n"
        "leader,primary,,UP,1,,\nleader,BACKEND,200,UP,1,,\n",
    }
    monkeypatch.setattr(remote, "_haproxy_says", said.get)
    assert remote._limits() == {
        **{"Maxconn": "4000", "ConnRateLimit": "0", "SessRateLimit": "0", "SslRateLimit": "0"},
        **{"leader": "10 0 OPEN", "leader/primary": " 1"},
    }


def test_haproxy_is_expected_to_say_what_a_deploy_writes(tmp_path: Path) -> None:
    file = haproxy_file(cluster.cluster_of(SETTINGS, PRIMARY, "example"))
    (tmp_path / "haproxy.cfg").write_text(str(file.content))
    assert remote._lines(str(tmp_path / "haproxy.cfg")) == router_lines(SETTINGS)
    assert remote._lines(str(tmp_path / "none")) == []


def test_lines_of_haproxy_that_differ_are_named() -> None:
    assert router_differs(["a", "b"], ["a", "b"]) == []
    assert router_differs(["a", "c"], ["a", "b"]) == ["it says c", "it does not say b"]
    assert router_differs(["b", "a"], ["a", "b"]) == ["its lines stand in another order, or twice"]


def test_a_pool_that_goes_by_something_else_is_named() -> None:
    declared = {"auth_type": "scram-sha-256"}
    assert not list(pool_differs({"auth_type": ["scram-sha-256", "md5"], "autodb": ["", ""]}, declared))
    assert list(pool_differs({"auth_type": ["trust", "md5"], "auth_query": ["x", ""]}, declared)) == [
        "auth_type is trust, not scram-sha-256",
        "auth_query is x, not nothing",
    ]
    assert list(pool_differs({}, declared)) == ["auth_type is not known to it"]


# PCRE and PostgreSQL's expressions read these as Python does
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ALTER ROLE app PASSWORD 'x'", True),
        ("create user app with encrypted password E'x'", True),
        ("ALTER ROLE app PASSWORD $x$y$x$", True),
        ("rolpassword SCRAM-SHA-256$4096:AAAA", True),
        ("CREATE ROLE app PASSWORD <REDACTED>", False),
        ("password authentication failed for user", False),
        ("update users set password = $1", False),
        (remote._PASSWORD, False),
    ],
)
def test_a_password_in_a_statement_is_found(text: str, found: bool) -> None:
    assert bool(re.search(remote._PASSWORD, text, re.IGNORECASE)) is found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SET synchronous_commit = off", True),
        ("set local synchronous_commit to 'local'", True),
        ("select set_config('synchronous_commit', 'off', false)", True),
        ("synchronous_commit=remote_write", True),
        ("SET synchronous_commit = on", False),
        ("SET synchronous_commit = remote_apply", False),
        ("show synchronous_commit", False),
        (remote._DECLINES, False),
    ],
)
def test_who_declines_to_wait_is_found(text: str, found: bool) -> None:
    assert bool(re.search(remote._DECLINES, text, re.IGNORECASE)) is found


def test_a_stack_without_databases_asks_nothing_of_commits() -> None:
    assert isinstance(SETTINGS, Settings)
    assert roles_of(SETTINGS.model_copy(update={"postgres": None})) == {"replicator": [], "rewinder": ["postgres"]}
