"""Rights by trying: random states of a database, on a cluster of its own beside the platform's, as the machine has it.

A case takes some 80 ms: hundreds in a minute, thousands in the group `rights`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rehearsal.rights_cases import ROLES, case, judge
from tests.rehearsal.stack import Rehearsal

LAB = "database"

_BIN = "/usr/lib/postgresql/17/bin"
_PLACE = "/var/tmp/rights"
_PSQL = f"runuser -u postgres -- psql -h {_PLACE} -XAtq"
_OWN_SETTINGS = "set client_min_messages = error; set jit = off; set search_path = pg_catalog, pg_temp;\n"
# what a page and its file cost is nothing that is looked at here
_OPTIONS = f"-k {_PLACE} -c listen_addresses= -c fsync=off -c max_locks_per_transaction=256"


@pytest.fixture(scope="module")
def server(rehearsal: Rehearsal) -> Iterator[Rehearsal]:
    """A PostgreSQL of the platform's version with nothing in it; gone again afterwards."""
    begin = f"""rm -rf {_PLACE}; install -d -o postgres -m 700 {_PLACE}; cd {_PLACE}
runuser -u postgres -- {_BIN}/initdb -D {_PLACE}/data -A trust -U postgres --no-sync >/dev/null
runuser -u postgres -- {_BIN}/pg_ctl -D {_PLACE}/data -w -l {_PLACE}/log -o '{_OPTIONS}' start >/dev/null
{_PSQL} -d postgres -c 'create database cases' {" ".join(f"-c 'create role {role}'" for role in ROLES)}"""
    rehearsal.exec("standby", begin, timeout=120)
    yield rehearsal
    end = f"cd {_PLACE}; runuser -u postgres -- {_BIN}/pg_ctl -D {_PLACE}/data -m immediate stop; rm -rf {_PLACE}"
    rehearsal.exec("standby", end, check=False)


def test_what_a_deploy_reaches_is_what_is_declared(server: Rehearsal) -> None:
    assert wrong(server, range(1, 151)) == []


@pytest.mark.full("rights")
@pytest.mark.parametrize("begin", range(1000, 7000, 500))
def test_it_is_for_thousands(server: Rehearsal, begin: int) -> None:
    assert wrong(server, range(begin, begin + 500)) == []


def wrong(server: Rehearsal, seeds: range) -> list[str]:
    """What is wrong in these cases."""
    cases = {seed: case(seed) for seed in seeds}
    script = _OWN_SETTINGS + "\n".join(one.script for one in cases.values())
    done = server.exec("standby", f"{_PSQL} -d cases -f - 2>&1", input=script, timeout=600)
    return judge(cases, done.stdout)
