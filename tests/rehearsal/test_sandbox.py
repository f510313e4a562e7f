"""What services may: tried from inside of each, on servers of before, and where a service does not work in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from bastide.layout.sandbox import PATRONI, POOL, ROUTER, Sandbox, sandboxes
from bastide.stackfile import read
from tests.rehearsal.acknowledged import SITES, Writers, lent
from tests.rehearsal.stack import Rehearsal

LAB = "database"

_KEYS = (
    *("/etc/bastide/etcd/server.key", "/etc/bastide/postgres/server.key", "/etc/pgbouncer/server.key"),
    *("/etc/ssh/ssh_host_ed25519_key", "/etc/wireguard/wg0.conf", "/etc/shadow"),
)
_FOLDERS = (
    *("/", "/etc", "/etc/systemd/system", "/usr/local/bin", "/boot", "/root", "/home", "/opt", "/srv", "/run"),
    *("/var/lib", "/var/log", "/var/spool/cron", "/var/lib/etcd", "/var/lib/postgresql", "/sys/kernel"),
)
# the unit as it is, with a program of ours in the place of its own: what is not reset would be the service's
_INSTEAD = """
systemctl cat {unit} > /run/systemd/system/bastide-tried.service
cat >> /run/systemd/system/bastide-tried.service <<'END'
[Service]
Type=oneshot
ExecStart=
ExecStartPre=
ExecStartPost=
ExecStop=
ExecReload=
Restart=no
WatchdogSec=0
RuntimeDirectory=
PIDFile=
ExecStart=/usr/bin/python3 -I /usr/local/lib/bastide/tried.py
END
cat > /usr/local/lib/bastide/tried.py
systemctl daemon-reload; cursor=$(journalctl -n 0 --show-cursor | sed -n 's/^-- cursor: //p')
systemctl start bastide-tried || true
journalctl --sync; journalctl -qu bastide-tried --after-cursor "$cursor" -o cat
rm -f /run/systemd/system/bastide-tried.service /usr/local/lib/bastide/tried.py; systemctl daemon-reload
"""
# prints what it could do of what nobody may
_TRIED = """
import json, os, socket, subprocess
done = []
def tried(what, act):
    try:
        act()
    except (OSError, subprocess.SubprocessError):
        return
    done.append(what)
def write(folder):
    path = folder + "/bastide-tried"
    open(path, "w").close()
    os.unlink(path)
def other(path):
    assert os.stat(path).st_uid != os.getuid()
    open(path).read(1)
def words(*words):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=10)
for path in {keys}:
    try:
        tried(path, lambda: other(path))
    except AssertionError:
        pass  # its own
for folder in {folders}:
    tried("writes to " + folder, lambda: write(folder))
if os.getuid():
    tried("the metadata", lambda: socket.create_connection(("169.254.169.254", 80), 2))
    tried("a shell as root", lambda: words("sudo", "-n", "true"))
    tried("to be root", lambda: os.setuid(0))
tried("mount", lambda: words("mount", "-t", "tmpfs", "tmpfs", "/mnt"))
tried("chroot", lambda: os.chroot("/var"))
tried("namespaces", lambda: os.unshare(os.CLONE_NEWUSER))
tried("raw packets", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
tried("program with root's rights", lambda: os.chmod("/tmp/bastide-tried", 0o4755) if not open("/tmp/bastide-tried", "w").close() else 0)
print("tried " + json.dumps(done))
"""  # noqa: E501

# a server of an earlier release: HAProxy as root, Patroni and PostgreSQL as their account and no more
_BEFORE = {
    ROUTER: """
rm /etc/systemd/system/haproxy.service.d/bastide.conf
sed -i 's/^global$/&\\n\\tuser haproxy\\n\\tgroup haproxy/' /etc/haproxy/haproxy.cfg
""",
    PATRONI: "sed -i '/^BindPaths/,$d' /etc/systemd/system/patroni.service.d/bastide.conf\n",
    POOL: "sed -i '/^ReadOnlyPaths/d' /etc/systemd/system/pgbouncer.service.d/bastide.conf\n",
}


@dataclass(frozen=True)
class _Own:
    """What an operator added to a service: at its start it writes where only the present drop-in lets it."""

    one: Sandbox

    @property
    def folder(self) -> str:
        return f"/etc/systemd/system/{self.one.unit}.d"

    def added(self) -> str:
        return f"""
mkdir -p /srv/own && chown {self.one.account} /srv/own
printf '[Service]\\nExecStartPre=/bin/touch /srv/own/began\\n' > {self.folder}/zz-own.conf
echo ReadWritePaths=/srv/own >> {self.folder}/bastide.conf
systemctl daemon-reload && systemctl restart {self.one.unit}
"""

    def removed(self) -> str:
        return f"rm -rf {self.folder}/zz-own.conf /srv/own; systemctl daemon-reload"


@pytest.fixture(scope="module")
def writers(rehearsal: Rehearsal) -> Iterator[Writers]:
    """The view of the cluster. Afterwards the primary leads again."""
    yield from lent(rehearsal)


@pytest.mark.parametrize("machine", ["primary", "witness"])
def test_nothing_else_can_be_reached_from_inside(rehearsal: Rehearsal, machine: str) -> None:
    """A program of somebody who has taken a service over: keys, metadata, root, folders of others, the kernel."""
    found = {}
    for one in sandboxes(read(rehearsal.file), machine):
        keys = () if "CAP_DAC_READ_SEARCH" in one.capabilities else _KEYS
        # the packet socket is what CAP_NET_RAW is for, and of fail2ban's families it is none
        script = _TRIED.format(keys=keys, folders=[path for path in _FOLDERS if path not in one.writes])
        said = rehearsal.exec(machine, _INSTEAD.format(unit=one.unit), input=script).stdout
        (line,) = [line for line in said.splitlines() if line.startswith("tried ")] or [said]
        found[one.unit] = line.removeprefix("tried ")
    assert set(found.values()) == {"[]"}, json.dumps(found, indent=1)


def test_expensive_queries_are_compiled(writers: Writers) -> None:
    """LLVM writes code and runs it, which nothing else on the machine may."""
    explained = writers.sql(
        writers.leader(),
        "set jit = on; set jit_above_cost = 0; set jit_optimize_above_cost = 0; set jit_inline_above_cost = 0;"
        " explain (analyze) select sum(n * 2) from generate_series(1, 100000) as n",
    )
    assert "JIT:" in explained, explained


@pytest.mark.full("sandbox")
def test_servers_of_before_are_taken_over_by_turns(rehearsal: Rehearsal, writers: Writers) -> None:
    """In one deploy, while both sites write: replicas, a switchover, the former leader; the second changes nothing."""
    leader = writers.leader()
    (other,) = set(SITES) - {leader}
    for site in (other, leader):
        rehearsal.exec(site, "".join(_BEFORE.values()) + "systemctl daemon-reload; systemctl restart pgbouncer haproxy")
        rehearsal.exec(site, "systemctl restart patroni", timeout=90)
        writers.healed()
    writers.switchover(leader)
    with writers.writing(*SITES, patience=10):
        rehearsal.deploy("--data", "only=postgres")
        for site in SITES:
            writers.goes_on(site, seconds=20)
        told = writers.told()
    print(f"not answered: {told.unknown} {told.reasons}; {max(told.stopped(site) for site in SITES):.2f} s at most")
    assert writers.missing(told) == []
    # whose session ends with the pool's process is told so: HAProxy's restart and the handover nobody sees
    assert all("shutting down" in reason or "closed the connection" in reason for reason in told.reasons), told.reasons
    assert writers.leader() == other
    assert rehearsal.dry("--data", "only=postgres") == {}
    done = rehearsal.verify(
        "--control", "sandbox-01", "--control", "sandbox-02", "--control", "sandbox-03", check=False
    )
    assert done.ok, done.stdout
    writers.healed()


@pytest.mark.full("sandbox")
@pytest.mark.parametrize("one", [PATRONI, ROUTER, POOL], ids=lambda one: one.unit)
def test_a_service_that_does_not_work_in_its_sandbox_is_taken_back(
    rehearsal: Rehearsal, writers: Writers, one: Sandbox
) -> None:
    """On a replica, with a drop-in beside ours that needs more than ours lets it: it and the others run as before."""
    leader = writers.leader()
    (machine,) = set(SITES) - {leader}
    own = _Own(one)
    started = f"systemctl show -P ExecMainStartTimestampMonotonic {one.unit}"
    rehearsal.exec(machine, own.added(), timeout=90)
    writers.healed()
    before = rehearsal.exec(leader, started).stdout
    try:
        done = rehearsal.deploy("--data", "only=postgres", check=False)
        said = done.stdout + done.stderr
        assert not done.ok
        assert "Read-only file system" in said, said
        assert "It was taken back: all is as before." in said, said
        writers.healed()
        assert "ReadWritePaths=/srv/own" in rehearsal.exec(machine, f"cat {own.folder}/bastide.conf").stdout
        assert rehearsal.exec(machine, f"systemctl is-active {one.unit}").stdout.strip() == "active"
        assert (writers.leader(), rehearsal.exec(leader, started).stdout) == (leader, before)
    finally:
        rehearsal.exec(machine, own.removed())
    rehearsal.deploy("--data", "only=postgres")
    assert rehearsal.dry("--data", "only=postgres") == {}
    writers.healed()


@pytest.mark.full("sandbox")
def test_what_opens_a_service_too_far_is_not_put_in_place(rehearsal: Rehearsal) -> None:
    """A drop-in beside ours takes its limits away: systemd itself counts that, and the deploy leaves all as it is."""
    folder = f"/etc/systemd/system/{ROUTER.unit}.d"
    opened = "CapabilityBoundingSet=~\\nSystemCallFilter=\\nProtectSystem=no\\nPrivateDevices=no\\nUser=root"
    started = f"systemctl show -P ExecMainStartTimestampMonotonic {ROUTER.unit}"
    rehearsal.exec(
        "standby",
        f"printf '[Service]\\n{opened}\\n' > {folder}/zz-own.conf; echo '# edited' >> {folder}/bastide.conf",
    )
    before = rehearsal.exec("standby", started).stdout
    try:
        done = rehearsal.deploy("--data", "only=postgres", check=False)
        assert not done.ok
        assert f"{ROUTER.unit} would have" in done.stdout + done.stderr
        assert rehearsal.exec("standby", started).stdout == before
    finally:
        rehearsal.exec("standby", f"rm {folder}/zz-own.conf; systemctl daemon-reload")
    rehearsal.deploy("--data", "only=postgres")
    assert rehearsal.dry("--data", "only=postgres") == {}
