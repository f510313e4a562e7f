"""A lab of the tests' own, with two machines, and how to look at it from all sides. No stack, no Pulumi."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bastide.console import Completed, run
from lab import registry
from lab.backend import MachineSpec, PrivateNic
from lab.client import Lab
from lab.machines import links
from lab.machines.driver import Driver
from lab.machines.store import Record
from lab.place import ROOT, Place
from tests.groups import stack_of

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="a lab needs root")

SCALE = float(os.environ.get("TIMEOUT_SCALE", "1"))
NAME = stack_of("lab")
ALPHA, BETA = 101, 102
INSTANCES = "fs/inotify/max_user_instances"
EVERYWHERE = ("0.0.0.0/0", "::/0")
# tries all targets at once and prints those that answered a TCP connect
_REACH = """
import json, socket, sys, threading
found = []
def attempt(host, port):
    try:
        socket.create_connection((host, port), timeout=1.0).close()
        found.append(f"{host} {port}")
    except OSError:
        pass
threads = [threading.Thread(target=attempt, args=tuple(one)) for one in json.loads(sys.argv[1])]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(json.dumps(found))
"""


@dataclass
class Bench:
    """The lab under test, and how to get at it."""

    lab: Lab
    place: Place
    driver: Driver
    info: dict[str, Any]
    info_file: Path
    key: Path
    port: int
    token: str
    specs: dict[int, MachineSpec]

    def record(self, number: int) -> Record:
        return Record(self.place, number)

    def reach(self, name: str, *targets: tuple[str, int]) -> set[str]:
        """Which of the targets answer a TCP connect from inside of the machine."""
        words = ["python3", "-c", _REACH, json.dumps(targets)]
        return set(json.loads(self.lab.execute(name, words).stdout))

    def boot_id(self, name: str) -> str:
        done = self.lab.execute(name, ["cat", "/proc/sys/kernel/random/boot_id"], check=False)
        return done.stdout.strip() if done.ok else ""

    def up(self, port: int | None = None) -> dict[str, Any]:
        return self.lab.up(
            port=port or self.port, token=self.token, authorized_key=self.key.with_suffix(".pub"), info=self.info_file
        )


def wait_for(what: str, look: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds * SCALE
    while not look():
        assert time.monotonic() < deadline, f"{what}: not within {seconds * SCALE:g} s"
        time.sleep(0.05)


def ssh_answers(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=1) as connection:
            connection.settimeout(2)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def ssh(bench: Bench, address: str, command: str, *options: str) -> Completed:
    words = [word for option in ("BatchMode=yes", "LogLevel=ERROR", *options) for word in ("-o", option)]
    return run(["ssh", "-i", bench.key, *words, f"root@{address}", command], timeout=20)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def left_behind(place: Place) -> list[str]:
    """Everything on this host that carries the lab's name."""
    marks = (place.id,)
    seen = [f"netns {name}" for name in links.netns_names()]
    seen += [f"link {path.name}" for path in Path("/sys/class/net").iterdir()]
    seen += [f"nft {line}" for line in run(["nft", "list", "tables"]).stdout.splitlines()]
    seen += [f"mount {line}" for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    seen += [f"loop {line}" for line in run(["losetup", "--list"]).stdout.splitlines()]
    seen += [f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob("**/bastide-lab-*")]
    seen += [f"state {path}" for path in Path("/var/lib").glob("bastide-lab/*")]
    seen += [f"route {line}" for line in run(["ip", "route"]).stdout.splitlines()]
    seen += [f"nspawn {path}" for path in Path("/run/systemd/nspawn").glob("*/*")]
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            seen.append(f"process {command.read_bytes().decode(errors='replace')}")
    return [line for line in seen if any(mark in line for mark in marks)]


def sysctls() -> dict[str, str]:
    """This host's settings that have to do with labs, as they are now."""
    names = ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", INSTANCES)
    return {name: Path("/proc/sys", name).read_text().strip() for name in names}


def own_sysctls() -> dict[str, str]:
    """The same as they are without labs: what labs changed stands in their registry, while there are any."""
    before, now = remembered(), sysctls()
    return {**now, **before, **remembered()}  # asked twice: a lab may come or go between


def remembered() -> dict[str, str]:
    """What the labs of this host, if there are any, have changed of its settings, as it was."""
    known = registry.read_json(ROOT / "registry.json").get("sysctls", {})
    return {name.replace(".", "/"): value for name, value in known.items()}


def labs() -> set[str]:
    """The ids of all labs of this host."""
    return set(registry.read_json(ROOT / "registry.json").get("slots", {}))


@contextlib.contextmanager
def made(folder: Path) -> Iterator[Bench]:
    """The lab with alpha and beta, both on and in one private network; taken away at the end."""
    key = folder / "operator"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
    lab = Lab(NAME)
    lab.down()
    info_file = folder / "info.json"
    port, token = free_port(), secrets.token_hex(32)
    info = lab.up(port=port, token=token, authorized_key=key.with_suffix(".pub"), info=info_file)
    place = registry.find(NAME)
    assert place is not None
    driver = Driver(place)
    public = key.with_suffix(".pub").read_text().strip()
    prefix = place.range6.network_address
    specs = {
        number: MachineSpec(
            id=number,
            name=name,
            image="debian-13",
            cpus=2,
            memory_mb=4096,
            disk_gb=1,
            public_mac=f"96:00:00:00:01:{number:02x}",
            public4=str(place.range4[number]),
            public6=f"{prefix + (number << 64)}/64",
            user_data=f"#cloud-config\nwrite_files: [{{path: /etc/told, content: told {name}}}]\n",
            metadata={"hostname": name, "region": "eu-central", "instance-id": str(number)},
            ssh_keys=keys,
        )
        for number, name, keys in ((ALPHA, "alpha", (public,)), (BETA, "beta", ()))
    }
    try:
        for number, spec in specs.items():
            driver.create(spec)
            address = f"10.77.0.{number}"
            driver.attach(number, PrivateNic(7, "10.77.0.0/16", address, f"86:00:00:00:01:{number:02x}"))
            driver.start(number)
        orders = ["systemctl", "show", "-P", "Version"]
        for spec in specs.values():
            wait_for("systemd", partial(_ok, lab, spec.name, orders))
        yield Bench(lab, place, driver, info, info_file, key, port, token, specs)
    finally:
        lab.down()


def _ok(lab: Lab, machine: str, argv: list[str]) -> bool:
    return lab.execute(machine, argv, check=False).ok
