"""Whoever writes into etcd what all members share runs nothing, lets nobody in, and stops nobody from leading."""

from __future__ import annotations

import json
from collections.abc import Iterator
from shlex import quote
from typing import Any

import pytest

from bastide.layout.etcd import prefix
from tests.rehearsal.acknowledged import SITES, Writers, lent
from tests.rehearsal.stack import Rehearsal, wait_for

LAB = "database"
pytestmark = pytest.mark.full("by-hand")

MARK = "/var/lib/postgresql/written-by-a-vote"
RUN = f"touch {MARK}"
# as somebody has it who may write there: as it is, and this beside (Patroni 4.0 manual, "Dynamic Configuration
# Settings"; a name with a dot in it comes into postgresql.conf as it stands)
EVIL: dict[str, Any] = {
    "standby_cluster": {"host": "192.0.2.1", "port": 5432, "restore_command": RUN, "create_replica_methods": ["evil"]},
    "slots": {"evil": {"type": "logical", "database": "postgres", "plugin": "test_decoding"}},
    "postgresql": {
        "callbacks": dict.fromkeys(("on_reload", "on_restart", "on_role_change", "on_start", "on_stop"), RUN),
        "pre_promote": RUN,
        "before_stop": RUN,
        "create_replica_methods": ["evil"],
        "evil": {"command": RUN},
        "recovery_conf": {"restore_command": RUN},
        "pg_hba": ["host all all 0.0.0.0/0 trust"],
        "custom_conf": MARK,
        "bin_name": {"pg_ctl": "/usr/bin/true"},
        "parameters": {
            "archive_mode": "always",
            "archive_command": RUN,
            f"archive_mode = always\narchive_command = '{RUN}' #.": "x",
            "restore_command": RUN,
            "ssl_passphrase_command": RUN,
            "shared_preload_libraries": "auto_explain",
            "session_preload_libraries": "auto_explain",
            "password_encryption": "md5",
            "listen_addresses": "*",
            "log_connections": "off",
        },
    },
}
_ASK = (
    "select string_agg(name || '=' || setting, ';' order by name) from pg_settings where name in ('archive_mode',"
    " 'restore_command', 'ssl_passphrase_command', 'shared_preload_libraries', 'session_preload_libraries',"
    " 'password_encryption', 'listen_addresses', 'log_connections', 'hba_file', 'config_file')"
)
_SLOTS = "select count(*) from pg_replication_slots where slot_type <> 'physical'"
# with Patroni's own user, as whoever took its password
_PUT = """
import json, os, subprocess, sys, yaml
told = json.load(sys.stdin)
config = yaml.safe_load(open("/etc/patroni/config.yml"))["etcd3"]
words = ["etcdctl", "--endpoints", ",".join("https://" + one for one in config["hosts"]), "--cacert", config["cacert"]]
words += ["--cert", config["cert"], "--key", config["key"]]
env = {**os.environ, "ETCDCTL_USER": config["username"], "ETCDCTL_PASSWORD": config["password"]}
def ctl(*more, text=""):
    return subprocess.run([*words, *more], env=env, input=text, text=True, check=True, capture_output=True).stdout
there = json.loads(ctl("get", "--print-value-only", told["key"]))
def over(one, other):
    for name, value in other.items():
        one[name] = over(one.get(name, {}), value) if isinstance(value, dict) else value
    return one
ctl("put", told["key"], text=json.dumps(over(there, told["evil"])))
"""


@pytest.fixture
def writers(rehearsal: Rehearsal) -> Iterator[Writers]:
    yield from lent(rehearsal)


def asked(rehearsal: Rehearsal, site: str) -> str:
    words = f'runuser -u postgres -- psql -XAtqc "{_ASK}"'
    return rehearsal.exec(site, words).stdout.strip()


def heard(rehearsal: Rehearsal, site: str, since: str) -> bool:
    """Whether its Patroni has seen it, and said so."""
    words = f"journalctl -qu patroni --since @{since} -g 'does not count here' | grep -q callbacks"
    return rehearsal.exec(site, words, check=False).ok


def test_what_stands_in_the_votes_runs_nothing(rehearsal: Rehearsal, writers: Writers) -> None:
    """Through a reload, a switchover, a restart and a copy that is made anew; then a deploy takes it away."""
    before = {site: asked(rehearsal, site) for site in SITES}
    rules = {site: rehearsal.exec(site, "cat /var/lib/postgresql/17/bastide/pg_hba.conf").stdout for site in SITES}
    since = rehearsal.exec("primary", "date +%s").stdout.strip()
    told = json.dumps({"key": f"{prefix(rehearsal.stack)}config", "evil": EVIL})
    rehearsal.exec("primary", f"python3 -c {quote(_PUT)}", input=told)
    try:
        wait_for(
            lambda: all(heard(rehearsal, site, since) for site in SITES), "both sites have heard of it", seconds=30
        )
        for site in SITES:
            rehearsal.exec(site, "systemctl reload patroni")
        writers.healed()
        for leader in ("standby", "primary"):
            writers.switchover(leader)
            writers.healed()
        restart = f"timeout 60 patronictl -c /etc/patroni/config.yml restart --force {rehearsal.stack} standby"
        rehearsal.exec("standby", restart, timeout=90)
        writers.healed()
        rehearsal.make("reinit", "machine=standby", "force=1")
        writers.healed()
        assert {site: asked(rehearsal, site) for site in SITES} == before
        for site in SITES:
            assert rehearsal.exec(site, f"ls {MARK}", check=False).stdout == ""
            assert rehearsal.exec(site, "cat /var/lib/postgresql/17/bastide/pg_hba.conf").stdout == rules[site]
            assert rehearsal.exec(site, f"runuser -u postgres -- psql -XAtqc {quote(_SLOTS)}").stdout.strip() == "0"
        found = rehearsal.verify("-k", "nothing_else_stands", check=False)
        assert "in the votes: " in found.stdout + found.stderr
    finally:
        rehearsal.deploy()
    kept = rehearsal.exec("primary", "timeout 10 patronictl -c /etc/patroni/config.yml show-config").stdout
    assert "callbacks" not in kept
    assert rehearsal.dry() == {}
