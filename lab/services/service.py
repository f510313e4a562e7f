"""One service: its address, its ports, its program, and the two folders between which root and it never meet.

What root writes or reads for a service lies in root's own folders. The program's own folder is the program's alone: one
that was taken over could put a link there, or lines for a shell of root's.
"""

from __future__ import annotations

import os
import pwd
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Network
from pathlib import Path
from typing import Literal

from bastide.console import tail_of
from bastide.errors import LabError
from lab import place
from lab.machines import links, router
from lab.machines.cgroups import open_tree
from lab.machines.spawn import PATH, spawn
from lab.place import Place
from lab.registry import read_json, write_json

# addresses of the lab's /23 (and /64 of its /48) below the cloud's first: 1 router, 2 host, 3 prober
STORAGE, NAME_SERVER, ARCHIVE, SINK = 4, 5, 6, 7
_START_SECONDS = 20.0
_USER = "nobody"
# this, the groups and parties.json are named by an older word: labs that stand have them, with what was stored
_FOLDER = "parties"


@dataclass(frozen=True)
class Service:
    """A service. `number` gives its address, `ports` are (protocol, port) pairs that it answers at."""

    name: str
    number: int
    ports: tuple[tuple[Literal["tcp", "udp"], int], ...]

    def address(self, here: Place) -> str:
        """Its IPv4 address."""
        return str(here.range4[self.number])

    def address6(self, here: Place) -> str:
        """Its IPv6 address."""
        return str(IPv6Network((int(here.range6.network_address) + (self.number << 64), 64))[1])

    def folder(self, here: Place) -> Path:
        """What the program itself writes: data, sockets. It can write there and nowhere else; root never does."""
        return here.folder / _FOLDER / self.name

    def settings(self, here: Place) -> Path:
        """What root writes and the program reads: its configuration, zones, certificates, the files it serves."""
        return here.folder / _FOLDER / f"{self.name}.root"

    def environment(self, here: Place) -> Path:
        """What the program is started with, secrets among it: a shell of root's reads it, and nobody else can."""
        return here.folder / f"{self.name}.environment"


def ensure(
    here: Place, service: Service, argv: Sequence[str], *, env: Mapping[str, str] | None = None, restart: bool = False
) -> bool:
    """Start the service's program when it does not run, or anew when `restart`; its address and ports come first.

    `argv` runs without rights, in the service's folder and the router's namespace; secrets go into `env` or a file of
    its settings. `restart` is needed after the router was made anew. Returns whether it was started; `wait` waits.
    """
    _open_ports(here, service)
    tree = open_tree(here.cgroup)
    group = _group(service)
    if not restart and tree.populated(group):
        return False
    tree.kill(group)
    tree.make_fresh(group)
    prepare(here, service)
    # values of the environment go through a file: argv can be read by everybody
    environment = service.environment(here)
    environment.unlink(missing_ok=True)
    with os.fdopen(os.open(environment, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines(f"export {key}={quoted(value)}\n" for key, value in {"PATH": PATH, **(env or {})}.items())
    user = pwd.getpwnam(_USER)
    rights = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--no-new-privs"]
    rights += ["--ambient-caps=+net_bind_service", "--inh-caps=+net_bind_service"]
    script = 'cd "$1" && set -a && . "$2" && set +a && shift 2 && exec "$@"'
    words = ["env", "-i", "sh", "-c", script, "sh", str(service.folder(here)), str(environment), *rights, *argv]
    spawn(words, procs=tree.procs(group), log=here.folder / f"{service.name}.log", netns=here.router)
    return True


def wait(here: Place, service: Service) -> None:
    """Wait until every TCP port answers. Raises `LabError` with the end of its log when one does not."""
    tree = open_tree(here.cgroup)
    began = time.monotonic()
    for protocol, port in service.ports:
        while protocol == "tcp" and not _answers(service.address(here), port):
            waited = time.monotonic() - began
            if waited > _START_SECONDS or (waited > 1 and not tree.populated(_group(service))):
                log = here.folder / f"{service.name}.log"
                raise LabError(
                    f"the lab's {service.name} does not come up:\n{tail_of(log.read_text(errors='replace'))}",
                    f"the whole log: {log}",
                )
            time.sleep(0.02)


def running(here: Place, service: Service) -> bool:
    """Does its program live?"""
    return open_tree(here.cgroup, make=False).populated(_group(service))


def prepare(here: Place, service: Service) -> None:
    """Make the service's two folders, its program's and root's; the way to them can be walked. Idempotent."""
    folder, settings = service.folder(here), service.settings(here)
    for path in (place.ROOT, here.folder, folder.parent):
        path.mkdir(mode=0o711, parents=True, exist_ok=True)
        # to be walked through, not to be listed; what is not a service's stays 0700 and 0600 below
        path.chmod(0o711)
    folder.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0:
        user = pwd.getpwnam(_USER)
        # the folder alone, never what lies in it: that may be another name of a file of root's
        os.chown(folder, user.pw_uid, user.pw_gid, follow_symlinks=False)
    settings.mkdir(mode=0o700, exist_ok=True)
    lend(settings)


def lend(path: Path) -> None:
    """Let the service's program read a file or list a folder in its settings; it cannot change it."""
    path.chmod(0o750 if path.is_dir() else 0o640)
    if os.geteuid() == 0:
        os.chown(path, 0, pwd.getpwnam(_USER).pw_gid)


def write(path: Path, content: str | bytes) -> None:
    """Write a file in the service's settings, lent to its program: whole or not at all."""
    beside = path.with_name(f".{path.name}")
    beside.touch(mode=0o600)
    beside.write_bytes(content.encode() if isinstance(content, str) else content)
    lend(beside)
    beside.replace(path)


def quoted(value: str) -> str:
    """The value as one word of a shell."""
    return "'" + value.replace("'", "'\\''") + "'"


def _open_ports(here: Place, service: Service) -> None:
    """Give the service its addresses and let its ports be reached. No effect the second time."""
    links.ip(
        [
            f"address replace {service.address(here)}/32 dev lo",
            f"address replace {service.address6(here)}/128 dev lo nodad",
        ],
        here.router,
    )
    path = here.folder / "parties.json"
    known = read_json(path)
    wanted = [[address, *port] for address in (service.address(here), service.address6(here)) for port in service.ports]
    if known.get(service.name) != wanted:
        write_json(path, {**known, service.name: wanted})
    router.load_rules(here)


def _group(service: Service) -> str:
    """Its control group."""
    return f"party-{service.name}"


def _answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True
