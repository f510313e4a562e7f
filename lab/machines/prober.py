"""The prober: a machine outside of the platform's networks, from which checks knock at the others.

It belongs to the lab, not to the cloud: no API shows it. The operator's public key opens it for root, and its host
key is made here, so that it can be pinned before the first connection.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from bastide.console import run
from lab.backend import MachineSpec
from lab.machines import machine
from lab.machines.driver import Driver
from lab.machines.seed import first_address, lay
from lab.machines.store import Record
from lab.place import PROBER, Place

NAME = "prober"
_MAC = "96:00:00:00:00:00"


@dataclass(frozen=True)
class Prober:
    """How to reach it."""

    address: str
    address6: str
    host_key: str


def ensure(here: Place, driver: Driver, authorized_key: str) -> tuple[Prober, bool]:
    """Make it and switch it on. Returns how to reach it, and whether anything had to be done."""
    record = Record(here, PROBER)
    private, public = _host_key(here)
    found = Prober(here.prober4, first_address(here.prober6), " ".join(public.split()[:2]))
    known = record.exists() and record.spec().ssh_keys == (authorized_key,)
    if known and machine.running(record):
        return found, False
    spec = MachineSpec(
        id=PROBER,
        name=NAME,
        image="prober",
        cpus=2,
        memory_mb=2048,
        disk_gb=10,
        public_mac=_MAC,
        public4=here.prober4,
        public6=here.prober6,
        user_data=_user_data(private, public),
        ssh_keys=(authorized_key,),
    )
    driver.create(spec)
    # cloud-init takes keys from the seed at the first boot only
    lay(record.root, "root/.ssh/authorized_keys", f"{authorized_key}\n")
    driver.start(PROBER)
    return found, True


def _user_data(private: str, public: str) -> str:
    return "#cloud-config\n" + json.dumps({"ssh_keys": {"ed25519_private": private, "ed25519_public": public}}) + "\n"


def _host_key(here: Place) -> tuple[str, str]:
    """The prober's host key, made once for each lab."""
    path = here.folder / "prober_host_key"
    if not path.with_suffix(".pub").exists():
        path.unlink(missing_ok=True)
        # a comment that tells the labs apart in people's known_hosts
        comment = f"prober-{hashlib.sha256(here.id.encode()).hexdigest()[:8]}"
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path])
    return path.read_text(), path.with_suffix(".pub").read_text().strip()
