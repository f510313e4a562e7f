"""Runs on the machine: what decides whether a deploy can begin."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import pwd
import time
from pathlib import Path

from deploys.remote.facts.common import at, output, read
from deploys.remote.facts.packages import recorded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploys.facts.machine import Disk, Holder, MachineRequest, MachineState

_PEOPLE = range(1000, 60001)  # login.defs(5), UID_MIN to UID_MAX


def machine(wanted: MachineRequest) -> MachineState:
    """See deploys/preflight.py. Waits for a package lock that somebody holds."""
    release = dict(line.split("=", 1) for line in read("/etc/os-release").splitlines() if "=" in line)
    packages = recorded()
    container = output("systemd-detect-virt", "--container").strip()
    return {
        "root": os.geteuid() == 0,
        "system": release.get("ID", "").strip('"'),
        "version": release.get("VERSION_ID", "").strip('"'),
        "container": "" if container == "none" else container,
        "disks": {path: _disk(path) for path in ("/", "/var")},
        "package_lock": _package_lock(float(wanted["lock_seconds"])),
        "reboot": at("/run/reboot-required").exists(),
        "holders": _holders(wanted["ports"]),
        "instead": sorted(name for name in wanted["instead"] if packages.get(name) == "installed"),
        "strange": _strange(wanted["whole"]),
        "other_rules": not at(wanted["own_rules"]).exists() and _starts_at_boot("nftables.service"),
        "bridges": sorted(path.parent.name for path in at("/sys/class/net").glob("*/bridge")),
        "zone": at(f"/usr/share/zoneinfo/{wanted['timezone']}").is_file() or not at("/usr/share/zoneinfo").is_dir(),
        "locale": _knows_locale(wanted["locale"]),
        "system_accounts": sorted(
            user.pw_name for user in pwd.getpwall() if user.pw_name in wanted["people"] and user.pw_uid not in _PEOPLE
        ),
        "cloud_init": at("/etc/cloud/templates").is_dir(),
        "clock": time.time(),
    }


def _disk(path: str) -> Disk:
    disk = os.statvfs(path)
    return {
        "free_mb": disk.f_bavail * disk.f_frsize // 2**20,
        "free_inodes": disk.f_favail if disk.f_files else None,
    }


def _package_lock(seconds: float) -> str:
    """Who holds dpkg's lock after waiting for it this long; "" when it is free."""
    path = at("/var/lib/dpkg/lock-frontend")
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
    for line in read("/proc/locks").splitlines():
        words = line.split()
        if len(words) > 5 and words[5].endswith(f":{inode}"):
            return f"{read(f'/proc/{words[4]}/comm').strip() or 'a process'} (pid {words[4]})"
    return "another process"


def _holders(ports: list[tuple[str, int]]) -> dict[str, list[Holder]]:
    """Who listens on these ports, each unit once. Nothing of ports on which nobody does."""
    sockets, places = {}, {tuple(port) for port in ports}
    for protocol, state in (("tcp", "0A"), ("udp", "07")):  # proc_net_tcp(5): TCP_LISTEN; of UDP: not connected
        for table in (f"/proc/net/{protocol}", f"/proc/net/{protocol}6"):
            for line in read(table).splitlines()[1:]:
                words = line.split()
                place = (protocol, int(words[1].rpartition(":")[2], 16))
                if words[3] == state and place in places:
                    sockets[f"socket:[{words[9]}]"] = f"{protocol}/{place[1]}"
    found: dict[str, list[Holder]] = {}
    owned = set()
    for process in at("/proc").glob("[0-9]*") if sockets else ():
        held = sockets.keys() & set(_opened(process))
        owned |= held
        # what systemd holds it holds for a unit, whose process may be another one in a moment
        units = _activated() if held and process.name == "1" else {}
        for port in {sockets[one] for one in held}:
            holder: Holder = {"program": read(process / "comm").strip(), "unit": units.get(port) or _unit(process)}
            _add(found, port, holder)
    for one in sockets.keys() - owned:
        _add(found, sockets[one], {"program": "the kernel", "unit": "the kernel"})
    return found


def _activated() -> dict[str, str]:
    """The socket units by the ports that systemd holds for them (systemctl(1), list-sockets)."""
    try:
        listed = json.loads(output("systemctl", "list-sockets", "--show-types", "--output=json") or "[]")
    except ValueError:
        return {}
    kinds = {"Stream": "tcp", "Datagram": "udp"}
    return {
        f"{kinds[one['type']]}/{one['listen'].rpartition(':')[2]}": one["unit"]
        for one in listed
        if one.get("type") in kinds and one.get("listen", "").rpartition(":")[2].isdigit()
    }


def _opened(process: Path) -> Iterator[str]:
    """What a process has open; it and any of them may be gone meanwhile."""
    try:
        names = os.listdir(process / "fd")  # noqa: PTH208
    except OSError:
        return
    for name in names:
        try:
            yield os.readlink(process / "fd" / name)  # noqa: PTH115
        except OSError:
            continue


def _add(found: dict[str, list[Holder]], port: str, holder: Holder) -> None:
    if holder not in found.setdefault(port, []):
        found[port].append(holder)


def _unit(process: Path) -> str:
    """systemd's unit that a process belongs to (systemd.unit(5)); "no unit" for one of none."""
    words = read(process / "cgroup").replace("\n", "/").split("/")
    return next((word for word in reversed(words) if word.endswith((".service", ".socket", ".scope"))), "no unit")


def _strange(whole: dict[str, str]) -> dict[str, str]:
    """The units among these that run with a file of settings that is neither ours nor the package's own."""
    found = {}
    for unit, path in whole.items():
        text = read(path)
        if (
            text
            and "Bastide" not in text
            and output("systemctl", "show", "-P", "ActiveState", unit).strip() == "active"
        ):
            # dpkg remembers each file of settings as it came (deb-conffiles(5))
            digest = hashlib.md5(text.encode(errors="replace"), usedforsecurity=False).hexdigest()
            if f" {path} {digest}" not in read("/var/lib/dpkg/status"):
                found[unit] = path
    return found


def _starts_at_boot(unit: str) -> bool:
    return output("systemctl", "is-enabled", unit).strip() == "enabled"


def _knows_locale(locale: str) -> bool:
    supported = read("/usr/share/i18n/SUPPORTED")
    return locale == "C.UTF-8" or not supported or f"\n{locale} " in f"\n{supported}"
