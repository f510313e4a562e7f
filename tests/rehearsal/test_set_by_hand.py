"""What somebody set by hand in the databases' servers: the next deploy shows it and takes it back."""

from __future__ import annotations

import pytest

from bastide.evidence import load
from bastide.layout.postgres import DATA
from bastide.stackfile import read
from tests.rehearsal.stack import Rehearsal

LAB = "database"
pytestmark = pytest.mark.full("by-hand")

CONTROLS = {"postgres-02", "postgres-10", "postgres-11", "postgres-12", "postgres-13"}
SITES = ("primary", "standby")
_ONLY = ("--data", "only=postgres")
_PSQL = "runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1 -d postgres"
_BY_HAND = f"""
echo "work_mem = '64MB'" >> {DATA}/postgresql.auto.conf
sed -i '1i host all all 127.0.0.1/32 trust' {DATA}/pg_hba.conf
{_PSQL} -c 'select pg_reload_conf()' >/dev/null
"""
_WHOSE_OWN = """
[ "$({psql} -c 'select pg_is_in_recovery()')" = t ] || {psql} -c 'alter role "{role}" set synchronous_commit = off' \\
    -c 'alter role all set log_statement = none' \\
    -c 'create role rehearsed password $$SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy$$' \\
    -c 'drop role rehearsed' -c "alter role \\"{role}\\" set statement_timeout = '30s'"
"""
_LEFT = "select string_agg(line, ' ' order by line) from pg_db_role_setting, unnest(setconfig) line"


@pytest.fixture
def role(rehearsal: Rehearsal) -> str:
    """A declared role."""
    wanted = read(rehearsal.file).postgres
    assert wanted
    return wanted.roles[0]


def test_the_next_deploy_takes_it_back_and_leaves_what_is_a_role_s_own(rehearsal: Rehearsal, role: str) -> None:
    for site in SITES:
        rehearsal.exec(site, _BY_HAND + _WHOSE_OWN.format(psql=_PSQL, role=role))
    try:
        assert failed(rehearsal) == CONTROLS
        said = rehearsal.deploy(*_ONLY)
        assert "! work_mem was set by hand (ALTER SYSTEM): it is taken back" in said.stdout + said.stderr
        assert "! the statistics of statements hold verifiers of passwords" in said.stdout + said.stderr
        assert "64MB" not in said.stdout + said.stderr
        assert rehearsal.exec("primary", f'{_PSQL} -c "{_LEFT}"').stdout.strip() == "statement_timeout=30s"
        assert rehearsal.dry(*_ONLY) == {}
        assert failed(rehearsal) == set()
    finally:
        reset = (
            f"""[ "$({_PSQL} -c 'select pg_is_in_recovery()')" = t ] || {_PSQL} -c 'alter role "{role}" reset all'"""
        )
        for site in SITES:
            rehearsal.exec(site, reset)


def failed(rehearsal: Rehearsal) -> set[str]:
    """Which of these controls are red, on any machine."""
    path = rehearsal.build / "by-hand.json"
    path.unlink(missing_ok=True)
    words = [word for one in sorted(CONTROLS) for word in ("--control", one)]
    rehearsal.verify(*words, "--evidence", str(path), check=False)
    return {row.control for row in load(path).rows if row.outcome == "failed"}
