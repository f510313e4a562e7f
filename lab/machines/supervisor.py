"""One machine's keeper: `python -m lab.machines.supervisor LAB SLOT MACHINE`. Lives as long as the machine is on.

It boots the machine in a fresh network namespace each time (or nft rules and settings would survive a "reboot"),
and boots it again when it asked for a reboot. It shares nothing with the daemon and survives its end.
"""

from __future__ import annotations

import os
import subprocess
import sys

from lab.machines import links, machine, volumes
from lab.machines.cgroups import Cgroups, enter_argv, open_tree
from lab.machines.disk import FOLDERS
from lab.machines.spawn import PATH
from lab.machines.store import Record
from lab.place import Place, lab_id

# systemd-nspawn(1) with --keep-unit: the container asked for a reboot
_REBOOT = 133
# The container does not inherit settings of the host's namespace: forwarding is off until the machine turns it on.
_SYSCTLS = {"ipv4.ip_forward": 0, "ipv6.conf.all.forwarding": 0}


def main(name: str, slot: str, machine_id: str) -> int:
    """Keep the machine on until it is off. Returns nspawn's last exit code."""
    record = Record(Place(name, lab_id(name), int(slot)), int(machine_id))
    tree = open_tree(record.place.cgroup)
    boot = 0
    while True:
        boot += 1
        with record.lock():
            machine.unplug_all(record)
            links.netns_delete(record.netns)
            links.netns_make(record.netns, _SYSCTLS)
            machine.plug_all(record)
            volumes.plug_all(record)
        code = _boot(record, tree, f"{record.group}/boot{boot}")
        if code != _REBOOT:
            break
    record.want_on(False)
    machine.unplug_all(record)
    links.netns_delete(record.netns)
    return code


def nspawn_argv(record: Record) -> list[str]:
    """The command that boots the machine. The options' reasons: systemd-nspawn(1), and beside them here."""
    disk = record.folder / "disk"
    return [
        "systemd-nspawn",
        "--quiet",
        "--register=no",
        "--keep-unit",
        f"--directory={record.root}",
        "--boot",
        f"--machine={record.nspawn_name}",
        f"--hostname={record.spec().name}",
        f"--network-namespace-path=/run/netns/{record.netns}",
        # the option above takes this capability away
        "--capability=CAP_NET_ADMIN",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        "--console=pipe",
        # containers inside need keyrings; IPAddressDeny= and DevicePolicy= of units inside need bpf
        "--system-call-filter=@keyring",
        "--system-call-filter=bpf",
        *(f"--bind={disk / name}:{target}" for name, target in FOLDERS.items()),
        volumes.devices_bind(record),
    ]


def nspawn_environment() -> dict[str, str]:
    """What nspawn takes from the environment only (systemd, docs/ENVIRONMENT.md)."""
    return {
        "PATH": PATH,
        "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
        # the machine may set its own net.* and nothing else of the kernel's
        "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
        # its own systemd mounts /tmp, with the options of its own unit, as on any machine
        "SYSTEMD_NSPAWN_TMPFS_TMP": "0",
    }


def _boot(record: Record, tree: Cgroups, group: str) -> int:
    tree.make(group)
    machine.clear_leftovers(record.nspawn_name)
    # Popen, not console.run: this runs for as long as the machine does, and its output is the console
    argv = enter_argv(tree.procs(group), nspawn_argv(record))
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, env=nspawn_environment(), cwd="/")
    return process.wait()


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main(*sys.argv[1:4]))
