"""Volumes: a disk of its own for a folder, mounted by systemd at each boot."""

from __future__ import annotations

import re
import shlex

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation

from deploys import remote
from deploys.facts.ask import ask, forget, this_host
from deploys.facts.changes import UNFINISHED
from deploys.facts.fact import FactRequest, Facts, merged
from deploys.facts.files import FILES
from deploys.facts.units import UNITS
from deploys.facts.volumes import DEVICES, MOUNTS, ROOM
from deploys.operations.files import Commands, File, differing, files_request, plan

# an attached volume is there at once, or some seconds after `pulumi up` has said so
DEVICE_SECONDS = 60
# ext4 grows by groups of blocks (mke2fs(8)): what is less stays free
_LEAST = 128 << 20
_UNITS = "/etc/systemd/system"


@operation()
def volume(
    name_: str, device: str, path: str, owner: str | None = None, group: str | None = None, mode: int | None = None
) -> Commands:
    """Mount a volume, now and at each boot, and have its file system use all of it.

    + name_: one word for what is kept there
    + device: its path (`Machine.volume`); waited for, and it holds a file system already
    + path: the folder that it is mounted at
    + owner, group, mode: of the folder on the volume; None leaves what there is

    Refuses, before anything is changed, when the device does not come, when something else is mounted at `path`, and
    when the folder holds data, which the volume would hide. A boot does not wait for the volume and does not fail
    without it: a service that must not run without it says `RequiresMountsFor=` in its unit. A volume that was made
    bigger at the provider is used to its end by resize2fs (of e2fsprogs), while it is mounted; nothing waits for that.
    """
    host = this_host()
    facts = ask(host, volume_request(name_, device, path))
    mark, unit = f"volume-{name_}", unit_name(path)
    changed = differing(host, (unit_file(name_, device, path),), facts)
    folder = (owner, group, mode)
    grows = facts[ROOM][device] >= _LEAST
    if (
        not changed
        and not grows
        and mark not in facts[UNFINISHED]["pending"]
        and is_mounted(facts, device, path, *folder)
    ):
        host.noop(f"{name_}: the volume is mounted at {path}")
        return
    try:
        yield StringCommand("sh", "-c", QuoteString(_refusals(device, path)))
        yield remote.command(
            "change", "apply", plan(mark, tuple(changed), _settle(unit, path, *folder, device if grows else ""))
        )
    finally:
        forget(host)


def volume_request(name: str, device: str, path: str) -> FactRequest:
    """What the operation asks."""
    return merged(
        files_request((unit_file(name, device, path), File(path, None))),
        MOUNTS.request([path]),
        DEVICES.request([device]),
        ROOM.request([device]),
        UNITS.request([unit_name(path)]),
    )


def is_mounted(facts: Facts, device: str, path: str, owner: str | None, group: str | None, mode: int | None) -> bool:
    """Whether this very device is mounted there, will be at the next boot, and its folder is as wanted."""
    mount, folder = facts[MOUNTS][path], facts[FILES][path]
    return (
        mount is not None
        and mount["device"] == facts[DEVICES][device]
        and facts[UNITS][unit_name(path)]["UnitFileState"] == "enabled"
        and owner in (None, folder and folder["owner"])
        and group in (None, folder and folder["group"])
        and mode in (None, folder and folder["mode"])
    )


def unit_file(name: str, device: str, path: str) -> File:
    """The unit, whole. Not ordered before `local-fs.target` (nofail): a lost volume must not keep a machine down."""
    text = f"""\
# written by Bastide: changes here are lost
[Unit]
Description=The volume of {name}

[Mount]
What={device}
Where={path}
Options=noatime,nofail

[Install]
WantedBy=local-fs.target
"""
    return File(f"{_UNITS}/{unit_name(path)}", text)


def unit_name(path: str) -> str:
    """What systemd calls the mount unit of a path (systemd.unit(5), "String escaping for inclusion in unit names")."""
    words = [_escaped(word, rb"[^a-zA-Z0-9:_.]") for word in path.split("/") if word]
    return _escaped("-".join(words), rb"^\.") + ".mount"


def _escaped(text: str, unsafe: bytes) -> str:
    return re.sub(unsafe, lambda found: b"\\x%02x" % ord(found[0]), text.encode()).decode()


def _refusals(device: str, path: str) -> str:
    """A shell script that waits for the device, and fails with a sentence when the volume cannot be mounted."""
    folder, disk = shlex.quote(path), shlex.quote(device)
    missing = shlex.quote(f"{device} is not there after {DEVICE_SECONDS} s: is the volume attached to this server?")
    other = shlex.quote(f"{path}: something else than the volume is mounted there; unmount it first")
    hidden = shlex.quote(f"{path} holds data, which the volume would hide; move it away first, or onto the volume")
    return (
        f"end=$(($(date +%s) + {DEVICE_SECONDS})); "
        f"until [ -b {disk} ]; do "
        f"if [ $(date +%s) -ge $end ]; then echo {missing} >&2; exit 1; fi; sleep 0.3; done; "
        f"if mountpoint -q {folder}; then "
        f'[ "$(mountpoint -d {folder})" = "$(mountpoint -x {disk})" ] || {{ echo {other} >&2; exit 1; }}; '
        f'elif [ -n "$(ls -A {folder} 2>/dev/null)" ]; then echo {hidden} >&2; exit 1; fi'
    )


def _settle(unit: str, path: str, owner: str | None, group: str | None, mode: int | None, grown: str) -> str:
    """`grown`: the device that its file system leaves a part of; "" for none."""
    folder, name = shlex.quote(path), shlex.quote(unit)
    lines = ["systemctl daemon-reload", f"systemctl enable -q {name}"]
    lines.append(f"{{ systemctl start {name} || {{ systemctl status -n 5 --no-pager {name} >&2; exit 1; }}; }}")
    if owner or group:
        whose = f"{owner or ''}:{group}" if group else str(owner)
        lines.append(f"chown {shlex.quote(whose)} {folder}")
    if mode is not None:
        lines.append(f"chmod {mode:04o} {folder}")
    if grown:
        lines.append(f"resize2fs {shlex.quote(grown)}")
    return " && ".join(lines)
