"""What is installed is taken up by turns: pool, replicas, a switchover, the former leader; nobody is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from bastide.layout.postgres import DATA, FOLDER, POOL_PORT
from tests.rehearsal.acknowledged import SITES, Writers, lent
from tests.rehearsal.day_two import day_two, said
from tests.rehearsal.stack import Rehearsal

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
# New connections without a pause, each up to the question for a password (PostgreSQL 17 manual, 53.2), for so many
# seconds. Prints a JSON object: what became of them and how many.
_KNOCK = """
import collections, json, socket, ssl, struct, sys, threading, time
trust = ssl.create_default_context(cafile="{ca}")
found, ends = collections.Counter(), time.monotonic() + {seconds}
words = struct.pack("!I", 196608) + b"user\\0{role}\\0database\\0{database}\\0\\0"
def knock():
    while time.monotonic() < ends:
        try:
            with socket.create_connection(("127.0.0.1", {port}), 20) as plain:
                plain.sendall(struct.pack("!II", 8, 80877103))
                assert plain.recv(1) == b"S", "no TLS"
                with trust.wrap_socket(plain, server_hostname="localhost") as line:
                    line.sendall(struct.pack("!I", len(words) + 4) + words)
                    found["asked" if line.recv(1) == b"R" else "not asked"] += 1
        except (OSError, AssertionError) as error:
            found[str(error) or type(error).__name__] += 1
threads = [threading.Thread(target=knock) for _ in range(4)]
for one in threads: one.start()
for one in threads: one.join()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def writers(rehearsal: Rehearsal) -> Iterator[Writers]:
    """The view of the cluster, and clients that write. Afterwards the primary leads again."""
    yield from lent(rehearsal)


def releases(writers: Writers) -> dict[str, str]:
    """Which release each server runs."""
    return {site: writers.sql(site, "show server_version").split()[0] for site in SITES}


def processes(rehearsal: Rehearsal, site: str) -> dict[str, str]:
    """The main process of each service that is rolled."""
    lines = rehearsal.exec(site, _PROCESSES).stdout.splitlines()
    return dict(line.split() for line in lines)


def outdated(rehearsal: Rehearsal, site: str) -> set[str]:
    """Services that run another program than the installed one, as the machine says itself."""
    return set(rehearsal.exec(site, _LOOK).stdout.split())


def test_who_connects_while_the_pools_process_is_another_one_waits(rehearsal: Rehearsal, writers: Writers) -> None:
    """Nobody is refused, whoever ends it: systemd holds the place to listen."""
    where = {"ca": f"{FOLDER}/ca.crt", "port": POOL_PORT, "role": writers.role, "database": writers.database}
    script = _KNOCK.format(seconds=10, **where)
    before = rehearsal.exec("standby", _PROCESSES).stdout
    done = rehearsal.exec(
        "standby",
        "cat >/run/knock.py; python3 /run/knock.py & "
        "for n in 1 2 3; do sleep 1.5; systemctl restart pgbouncer; done; "
        "sleep 1; kill -9 $(systemctl show -P MainPID pgbouncer); wait; rm /run/knock.py",
        input=script,
        timeout=90,
    )
    found = json.loads(done.stdout)
    print(found)
    # one that it had taken and not served yet ends with it; none is refused
    assert not [said for said in found if "refused" in said], found
    assert found["asked"] > 100, found
    assert found["asked"] > 0.9 * sum(found.values()), found
    assert rehearsal.exec("standby", _PROCESSES).stdout != before
    assert rehearsal.dry("--data", "only=postgres") == {}


def test_packages_restart_nothing_and_a_deploy_takes_them_up(rehearsal: Rehearsal, writers: Writers) -> None:
    """On the server that leads, while both sites write: no process changes and no answer is missed until the deploy.

    Then each is restarted once: the pool's sessions end with its process, who comes again waits; the leader hands over.
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
    # whose session ends with the pool's process is told so; who comes again waits for the new one
    assert all("shutting down" in reason or "closed the connection" in reason for reason in told.reasons), told.reasons
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
