"""Runs on the machine: reads whatever a capability needs to know, all in one go.

Changes nothing. Standard library only, since it is sent to the machine as it stands here.
"""

from __future__ import annotations

import contextlib
import fcntl
import grp
import hashlib
import json
import os
import pickle
import pwd
import re
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path("/")
STATE = Path("var/lib/bastide")
KEY_DIR = Path("etc/ssh/authorized_keys.d")
HOME_KEYS = (".ssh/authorized_keys", ".ssh/authorized_keys2")
_PEOPLE = range(1000, 60001)  # login.defs(5), UID_MIN to UID_MAX
_NO_LOGIN = ("nologin", "false", "sync")


def look(question: dict[str, Any]) -> None:
    """Answer each area that the question names, as JSON on standard output."""
    answer = {area: AREAS[area](argument) for area, argument in question.items()}
    answer["left"] = left()
    print(json.dumps(answer))


def left() -> dict[str, list[str]]:
    """What runs that were killed left: changes begun and not settled, guards not confirmed."""
    return {kind: sorted(p.name for p in _list(STATE / kind)) for kind in ("pending", "guard")}


def files(paths: list[str]) -> dict[str, dict[str, Any] | None]:
    """Digest, mode and owner of each file; `None` for what does not exist."""
    return {path: _file(ROOT / path.lstrip("/")) for path in paths}


def contents(paths: list[str]) -> dict[str, str]:
    """The text of each file that exists, to show a difference; never asked for secret files."""
    found = {path: ROOT / path.lstrip("/") for path in paths}
    return {path: file.read_text(errors="replace") for path, file in found.items() if file.is_file()}


def packages(names: list[str]) -> dict[str, bool]:
    """Which of these Debian packages are installed."""
    states = _package_states()
    return {name: states.get(name) == "installed" for name in names}


def half_way(wanted: bool) -> list[str]:
    """Packages that an interrupted dpkg run left half-way."""
    whole = ("installed", "config-files", "not-installed")
    left = [name for name, state in _package_states().items() if state not in whole]
    if any(path.name.isdigit() for path in _list(Path("var/lib/dpkg/updates"))):
        left.append("dpkg's journal")
    return left


def _package_states() -> dict[str, str]:
    states = {}
    for record in _read("var/lib/dpkg/status").split("\n\n"):
        name = status = ""
        for line in record.split("\n", 3):
            if line.startswith("Package: "):
                name = line[9:]
            elif line.startswith("Status: "):
                status = line[8:]
        if name:
            states[name] = status.rpartition(" ")[2]
    return states


def units(names: list[str]) -> dict[str, dict[str, str]]:
    """Load, unit file and active state of systemd units."""
    shown = _out("systemctl", "show", "-p", "Id,LoadState,UnitFileState,ActiveState", "--", *names)
    records = [dict(line.split("=", 1) for line in text.splitlines()) for text in shown.strip().split("\n\n")]
    # an alias answers with another Id: the order is that of the question
    return dict(zip(names, records, strict=False))


def links(paths: list[str]) -> dict[str, str]:
    """Where symbolic links point to; "" for what is none."""
    found = {path: ROOT / path.lstrip("/") for path in paths}
    return {path: str(link.readlink()) if link.is_symlink() else "" for path, link in found.items()}


def listed(folders: list[str]) -> dict[str, list[str]]:
    """The names in each folder; none where there is no folder."""
    return {folder: [path.name for path in _list(Path(folder.lstrip("/")))] for folder in folders}


def mounts(paths: list[str]) -> dict[str, dict[str, Any] | None]:
    """What is mounted at each path: device number, source, type and options; `None` where nothing is."""
    found: dict[str, dict[str, Any] | None] = dict.fromkeys(paths)
    # proc_pid_mountinfo(5); a later line lies over an earlier one
    for line in _read("proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        words, (kind, source, *_) = before.split(), after.split()
        point = _plain(words[4])
        if point in found:
            options = words[5].split(",")
            found[point] = {"device": words[2], "source": _plain(source), "type": kind, "options": options}
    return found


def devices(paths: list[str]) -> dict[str, str]:
    """The number of each block device, as `mounts` has it; "" where there is none."""
    found = dict.fromkeys(paths, "")
    for path in paths:
        with contextlib.suppress(OSError):
            info = (ROOT / path.lstrip("/")).stat()
            if stat.S_ISBLK(info.st_mode):
                found[path] = f"{os.major(info.st_rdev)}:{os.minor(info.st_rdev)}"
    return found


def sshd(wanted: bool) -> dict[str, list[str]]:
    """The effective configuration of the ssh server, values by lower-case keyword."""
    effective: dict[str, list[str]] = {}
    for line in _out("/usr/sbin/sshd", "-T").splitlines() if wanted else []:
        key, _, value = line.partition(" ")
        effective.setdefault(key, []).append(value)
    return effective


def nft(table: str) -> dict[str, Any]:
    """Digest of an nftables table as the kernel has it, the record of what was loaded last, and what ports it opens."""
    listed = _out("nft", "-s", "list", "table", "inet", table)
    digest = hashlib.sha256(listed.encode()).hexdigest() if listed else ""
    elements = listed.partition("set ssh_ports {")[2].partition("elements = {")[2].partition("}")[0]
    ports = [int(word) for word in elements.replace(",", " ").split()]
    udp = [int(port) for port in re.findall(r"^\s*udp dport ([0-9]+) accept", listed, re.MULTILINE)]
    loaded = _read(STATE / f"{table}.loaded").strip()
    return {"live": digest, "loaded": loaded, "ssh_ports": ports, "udp_ports": udp}


def fail2ban(wanted: bool) -> dict[str, Any]:
    """Our jail files, and what the running server says of its jails and of whom it has banned.

    Asked over the server's own socket: `fail2ban-client` would take a tenth of a second for each word.
    """
    ours = [path for path in _list(Path("etc/fail2ban/jail.d")) if path.name.startswith("bastide-")]
    found: dict[str, Any] = {"files": [f"/{path.relative_to(ROOT)}" for path in ours], "server": None}
    with contextlib.suppress(OSError, EOFError, ValueError, pickle.PickleError), socket.socket(socket.AF_UNIX) as line:
        line.settimeout(5)
        line.connect(str(ROOT / "run/fail2ban/fail2ban.sock"))
        rules = _out("nft", "list", "table", "inet", "f2b-table")
        running = dict(_told(line, "status"))["Jail list"].replace(",", " ").split()
        jails = {name: _jail(line, name, rules) for name in running}
        found["server"] = {key: _told(line, "get", key) for key in ("dbfile", "dbpurgeage")} | {"jails": jails}
    return found


def _jail(line: socket.socket, name: str, rules: str) -> dict[str, Any]:
    values = {key: _told(line, "get", name, key) for key in ("ignoreip", "maxretry", "findtime", "bantime")}
    banned = [str(text).split("\t") for text in _told(line, "get", name, "banip", "--with-time")]
    bans = {address.strip(): when for address, when in banned}
    gone = any(f"saddr @{kind}-set-{name} " not in rules for kind in ("addr", "addr6"))
    held = set(re.findall(r"[0-9a-f.:]+(?=[ ,}])", rules))
    return values | {"bans": bans, "without_rule": gone or not set(bans) <= held}


def _told(line: socket.socket, *words: str) -> Any:  # noqa: ANN401 - pickled lists and numbers
    """The server's answer to a command of fail2ban-client(1)."""
    end = b"<F2B_END_COMMAND>"
    line.sendall(pickle.dumps(list(words)) + end)
    told = b""
    while not told.endswith(end):
        if not (more := line.recv(65536)):
            raise EOFError
        told += more
    # root reads what root's own service says
    code, answer = pickle.loads(told.removesuffix(end))  # noqa: S301
    if code:
        raise ValueError(str(answer))
    return answer


def wireguard(endpoints: list[str]) -> dict[str, Any]:
    """The mesh's interface as it runs, and the packet size of the way to each endpoint. No private key is asked for.

    `running` is None without the interface. Peers stand by public key, with what they may send from and where they are.
    """
    sizes = {}
    for endpoint in endpoints:
        way = json.loads(_out("ip", "-j", "route", "get", endpoint) or "[{}]")[0]
        size = _read(Path("sys/class/net") / way.get("dev", "-") / "mtu").strip()
        sizes[endpoint] = int(size) if size else None
    # in a container that of its host, when that has it loaded
    modules = Path("lib/modules") / os.uname().release
    known = any("/wireguard.ko" in _read(modules / f"modules.{kind}") for kind in ("dep", "builtin"))
    return {
        "sizes": sizes,
        "kernel": known or (ROOT / "sys/module/wireguard").exists(),
        "running": _mesh_interface() if (ROOT / "sys/class/net/wg0").exists() else None,
    }


def _mesh_interface() -> dict[str, Any]:
    told = {key: _out("wg", "show", "wg0", key).splitlines() for key in ("allowed-ips", "endpoints")}
    allowed, endpoints = (dict(line.split("\t", 1) for line in lines) for lines in told.values())
    addresses = json.loads(_out("ip", "-j", "-4", "address", "show", "dev", "wg0") or "[]")
    return {
        "key": _out("wg", "show", "wg0", "public-key").strip(),
        "port": int(_out("wg", "show", "wg0", "listen-port") or 0),
        "size": int(_read("sys/class/net/wg0/mtu") or 0),
        "addresses": [f"{a['local']}/{a['prefixlen']}" for one in addresses for a in one["addr_info"]],
        "peers": {
            key: {"allowed": sorted(allowed[key].split()), "endpoint": endpoints.get(key, "")} for key in allowed
        },
    }


def accounts(names: list[str]) -> dict[str, Any]:
    """All accounts that could log in, those asked for, their keys, and who may become root."""
    shadow = {line.split(":")[0]: line.split(":") for line in _read("etc/shadow").splitlines()}
    found = {}
    for user in pwd.getpwall():
        home_keys = _keys_of(user)
        person = user.pw_uid in _PEOPLE
        if person or home_keys or user.pw_name in names:
            secret = shadow.get(user.pw_name, ["", "*"])
            found[user.pw_name] = {
                "uid": user.pw_uid,
                "home": user.pw_dir,
                "login": user.pw_shell.rpartition("/")[2] not in _NO_LOGIN,
                "shell": user.pw_shell,
                "password": secret[1][:1] not in ("*", "!"),
                "expired": len(secret) > 7 and secret[7] not in ("", "-1"),
                "groups": sorted(g.gr_name for g in grp.getgrall() if user.pw_name in g.gr_mem),
                "home_keys": home_keys,
            }
    return {
        "accounts": found,
        "key_files": sorted(p.name for p in _list(KEY_DIR)),
        "sudoers": sorted(
            p.name for p in _list(Path("etc/sudoers.d")) if p.name not in ("README", "bastide") and not _packaged(p)
        ),
        "homes": sorted(name for name in names if name not in found and (ROOT / "home" / name).is_dir()),
    }


def machine(wanted: dict[str, Any]) -> dict[str, Any]:
    """What decides whether a deploy can begin: see deploys/preflight.py."""
    release = dict(line.split("=", 1) for line in _read("etc/os-release").splitlines() if "=" in line)
    disks = {}
    for path in ("/", "/var"):
        disk = os.statvfs(path)
        disks[path] = {
            "free_mb": disk.f_bavail * disk.f_frsize // 2**20,
            "free_inodes": disk.f_favail if disk.f_files else None,
        }
    container = bool(shutil.which("systemd-detect-virt")) and _out("systemd-detect-virt", "--container").strip()
    return {
        "root": os.geteuid() == 0,
        "system": release.get("ID", "").strip('"'),
        "version": release.get("VERSION_ID", "").strip('"'),
        "container": "" if container in (False, "none") else str(container),
        "disks": disks,
        "package_lock": _package_lock(float(wanted["lock_seconds"])),
        "reboot": (ROOT / "run/reboot-required").exists(),
        "holders": {str(port): _holder(port) for port in wanted["ports"]},
        "zone": (ROOT / "usr/share/zoneinfo" / wanted["timezone"]).is_file()
        or not (ROOT / "usr/share/zoneinfo").is_dir(),
        "locale": _knows_locale(wanted["locale"]),
        "system_accounts": sorted(
            u.pw_name for u in pwd.getpwall() if u.pw_name in wanted["people"] and u.pw_uid not in _PEOPLE
        ),
        "cloud_init": (ROOT / "etc/cloud/templates").is_dir(),
        "clock": time.time(),
    }


def _plain(text: str) -> str:
    """A path of a table of mounts, where blanks and backslashes are octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _file(path: Path) -> dict[str, Any] | None:
    try:
        info = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    plain = path.is_file() and not path.is_symlink()
    return {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest() if plain else "",
        "mode": info.st_mode & 0o7777,
        "owner": _name(pwd.getpwuid, info.st_uid),
        "group": _name(grp.getgrgid, info.st_gid),
    }


def _name(find: Callable[[int], Any], number: int) -> str:
    try:
        return str(find(number)[0])
    except KeyError:
        return str(number)


def _keys_of(user: pwd.struct_passwd) -> list[str]:
    """Key files in the home that hold at least one line; a home that cannot be read counts as none."""
    held = []
    for name in HOME_KEYS:
        path = ROOT / user.pw_dir.lstrip("/") / name
        if any(line.strip() and not line.lstrip().startswith("#") for line in _read(path).splitlines()):
            held.append(str(Path("/") / path.relative_to(ROOT)))
    return held


def _packaged(path: Path) -> bool:
    inside = f"/{path.relative_to(ROOT)}"
    return any(inside in _read(listing).splitlines() for listing in _owners(path.name))


def _owners(name: str) -> list[Path]:
    return [p for p in _list(Path("var/lib/dpkg/info")) if p.suffix == ".list" and f"/{name}\n" in _read(p)]


def _package_lock(seconds: float) -> str:
    """Who holds dpkg's lock after waiting for it this long; "" when it is free."""
    path = ROOT / "var/lib/dpkg/lock-frontend"
    deadline = time.monotonic() + seconds
    if not path.exists():
        return ""
    with path.open("r+b") as lock:
        while True:
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return ""
            except OSError:
                if time.monotonic() > deadline:
                    return _lock_holder(path.stat().st_ino)
            time.sleep(0.5)


def _lock_holder(inode: int) -> str:
    for line in _read("proc/locks").splitlines():
        words = line.split()
        if len(words) > 5 and words[5].endswith(f":{inode}"):
            return f"{_read(f'proc/{words[4]}/comm').strip() or 'a process'} (pid {words[4]})"
    return "another process"


def _holder(port: int) -> str:
    """The program that listens on a TCP port; "" when nobody does."""
    wanted = set()
    for table in ("proc/net/tcp", "proc/net/tcp6"):
        for line in _read(table).splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and int(words[1].rpartition(":")[2], 16) == port:  # 0A: TCP_LISTEN
                wanted.add(f"socket:[{words[9]}]")
    if not wanted:
        return ""
    for process in ROOT.glob("proc/[0-9]*"):
        try:
            if any(os.readlink(fd) in wanted for fd in (process / "fd").iterdir()):  # noqa: PTH115
                return _read(process / "comm").strip()
        except OSError:
            continue
    return "another program"


def _knows_locale(locale: str) -> bool:
    supported = _read("usr/share/i18n/SUPPORTED")
    return locale == "C.UTF-8" or not supported or f"\n{locale} " in f"\n{supported}"


def _list(folder: Path) -> list[Path]:
    try:
        return sorted((ROOT / folder).iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _read(path: str | Path) -> str:
    try:
        return (ROOT / path).read_text(errors="replace")
    except OSError:
        return ""


def _out(*argv: str) -> str:
    """What a program prints; "" when it is missing or fails."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


AREAS: dict[str, Any] = {
    "files": files,
    "contents": contents,
    "packages": packages,
    "half_way": half_way,
    "units": units,
    "links": links,
    "listed": listed,
    "mounts": mounts,
    "devices": devices,
    "sshd": sshd,
    "nft": nft,
    "fail2ban": fail2ban,
    "wireguard": wireguard,
    "accounts": accounts,
    "machine": machine,
}
