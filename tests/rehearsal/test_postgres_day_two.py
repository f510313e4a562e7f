"""The database cluster on day two: looked at, handed over, paused, changed by rolling, made again after a loss."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

import pytest

from bastide.console import Completed, run
from bastide.layout.postgres import DATA, FOLDER, POOL_PORT
from bastide.stackfile import load
from tests.rehearsal.acknowledged import SITES, Writers, lent
from tests.rehearsal.stack import Rehearsal, wait_for
from tests.rehearsal.test_provider import servers

LAB = "database"

# Debian's archive has one release at a time. The stand-in for a newer one is the same program under another number: a
# package of its own, which the package manager installs over the present one.
_STAND_IN_RELEASE = """
cd $(mktemp -d) && apt-get -qq update && apt-get -qq download postgresql-17 2>&1
dpkg-deb -R postgresql-17_*.deb tree
sed -i 's/{now}/{newer}/g' tree/usr/lib/postgresql/17/bin/postgres
sed -i 's/^Version: .*/&+standin1/' tree/DEBIAN/control
(cd tree && find usr -type f -exec md5sum {{}} + >DEBIAN/md5sums)
dpkg-deb --root-owner-group -Znone -b tree newer.deb >/dev/null
apt-get -qq -y -o APT::Sandbox::User=root install ./newer.deb >/dev/null; rm -r "$PWD"
"""
_OWN_RELEASE = """
apt-get -qq -y --allow-downgrades install postgresql-17=$(
    dpkg-query -W -f '${Version}' postgresql-17 | sed 's/+standin1$//') >/dev/null
"""


# what dpkg does in an upgrade as well, without a newer release: files anew in the place of those that are at work
_REINSTALL = """
apt-get -qq update && apt-get -qq -y -o APT::Sandbox::User=root --reinstall install \\
    etcd-server haproxy patroni pgbouncer postgresql-17 >/dev/null
"""
_PROCESSES = f"""
for unit in etcd haproxy patroni pgbouncer; do echo $unit $(systemctl show -P MainPID $unit); done
echo postgres $(head -n 1 {DATA}/postmaster.pid)
"""
_LOOK = "for one in /etc/bastide/turn.d/*; do $one look; done"


@pytest.fixture(scope="module")
def writers(rehearsal: Rehearsal) -> Iterator[Writers]:
    """The view of the cluster, and clients that write. Afterwards the primary leads again."""
    yield from lent(rehearsal)


def day_two(rehearsal: Rehearsal, name: str, *data: str, check: bool = True) -> Completed:
    """One of the deploys for the running cluster, as its make target calls it; a read-only one is asked with --dry."""
    how = ["--dry"] if name == "cluster_status" else ["-y", "--fail-percent", "0"]
    words = ["pyinfra", *how, "hosts/inventory.py", f"deploys/commands/{name}.py"]
    words += [word for one in data for word in ("--data", one)]
    done = run(words, cwd=rehearsal.root, env=rehearsal.env, check=False, timeout=180)
    assert done.ok or not check, done.stdout[-2000:] + done.stderr[-2000:]
    return done


def pooled(writers: Writers, database: str, sql: str, options: str = "") -> Completed:
    """What an application on the standby gets from the pool there, connecting as drivers do."""
    secret = writers.password.get_secret_value()
    where = f"host=127.0.0.1 port={POOL_PORT} user={writers.role} dbname={database} sslmode=verify-full"
    words = f"PGOPTIONS='{options}' psql -XAtq '{where} sslrootcert={FOLDER}/ca.crt' -f -"
    # the password by standard input, into the environment of this one program
    script = f"read -r PGPASSWORD; export PGPASSWORD; {words}"
    return writers.rehearsal.exec("standby", script, input=f"{secret}\n{sql};\n", check=False)


def said(done: Completed) -> str:
    return done.stdout + done.stderr


def status(rehearsal: Rehearsal) -> str:
    """The line about the cluster in `make status`."""
    words = ["python", "-m", "hosts", "status", "--stack", rehearsal.stack]
    done = run(words, cwd=rehearsal.root, env=rehearsal.env, check=False, timeout=60)
    (line,) = [line for line in done.stdout.splitlines() if " cluster: " in line]
    return line


def begun(writers: Writers) -> dict[str, str]:
    """When each server was started."""
    return {site: writers.sql(site, "select pg_postmaster_start_time()") for site in SITES}


def set_to(writers: Writers) -> dict[str, str]:
    """How many connections each server takes."""
    return {site: writers.sql(site, "show max_connections") for site in SITES}


def releases(writers: Writers) -> dict[str, str]:
    """Which release each server runs."""
    return {site: writers.sql(site, "show server_version").split()[0] for site in SITES}


@pytest.mark.alone
def test_a_handover_is_a_wait_and_no_error(rehearsal: Rehearsal, writers: Writers) -> None:
    """Applications on both sites that can wait for five seconds see nothing else of it."""
    before = writers.leader()
    with writers.writing(*SITES, patience=5):
        done = day_two(rehearsal, "switchover")
        for site in SITES:
            writers.goes_on(site, seconds=10)
        told = writers.told()
    assert writers.leader() != before
    # a pool whose clients do not end in time is not paused, and says so
    assert told.unknown == {}, f"{told.reasons}\n{said(done)}"
    assert writers.missing(told) == []
    print(f"nobody was answered for {max(told.stopped(site) for site in SITES):.2f} s")
    writers.healed()


def test_common_drivers_connect_and_a_session_is_kept(writers: Writers) -> None:
    """What JDBC, Go and Node send at the start; and a connection of one's own, for locks, LISTEN and dumps."""
    name = writers.database
    drivers = "-c statement_timeout=30s -c lock_timeout=5s -c extra_float_digits=3"
    assert pooled(writers, name, "select 1", drivers).stdout.strip() == "1"
    refused = pooled(writers, name, "select 1", "-c search_path=other")
    assert "search_path" in refused.stderr
    kept = "select pg_advisory_lock(42); listen news; select count(*) from pg_locks where locktype = 'advisory'"
    assert pooled(writers, f"{name}_session", kept).stdout.split()[-1] == "1"
    assert not pooled(writers, "pgbouncer", "show pools").ok, "its console is its own account's"


def test_how_it_is_stands_in_two_places(rehearsal: Rehearsal, writers: Writers) -> None:
    leader = writers.leader()
    assert f"✓ cluster: {leader} leads, " in status(rehearsal)
    assert " follows in sync, 0 MB behind, 3 voters well" in status(rehearsal)
    text = said(day_two(rehearsal, "cluster_status"))
    assert f"[{leader}] leads (running)" in text
    assert "follows in sync (streaming), 0 MB behind" in text
    assert "slot " in text
    assert "[witness] votes; 3 of 3 members answer" in text


def test_it_is_handed_over_by_word(rehearsal: Rehearsal, writers: Writers) -> None:
    leader = writers.leader()
    (other,) = set(SITES) - {leader}
    refused = day_two(rehearsal, "switchover", f"to={leader}", check=False)
    assert not refused.ok
    assert f"{leader} leads already" in said(refused)
    assert "next: " in said(refused)
    done = day_two(rehearsal, "switchover", f"to={other}")
    assert f"[{leader}] {leader} has handed over; next: `make cluster`" in said(done)
    assert writers.leader() == other
    writers.healed()


@pytest.mark.full("outages")
def test_a_voter_with_a_slow_disk_is_named_and_nobody_waits_for_it(rehearsal: Rehearsal, writers: Writers) -> None:
    """The stand-in for a slow disk: strace(1) holds up each of the member's calls that wait for the disk."""
    machine, slow = "standby", "rehearsal-slow-disk"
    calls = "fdatasync,fsync"
    trace = f"strace -f -qq -o /dev/null -e trace={calls} -e inject={calls}:delay_enter=400000"
    rehearsal.exec(machine, "apt-get -qq update && apt-get -qq -y install strace >/dev/null", timeout=300)
    leader = writers.leader()
    with writers.writing(*SITES):
        # what it counted before is of the quick disk
        rehearsal.exec(
            machine,
            f"systemctl restart etcd && systemd-run -q --unit={slow} {trace} -p $(systemctl show -P MainPID etcd)",
        )
        try:
            # a lab's own disk may be slow as well, but not by 400 ms each time
            named = re.compile(rf"\[{machine}\]  its disk.*: log (\d+) ms.*SLOW.*next: .*#a-slow-voter")

            def is_named() -> bool:
                found = named.search(said(day_two(rehearsal, "cluster_status")))
                return found is not None and int(found[1]) > 250

            wait_for(is_named, "it is named", seconds=90)
            for site in SITES:
                writers.goes_on(site, seconds=10)
        finally:
            rehearsal.exec(machine, f"systemctl stop {slow}; systemctl restart etcd")
        told = writers.told()
    assert (writers.leader(), told.unknown) == (leader, {}), told.reasons
    assert writers.missing(told) == []
    writers.healed()


@pytest.mark.full("faults")
def test_a_pause_is_not_forgotten(rehearsal: Rehearsal, writers: Writers) -> None:
    assert "next: `make resume` as soon as you are done" in said(day_two(rehearsal, "pause"))
    try:
        assert "PAUSED: nobody takes over when the leader fails" in status(rehearsal)
        assert f"next: `make resume stack={rehearsal.stack}`" in status(rehearsal)
        refused = day_two(rehearsal, "switchover", check=False)
        assert "the cluster is paused" in said(refused)
        with rehearsal.settings_changed("postgres.max_connections", 210):
            before = begun(writers)
            done = rehearsal.deploy("--data", "only=postgres", check=False)
            assert not done.ok
            assert "note: the cluster is paused" in said(done)
            assert "the cluster is paused: nothing is restarted" in said(done)
            assert "PAUSED" in status(rehearsal), "a deploy ended the pause"
            assert begun(writers) == before
    finally:
        day_two(rehearsal, "resume")
    assert "PAUSED" not in status(rehearsal)
    # back to what it was: nothing waits any more
    rehearsal.deploy("--data", "only=postgres")
    assert begun(writers) == before


def test_a_changed_setting_rolls_through_in_one_deploy(rehearsal: Rehearsal, writers: Writers) -> None:
    """Raised: replicas, a switchover, the former leader. Lowered: the leader in its place first, as Postgres wants it.

    Somebody writes all the while from beside the standby, and loses nothing that was acknowledged.
    """
    leader = writers.leader()
    (other,) = set(SITES) - {leader}
    before = begun(writers)
    writers_began = time.monotonic()
    with writers.writing(other):
        with rehearsal.settings_changed("postgres.max_connections", 220):
            rehearsal.deploy("--data", "only=postgres")
            assert set_to(writers) == dict.fromkeys(SITES, "220")
            after = begun(writers)
            assert all(after[site] != before[site] for site in SITES)
            assert after[other] < after[leader], "the leader went first"
            assert writers.leader() == other, "nobody is handed back: the next switchover would be for nothing"
        writers.healed()
        rehearsal.deploy("--data", "only=postgres")
        assert set_to(writers) == dict.fromkeys(SITES, "200")
        assert writers.leader() == other
        assert rehearsal.dry("--data", "only=postgres") == {}
        writers.goes_on(other, seconds=20)
    told = writers.told()
    assert writers.missing(told) == []
    assert told.stopped(other, writers_began) < 15
    writers.healed()


def processes(rehearsal: Rehearsal, site: str) -> dict[str, str]:
    """The main process of each service that is rolled."""
    lines = rehearsal.exec(site, _PROCESSES).stdout.splitlines()
    return dict(line.split() for line in lines)


def outdated(rehearsal: Rehearsal, site: str) -> set[str]:
    """Services that run another program than the installed one, as the machine says itself."""
    return set(rehearsal.exec(site, _LOOK).stdout.split())


def test_packages_restart_nothing_and_a_deploy_takes_them_up(rehearsal: Rehearsal, writers: Writers) -> None:
    """On the server that leads, while both sites write: no process changes and no answer is missed until the deploy.

    Then each is restarted once: the pool's own restart cuts its clients off, who come again, and the leader hands over.
    """
    leader = writers.leader()
    (other,) = set(SITES) - {leader}
    before = processes(rehearsal, leader)
    with writers.writing(*SITES, patience=5):
        rehearsal.exec(leader, _REINSTALL, timeout=300)
        assert processes(rehearsal, leader) == before
        assert outdated(rehearsal, leader) == set(before) - {"postgres"}
        told = writers.told()
        assert (writers.leader(), told.unknown) == (leader, {}), told.reasons
        assert "a restart is pending" in said(day_two(rehearsal, "cluster_status"))
        rehearsal.deploy("--data", "only=etcd,postgres")
        for site in SITES:
            writers.goes_on(site, seconds=20)
        told = writers.told()
    after = processes(rehearsal, leader)
    # HAProxy's main process stays, and executes the new program when it is reloaded
    assert {unit for unit in before if after[unit] == before[unit]} == {"haproxy"}
    assert outdated(rehearsal, leader) == set()
    assert writers.leader() == other
    assert writers.missing(told) == []
    assert set(told.unknown) <= {leader}, told.reasons
    # for how long its pool refuses is a matter of how busy the machine is; that nobody is let down otherwise is not
    assert all("shutting down" in reason or "refused" in reason for reason in told.reasons), told.reasons
    print(f"not answered: {told.unknown}; nobody was answered for {max(told.stopped(site) for site in SITES):.2f} s")
    assert rehearsal.dry() == {}
    writers.healed()


@pytest.mark.full("releases")
def test_what_was_installed_is_taken_up_at_night_by_turns(rehearsal: Rehearsal, writers: Writers) -> None:
    """Nobody deploys: each machine takes its turn as it would to reboot, and none reboots."""
    leader = writers.leader()
    boots = {site: rehearsal.exec(site, "cat /proc/sys/kernel/random/boot_id").stdout for site in SITES}
    for site in SITES:
        rehearsal.exec(site, _REINSTALL, timeout=300)
        assert outdated(rehearsal, site) == {"etcd", "haproxy", "patroni", "pgbouncer"}
    with writers.writing(*SITES, patience=5):
        for site in sorted(SITES, key=lambda one: one != leader):
            rehearsal.exec(site, "systemctl start bastide-reboot", timeout=300)
            log = rehearsal.exec(site, "journalctl -q -t bastide-updates -n 5 -o cat").stdout
            assert "what is installed runs now: etcd, haproxy, patroni, pgbouncer" in log
            assert outdated(rehearsal, site) == set()
            writers.healed()
        for site in SITES:
            writers.goes_on(site, seconds=20)
        told = writers.told()
    assert writers.missing(told) == []
    print(f"not answered: {told.unknown} {told.reasons}")
    assert boots == {site: rehearsal.exec(site, "cat /proc/sys/kernel/random/boot_id").stdout for site in SITES}
    assert rehearsal.dry() == {}


@pytest.mark.full("releases")
def test_a_newer_release_rolls_through_in_one_deploy(rehearsal: Rehearsal, writers: Writers) -> None:
    """Installed by the package manager, it changes no server that runs, and is said to wait; a deploy restarts all."""
    leader = writers.leader()
    (other,) = set(SITES) - {leader}
    now = writers.sql(leader, "show server_version").split()[0]
    newer = now.partition(".")[0] + "." + "9" * len(now.partition(".")[2])
    try:
        for site in SITES:
            rehearsal.exec(site, _STAND_IN_RELEASE.format(now=now, newer=newer), timeout=300)
        assert releases(writers) == dict.fromkeys(SITES, now)
        assert "a restart is pending" in said(day_two(rehearsal, "cluster_status"))
        with writers.writing(other):
            rehearsal.deploy("--data", "only=postgres")
            assert releases(writers) == dict.fromkeys(SITES, newer)
            assert writers.leader() == other
            writers.healed()
            writers.goes_on(other, seconds=20)
        assert writers.missing(writers.told()) == []
        assert rehearsal.dry() == {}
    finally:
        for site in SITES:
            rehearsal.exec(site, _OWN_RELEASE, timeout=300)
        rehearsal.deploy("--data", "only=postgres")
    assert releases(writers) == dict.fromkeys(SITES, now)
    writers.healed()


@pytest.mark.full("faults")
def test_another_owner_gets_what_the_first_one_made_and_nothing_is_dropped(
    rehearsal: Rehearsal, writers: Writers
) -> None:
    """Tables and sequences change hands; a role that nobody names any more stays, and cannot log in."""
    owner, heir = writers.owner, f"{writers.owner}2"
    roles = dict(load(rehearsal.file)["config"]["bastide:settings"]["postgres"]["databases"][writers.database]["roles"])
    whose = "select string_agg(distinct pg_get_userbyid(relowner), ' ') from pg_class where relname ~ '^kept'"
    writers.sql(writers.leader(), f'set role "{owner}"; create table kept (n serial primary key)')
    try:
        renamed = {heir if role == owner else role: right for role, right in roles.items()}
        with rehearsal.settings_changed(f"postgres.databases.{writers.database}.roles", renamed):
            rehearsal.deploy("--data", "only=postgres")
            assert writers.sql(writers.leader(), whose) == heir
            can = f"select rolname, rolcanlogin from pg_roles where rolname in ('{owner}', '{heir}') order by 1"
            assert writers.sql(writers.leader(), can).split() == [f"{owner}|f", f"{heir}|t"]
            assert rehearsal.dry("--data", "only=postgres") == {}
        rehearsal.deploy("--data", "only=postgres")
        assert writers.sql(writers.leader(), whose) == owner
    finally:
        writers.sql(writers.leader(), "drop table if exists kept")
    writers.sql(writers.leader(), f'drop owned by "{heir}"; drop role "{heir}"')
    assert rehearsal.dry("--data", "only=postgres") == {}


def test_a_copy_is_made_anew_by_name_and_not_the_only_one(rehearsal: Rehearsal, writers: Writers) -> None:
    leader = writers.leader()
    (other,) = set(SITES) - {leader}
    assert "its data are the ones to copy" in said(day_two(rehearsal, "reinit", f"replica={leader}", check=False))
    assert "the only copy in sync" in said(day_two(rehearsal, "reinit", f"replica={other}", check=False))
    assert "which machine?" in said(day_two(rehearsal, "reinit", check=False))
    before = writers.sql(other, "select pg_postmaster_start_time()")
    day_two(rehearsal, "reinit", f"replica={other}", "force=1")
    assert writers.sql(other, "select pg_postmaster_start_time()") != before
    writers.healed()


@pytest.mark.full("faults")
def test_the_data_of_another_cluster_are_refused_and_not_wiped(rehearsal: Rehearsal, writers: Writers) -> None:
    leader = writers.leader()
    (other,) = set(SITES) - {leader}
    aside = f"{DATA}.aside"
    rehearsal.exec(
        other,
        f"systemctl stop patroni; mv {DATA} {aside}; "
        f"runuser -u postgres -- /usr/lib/postgresql/17/bin/initdb -A peer -D {DATA} >/dev/null; touch {DATA}/precious",
    )
    try:
        done = rehearsal.deploy(check=False)
        assert not done.ok
        assert f"{other}: {DATA} holds the data of another cluster (system identifier " in said(done)
        assert f"`mv {DATA} {aside}` there" in said(done)
        rehearsal.exec(other, f"test -e {DATA}/precious")
    finally:
        rehearsal.exec(other, f"rm -r {DATA}; mv {aside} {DATA}; systemctl start patroni")
    writers.healed()


def lose(rehearsal: Rehearsal, name: str, *, volume: bool) -> None:
    """Delete a server behind Pulumi's back, with its volume or without; then one up and one deploy."""
    (lost,) = [server for server in servers(rehearsal) if server["name"] == name]
    unprotected = {"delete": False, "rebuild": False}
    rehearsal.api("POST", f"/v1/servers/{lost['id']}/actions/change_protection", unprotected)
    rehearsal.api("DELETE", f"/v1/servers/{lost['id']}")
    wait_for(lambda: len(servers(rehearsal)) == 2, "the server is gone", seconds=30)
    for number in lost["volumes"] if volume else []:
        rehearsal.api("POST", f"/v1/volumes/{number}/actions/change_protection", {"delete": False})
        rehearsal.api("DELETE", f"/v1/volumes/{number}")
    rehearsal.pulumi("up", "--yes", "--skip-preview", "--refresh")
    rehearsal.deploy(timeout=600)
    rehearsal.make("inventory")


def came_back(rehearsal: Rehearsal, writers: Writers) -> None:
    """All is well without hands, and nothing is left to do."""
    writers.healed()
    members = writers.rehearsal.exec("primary", "timeout 10 bastide-etcdctl -w json member list").stdout
    assert sorted(one["name"] for one in json.loads(members)["members"]) == ["primary", "standby", "witness"]
    assert rehearsal.dry() == {}


@pytest.mark.full("losses")
@pytest.mark.parametrize("volume", [False, True], ids=["volume-kept", "volume-lost"])
@pytest.mark.parametrize("name", ["standby", "witness", "primary"])
def test_a_lost_machine_comes_back_by_itself(rehearsal: Rehearsal, writers: Writers, name: str, volume: bool) -> None:
    """Whether etcd's data came back with the volume or are gone; a lost leader comes back as a replica."""
    writers.switchover("primary")
    lose(rehearsal, name, volume=volume)
    came_back(rehearsal, writers)
    assert writers.leader() == ("standby" if name == "primary" else "primary")
