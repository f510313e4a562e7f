"""Runs on the machine: what decides whether a deploy can begin."""

from __future__ import annotations

import fcntl
import os
import pwd
import time

from deploys.remote.facts.common import at, output, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deploys.facts.machine import Disk, MachineRequest, MachineState

_PEOPLE = range(1000, 60001)  # login.defs(5), UID_MIN to UID_MAX


def machine(wanted: MachineRequest) -> MachineState:
    """See deploys/preflight.py. Waits for a package lock that somebody holds."""
    release = dict(line.split("=", 1) for line in read("/etc/os-release").splitlines() if "=" in line)
    container = output("systemd-detect-virt", "--container").strip()
    return {
        "root": os.geteuid() == 0,
        "system": release.get("ID", "").strip('"'),
        "version": release.get("VERSION_ID", "").strip('"'),
        "container": "" if container == "none" else container,
        "disks": {path: _disk(path) for path in ("/", "/var")},
        "package_lock": _package_lock(float(wanted["lock_seconds"])),
        "reboot": at("/run/reboot-required").exists(),
        "holders": {str(port): _holder(port) for port in wanted["ports"]},
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


def _holder(port: int) -> str:
    """The program that listens on a TCP port; "" when nobody does."""
    wanted = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in read(table).splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and int(words[1].rpartition(":")[2], 16) == port:  # 0A: TCP_LISTEN
                wanted.add(f"socket:[{words[9]}]")
    if not wanted:
        return ""
    for process in at("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(fd) in wanted for fd in (process / "fd").iterdir()):  # noqa: PTH115
                return read(process / "comm").strip()
        except OSError:
            continue
    return "another program"


def _knows_locale(locale: str) -> bool:
    supported = read("/usr/share/i18n/SUPPORTED")
    return locale == "C.UTF-8" or not supported or f"\n{locale} " in f"\n{supported}"
