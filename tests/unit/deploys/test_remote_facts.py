"""What facts read on a machine: what its users and packages can make of a file."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import socket
from pathlib import Path

import pytest

from deploys.operations.packages import _logged
from deploys.remote.facts import accounts, common, machine, packages

KEY = "ssh-ed25519 AAAA somebody\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Somebody's home on a machine whose root is elsewhere."""
    monkeypatch.setattr(common, "ROOT", tmp_path)
    folder = tmp_path / "home/mallory/.ssh"
    folder.mkdir(parents=True)
    return folder


def held() -> list[str]:
    user = pwd.struct_passwd(("mallory", "x", 1001, 1001, "", "/home/mallory", "/bin/bash"))
    return accounts._keys_of(user)


def test_a_key_file_in_a_home_is_seen(home: Path) -> None:
    (home / "authorized_keys").write_text(f"# mine\n{KEY}")
    (home / "authorized_keys2").write_text("# nothing but this\n\n")
    assert held() == ["/home/mallory/.ssh/authorized_keys"]


def test_a_file_that_is_larger_than_anybody_needs_counts_and_is_not_read_whole(home: Path) -> None:
    with (home / "authorized_keys").open("wb") as file:
        file.truncate(1 << 40)
    assert held() == ["/home/mallory/.ssh/authorized_keys"]


@pytest.mark.parametrize("trap", ["fifo", "link to a device", "link to another's", "folder", "linked folder"])
def test_what_only_looks_like_a_file_stops_nobody(home: Path, tmp_path: Path, trap: str) -> None:
    path, other = home / "authorized_keys", tmp_path / "root/.ssh"
    other.mkdir(parents=True)
    (other / "authorized_keys").write_text(KEY)
    if trap == "fifo":
        os.mkfifo(path)
    elif trap == "link to a device":
        path.symlink_to("/dev/zero")
    elif trap == "link to another's":
        path.symlink_to(other / "authorized_keys")
    elif trap == "folder":
        path.mkdir()
    else:
        home.rmdir()
        home.symlink_to(other)
    assert held() == []


def test_a_package_that_another_one_provides_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "ROOT", tmp_path)
    status = tmp_path / "var/lib/dpkg/status"
    status.parent.mkdir(parents=True)
    status.write_text(
        "Package: bind9-dnsutils\nStatus: install ok installed\nProvides: dnsutils (= 1:9.20), other\n"
        "Description: x\n y: z\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nProvides: mail\n\n"
    )
    names = ["bind9-dnsutils", "dnsutils", "other", "gone", "mail", "curl"]
    assert packages.packages(names) == {
        **dict.fromkeys(names[:3], True),
        **dict.fromkeys(names[3:], False),
    }


@pytest.mark.parametrize(
    ("fails", "waits"), [("E: Could not get lock /var/lib/apt/lists/lock", True), ("E: no", False)]
)
def test_a_lock_of_somebody_else_is_waited_for_and_nothing_else_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str, waits: bool
) -> None:
    """The shell line that runs apt, with a program in its place that fails once."""
    log, tried = tmp_path / "log", tmp_path / "tried"
    monkeypatch.setattr("deploys.operations.packages._LOG", str(log))
    monkeypatch.setattr("deploys.operations.packages._FETCHED", str(tmp_path / "fetched"))
    program = tmp_path / "apt"
    program.write_text(f"#!/bin/sh\necho x >>{tried}\n[ $(wc -l <{tried}) -gt 1 ] || {{ echo '{fails}'; exit 100; }}\n")
    program.chmod(0o755)
    code = os.waitstatus_to_exitcode(os.system(f"sh -c \"$(cat <<'END'\n{_logged(str(program))}\nEND\n)\" 2>/dev/null"))
    assert (code, len(tried.read_text().split())) == ((0, 2) if waits else (1, 1))


@pytest.mark.parametrize(("protocol", "kind"), [("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)])
def test_who_listens_on_a_port_is_named_with_its_unit(protocol: str, kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as line:
        line.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            line.listen()
        port = line.getsockname()[1]
        (found,) = machine._holders([(protocol, port)])[f"{protocol}/{port}"]
    assert found["program"] == Path("/proc/self/comm").read_text().strip()
    assert found["unit"] == machine._unit(Path("/proc/self"))
    assert machine._holders([(protocol, port)]) == {}


@pytest.mark.parametrize(
    ("line", "unit"),
    [
        ("0::/system.slice/system-postgresql.slice/postgresql@17-main.service\n", "postgresql@17-main.service"),
        ("12:pids:/x\n1:name=systemd:/system.slice/ssh.service\n", "ssh.service"),
        ("0::/system.slice/patroni.service/workers\n", "patroni.service"),
        ("0::/init.scope\n", "init.scope"),
        ("0::/\n", "no unit"),
    ],
)
def test_the_unit_of_a_process_is_read_as_systemd_has_it(tmp_path: Path, line: str, unit: str) -> None:
    (tmp_path / "cgroup").write_text(line)
    assert machine._unit(tmp_path) == unit


def test_what_systemd_listens_on_for_somebody_is_that_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [
        {"listen": "127.0.0.1:6432", "type": "Stream", "unit": "pgbouncer.socket", "activates": "pgbouncer.service"},
        {"listen": "[::]:69", "type": "Datagram", "unit": "tftp.socket", "activates": "tftp.service"},
        {"listen": "/run/pgbouncer/.s.PGSQL.6432", "type": "Stream", "unit": "pgbouncer.socket", "activates": "x"},
    ]
    monkeypatch.setattr(machine, "output", lambda *_: json.dumps(listed))
    assert machine._activated() == {"tcp/6432": "pgbouncer.socket", "udp/69": "tftp.socket"}
    monkeypatch.setattr(common, "ROOT", tmp_path)
    for number, program, inode in (("1", "systemd", 7), ("9", "pgbouncer", 7), ("2", "other", 8)):
        folder = tmp_path / "proc" / number
        (folder / "fd").mkdir(parents=True)
        (folder / "fd" / "3").symlink_to(f"socket:[{inode}]")
        (folder / "comm").write_text(f"{program}\n")
        (folder / "cgroup").write_text("0::/init.scope\n" if number == "1" else f"0::/system.slice/{program}.service\n")
    line = "   0: 0100007F:1920 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 7 1 0\n"
    (tmp_path / "proc/net").mkdir()
    (tmp_path / "proc/net/tcp").write_text(f"head\n{line}")
    held = machine._holders([("tcp", 6432)])["tcp/6432"]
    assert sorted((one["program"], one["unit"]) for one in held) == [
        ("pgbouncer", "pgbouncer.service"),
        ("systemd", "pgbouncer.socket"),
    ]


def test_settings_as_the_package_brought_them_are_nobody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deploy that was killed after it installed a package goes on over the package's own file."""
    monkeypatch.setattr(common, "ROOT", tmp_path)
    monkeypatch.setattr(machine, "output", lambda *_: "active\n")
    path, status = tmp_path / "etc/haproxy/haproxy.cfg", tmp_path / "var/lib/dpkg/status"
    for one in (path, status):
        one.parent.mkdir(parents=True)
    path.write_text("global\n")
    status.write_text("Package: haproxy\nConffiles:\n /etc/haproxy/haproxy.cfg 82a2fce43a2edf6f2b8b0c3c6c9a3a0e\n")
    whole = {"haproxy.service": "/etc/haproxy/haproxy.cfg", "etcd.service": "/etc/default/etcd"}
    assert machine._strange(whole) == {"haproxy.service": "/etc/haproxy/haproxy.cfg"}
    digest = hashlib.md5(b"global\n", usedforsecurity=False).hexdigest()
    status.write_text(f"Package: haproxy\nConffiles:\n /etc/haproxy/haproxy.cfg {digest}\n")
    assert machine._strange(whole) == {}
    path.write_text("# Written by Bastide (deploys/postgres/routing.py).\n")
    status.unlink()
    assert machine._strange(whole) == {}
