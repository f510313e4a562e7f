"""Strangers: machines that somebody else made, at another provider. No API shows them, no cloud firewall guards them.

Like a rented server on its first day: Debian's stock sshd with the host keys that it made for itself (RSA, ECDSA and
ed25519), a first user with a key and sudo without a password, addresses of another network, no private network.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from bastide.errors import LabError
from lab.backend import MachineSpec
from lab.machines import machine
from lab.machines.driver import Driver
from lab.machines.seed import first_address
from lab.machines.store import Record, records
from lab.place import STRANGERS, Place

_MOST = 200
_HOST_KEY_SECONDS = 60.0


@dataclass(frozen=True)
class Stranger:
    """How to reach one: what its owner would be told by mail."""

    name: str
    address: str
    address6: str
    host_key: str
    user: str


def add(here: Place, driver: Driver, name: str, user: str, authorized_key: str) -> Stranger:
    """Make it and switch it on; returns when it has made its host keys. Again with the same words: the same machine.

    Raises `LabError` when the name is taken, or by a stranger with another user or key.
    """
    user_data, ssh_keys = _user_data(user, authorized_key), (authorized_key,) if user == "root" else ()
    known = {record.spec().name: record for record in records(here)}
    record = known.get(name)
    if record is None:
        number = _free(here)
        spec = MachineSpec(
            id=number,
            name=name,
            image="debian-13",
            cpus=2,
            memory_mb=4096,
            disk_gb=20,
            public_mac="96:01:" + number.to_bytes(4, "big").hex(":"),
            public4=here.stranger4(number),
            public6=here.stranger6(number),
            user_data=user_data,
            ssh_keys=ssh_keys,
        )
        driver.create(spec)
        record = Record(here, number)
    elif record.id < STRANGERS or (record.spec().user_data, record.spec().ssh_keys) != (user_data, ssh_keys):
        raise LabError(
            f"there is a machine '{name}', and it is not this one",
            "choose another name, or `python -m lab stranger remove` it",
        )
    machine.start(record)
    spec = record.spec()
    return Stranger(name, spec.public4, first_address(spec.public6), _host_key(record), user)


def remove(here: Place, driver: Driver, name: str) -> None:
    """Cut its power and remove all of it. Raises `LabError` when there is no stranger of this name."""
    found = {record.spec().name: record for record in records(here) if record.id >= STRANGERS}
    if name not in found:
        raise LabError(f"there is no stranger '{name}'", f"there are: {', '.join(found) or 'none'}")
    driver.delete(found[name].id)


def _free(here: Place) -> int:
    taken = {record.id for record in records(here)}
    for number in range(STRANGERS, STRANGERS + _MOST):
        if number not in taken:
            return number
    raise LabError(f"a lab has room for {_MOST} strangers", "remove one with `python -m lab stranger remove`")


def _user_data(user: str, authorized_key: str) -> str:
    """cloud-init's words for the first user, as such images have it; root's keys come another way (`ssh_keys`)."""
    first = {
        "name": user,
        "gecos": "First user",
        "shell": "/bin/bash",
        "lock_passwd": True,
        "groups": ["sudo"],
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
        "ssh_authorized_keys": [authorized_key],
    }
    return "" if user == "root" else "#cloud-config\n" + json.dumps({"users": [first], "disable_root": True}) + "\n"


def _host_key(record: Record) -> str:
    """Its ed25519 host key, once it has made one (cloud-init, at the first boot). Read from its disk."""
    path = record.root / "etc/ssh/ssh_host_ed25519_key.pub"
    deadline = time.monotonic() + _HOST_KEY_SECONDS
    while True:
        # the machine's root could lay a link there, which would lead to the host's own files
        text = path.read_text(errors="replace") if path.is_file() and not path.is_symlink() else ""
        words = text.split()
        if len(words) > 1 and words[0] == "ssh-ed25519" and text.endswith("\n"):
            return " ".join(words[:2])
        if time.monotonic() > deadline:
            raise LabError(
                f"the stranger makes no host key:\n{machine.console(record)}",
                "see `python -m lab exec` and its journal",
            )
        time.sleep(0.05)
