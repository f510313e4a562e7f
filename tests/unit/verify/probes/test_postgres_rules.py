"""Rules of access and shared settings: what is expected, and which difference is named."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from bastide.cluster import cluster_of
from deploys.postgres.patroni import hba, shared
from tests.unit.bastide.proofs import SETTINGS, inventory
from tests.verify.probes.postgres_rules import (
    Rule,
    declared_rules,
    differences,
    rule_of,
    rules_differ,
    runs_something_else,
    shared_settings,
)

PRIMARY = inventory().machines[0]
POSTGRES = SETTINGS.postgres
assert POSTGRES
DECLARED = declared_rules(SETTINGS)
TRUST = Rule("host", ("all",), ("all",), "0.0.0.0/0", "trust")
FAST = POSTGRES.model_copy(update={"durability": "fast"})
STOP = POSTGRES.model_copy(update={"without_standby": "stop"})


def row(rule: Rule, **changed: Any) -> dict[str, Any]:
    """A rule as pg_hba_file_rules has it."""
    address, _, length = rule.address.partition("/")
    found: dict[str, Any] = {
        "type": rule.type,
        "database": list(rule.databases),
        "user": list(rule.users),
        "address": address or None,
        "netmask": "255.255.255.255" if length else None,
        "method": rule.method,
        "options": None,
        "error": None,
    }
    return {**found, **changed}


def test_what_a_deploy_writes_is_what_a_check_expects() -> None:
    """Two hands wrote it: where one was changed alone, this says so before a machine does."""
    lines = hba(cluster_of(SETTINGS, PRIMARY, "example"))
    assert [str(rule) for rule in DECLARED] == [line.replace('"', "") for line in lines]
    for changed in (POSTGRES, FAST, STOP):
        settings = SETTINGS.model_copy(update={"postgres": changed})
        assert not list(differences(shared(cluster_of(settings, PRIMARY, "example")), shared_settings(changed)))


def test_rules_are_read_back_as_they_were_written() -> None:
    assert [rule_of(row(rule)) for rule in DECLARED] == DECLARED
    assert not list(rules_differ(DECLARED, DECLARED))


@pytest.mark.parametrize(
    ("there", "says"),
    [
        ([TRUST, *DECLARED], "nobody declared: host all all 0.0.0.0/0 trust"),
        (DECLARED[1:], f"a line is missing: {DECLARED[0]}"),
        # the first line that fits counts
        (DECLARED[::-1], "another order"),
        ([*DECLARED[:2], *DECLARED[2:4], *DECLARED[2:]], "another order"),
        ([*DECLARED[:-1], rule_of(row(DECLARED[-1], error="invalid"))], "an error: invalid"),
        ([DECLARED[0], rule_of(row(DECLARED[2], options=["clientcert=verify-ca"])), *DECLARED[1:]], "clientcert"),
        ([rule_of(row(DECLARED[2], netmask="255.255.255.0")), *DECLARED], "0/24 scram-sha-256"),
        ([rule_of(row(DECLARED[2], user=["replicator", "visitor"])), *DECLARED], "replicator,visitor"),
    ],
)
def test_another_rule_is_named(there: list[Rule], says: str) -> None:
    assert any(says in text for text in rules_differ(there, DECLARED))


def test_every_rule_and_their_order_are_named() -> None:
    there = [TRUST, *reversed(DECLARED[1:])]
    assert list(rules_differ(there, DECLARED)) == [
        f"a line that nobody declared: {TRUST}",
        f"a line is missing: {DECLARED[0]}",
        "its lines stand in another order",
    ]
    # what is missing or too much does not by itself change the order
    assert "its lines stand in another order" not in list(rules_differ([TRUST, *DECLARED[1:]], DECLARED))


def test_every_difference_of_settings_is_named_with_its_place() -> None:
    assert POSTGRES
    wanted = shared_settings(POSTGRES)
    assert not list(differences(copy.deepcopy(wanted), wanted))
    changed = copy.deepcopy({**wanted, "failsafe_mode": True, "more": 1})
    changed["postgresql"]["parameters"]["wal_level"] = "minimal"
    assert list(differences(changed, wanted)) == [
        "failsafe_mode is True, not False",
        "postgresql.parameters.wal_level is minimal, not replica",
        "more is 1, not None",
    ]


def test_what_runs_loads_or_reads_something_else_is_named() -> None:
    empty = (
        *("archive_library", "archive_cleanup_command", "restore_command", "recovery_end_command"),
        *("ssl_passphrase_command", "session_preload_libraries", "local_preload_libraries", "external_pid_file"),
    )
    fine = {
        **dict.fromkeys(empty, ""),
        "archive_command": "(disabled)",
        "shared_preload_libraries": "pg_stat_statements,pgaudit",
        "dynamic_library_path": "$libdir",
        "jit_provider": "llvmjit",
        "data_directory": "/data",
        "config_file": "/data/postgresql.conf",
        "hba_file": "/data/pg_hba.conf",
        "ident_file": "/data/pg_ident.conf",
        "logging_collector": "off",
        "listen_addresses": "10.21.0.11",
        "unix_socket_directories": "/var/run/postgresql",
        "password_encryption": "scram-sha-256",
    }
    assert runs_something_else(fine, "/data", "10.21.0.11") == []
    for name in fine:
        assert runs_something_else({**fine, name: "x"}, "/data", "10.21.0.11") == [f"{name} is 'x'"]
    # what nobody says is not proven
    assert len(runs_something_else({}, "/data", "10.21.0.11")) == len(fine)
