"""One third party: its address, its doors, its program, and the two folders between which root and it never meet.

What root writes or reads for a party lies in root's own folders. The program's own folder is the program's alone: one
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
STORAGE, NAMES, ARCHIVE = 4, 5, 6
_START_SECONDS = 20.0
_USER = "nobody"


@dataclass(frozen=True)
class Party:
    """A third party. `number` gives its address, `doors` are (protocol, port) pairs that it answers at."""

    name: str
    number: int
    doors: tuple[tuple[Literal["tcp", "udp"], int], ...]

    def address(self, here: Place) -> str:
        """Its IPv4 address."""
        return str(here.range4[self.number])

    def address6(self, here: Place) -> str:
        """Its IPv6 address."""
        return str(IPv6Network((int(here.range6.network_address) + (self.number << 64), 64))[1])

    def folder(self, here: Place) -> Path:
        """What the program itself writes: data, sockets. It can write there and nowhere else; root never does."""
        return here.folder / "parties" / self.name

    def settings(self, here: Place) -> Path:
        """What root writes and the program reads: its configuration, zones, certificates, the files it serves."""
        return here.folder / "parties" / f"{self.name}.root"

    def environment(self, here: Place) -> Path:
        """What the program is started with, secrets among it: a shell of root's reads it, and nobody else can."""
        return here.folder / f"{self.name}.environment"


def ensure(
    here: Place, party: Party, argv: Sequence[str], *, env: Mapping[str, str] | None = None, restart: bool = False
) -> bool:
    """Start the party's program when it does not run, or anew when `restart`; its address and doors come first.

    `argv` runs without rights, in the party's folder and the router's namespace; secrets go into `env` or a file of its
    settings. `restart` is needed after the router was made anew. Returns whether it was started; does not wait: `wait`.
    """
    _open_doors(here, party)
    tree = open_tree(here.cgroup)
    group = f"party-{party.name}"
    if not restart and tree.populated(group):
        return False
    tree.kill(group)
    tree.make_fresh(group)
    prepare(here, party)
    # values of the environment go through a file: argv can be read by everybody
    environment = party.environment(here)
    environment.unlink(missing_ok=True)
    with os.fdopen(os.open(environment, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines(f"export {key}={quoted(value)}\n" for key, value in {"PATH": PATH, **(env or {})}.items())
    user = pwd.getpwnam(_USER)
    rights = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--no-new-privs"]
    rights += ["--ambient-caps=+net_bind_service", "--inh-caps=+net_bind_service"]
    script = 'cd "$1" && set -a && . "$2" && set +a && shift 2 && exec "$@"'
    words = ["env", "-i", "sh", "-c", script, "sh", str(party.folder(here)), str(environment), *rights, *argv]
    spawn(words, procs=tree.procs(group), log=here.folder / f"{party.name}.log", netns=here.router)
    return True


def wait(here: Place, party: Party) -> None:
    """Wait until every TCP door answers. Raises `LabError` with the end of its log when one does not."""
    tree = open_tree(here.cgroup)
    began = time.monotonic()
    for protocol, port in party.doors:
        while protocol == "tcp" and not _answers(party.address(here), port):
            waited = time.monotonic() - began
            if waited > _START_SECONDS or (waited > 1 and not tree.populated(f"party-{party.name}")):
                log = here.folder / f"{party.name}.log"
                raise LabError(
                    f"the lab's {party.name} does not come up:\n{tail_of(log.read_text(errors='replace'))}",
                    f"the whole log: {log}",
                )
            time.sleep(0.02)


def running(here: Place, party: Party) -> bool:
    """Does its program live?"""
    return open_tree(here.cgroup, make=False).populated(f"party-{party.name}")


def prepare(here: Place, party: Party) -> None:
    """Make the party's two folders, its program's and root's; the way to them can be walked. Idempotent."""
    folder, settings = party.folder(here), party.settings(here)
    for path in (place.ROOT, here.folder, folder.parent):
        path.mkdir(mode=0o711, parents=True, exist_ok=True)
        # to be walked through, not to be listed; what is not a party's stays 0700 and 0600 below
        path.chmod(0o711)
    folder.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0:
        user = pwd.getpwnam(_USER)
        # the folder alone, never what lies in it: that may be another name of a file of root's
        os.chown(folder, user.pw_uid, user.pw_gid, follow_symlinks=False)
    settings.mkdir(mode=0o700, exist_ok=True)
    lend(settings)


def lend(path: Path) -> None:
    """Let the party's program read a file or list a folder in its settings; it cannot change it."""
    path.chmod(0o750 if path.is_dir() else 0o640)
    if os.geteuid() == 0:
        os.chown(path, 0, pwd.getpwnam(_USER).pw_gid)


def write(path: Path, content: str | bytes) -> None:
    """Write a file in the party's settings, lent to its program: whole or not at all."""
    beside = path.with_name(f".{path.name}")
    beside.touch(mode=0o600)
    beside.write_bytes(content.encode() if isinstance(content, str) else content)
    lend(beside)
    beside.replace(path)


def quoted(value: str) -> str:
    """The value as one word of a shell."""
    return "'" + value.replace("'", "'\\''") + "'"


def _open_doors(here: Place, party: Party) -> None:
    """Give the party its addresses and let its doors be reached. No effect the second time."""
    links.ip(
        [
            f"address replace {party.address(here)}/32 dev lo",
            f"address replace {party.address6(here)}/128 dev lo nodad",
        ],
        here.router,
    )
    path = here.folder / "parties.json"
    known = read_json(path)
    wanted = [[address, *door] for address in (party.address(here), party.address6(here)) for door in party.doors]
    if known.get(party.name) != wanted:
        write_json(path, {**known, party.name: wanted})
    router.load_rules(here)


def _answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True
