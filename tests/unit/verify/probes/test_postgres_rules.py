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
    differs,
    rule_of,
    rules_differ,
    runs_nothing_else,
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
        assert differs(shared(cluster_of(settings, PRIMARY, "example")), shared_settings(changed)) == ""


def test_rules_are_read_back_as_they_were_written() -> None:
    assert [rule_of(row(rule)) for rule in DECLARED] == DECLARED
    assert rules_differ(DECLARED, DECLARED) == ""


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
    assert says in rules_differ(there, DECLARED)


def test_the_first_difference_of_settings_is_named_with_its_place() -> None:
    assert POSTGRES
    wanted = shared_settings(POSTGRES)
    assert differs(copy.deepcopy(wanted), wanted) == ""
    assert differs({**wanted, "failsafe_mode": True}, wanted) == "failsafe_mode is True, not False"
    assert differs({**wanted, "more": 1}, wanted) == "more is 1, not None"
    inner = copy.deepcopy(wanted)
    inner["postgresql"]["parameters"]["wal_level"] = "minimal"
    assert differs(inner, wanted) == "postgresql.parameters.wal_level is minimal, not replica"


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
    assert runs_nothing_else(fine, "/data", "10.21.0.11") == ""
    for name in fine:
        assert runs_nothing_else({**fine, name: "touch /tmp/x"}, "/data", "10.21.0.11").startswith(f"{name} is ")
    assert runs_nothing_else({}, "/data", "10.21.0.11"), "what nobody says is not proven"
