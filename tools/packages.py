"""The Debian packages that this machine needs, why, and how to tell that they are there."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bastide.console import run, say, step, tail_of
from bastide.errors import CommandFailed, ToolError

# where the administrator's programs live; an ordinary user's PATH does not name it
_SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"

# apt's own words stay in the log. An update that fails for one of many sources must not stop the rest.
_APT = """
exec >>"$0" 2>&1 </dev/null
export DEBIAN_FRONTEND=noninteractive
apt-get update
exec apt-get install --yes --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
"""


@dataclass(frozen=True)
class Package:
    """`probe` is a program (a word), a file (an absolute path) or a Python module (`python:NAME`)."""

    name: str
    why: str
    probe: str

    @property
    def present(self) -> bool:
        """Whether what we need of it is there, however it came."""
        if self.probe.startswith("python:"):
            return importlib.util.find_spec(self.probe.removeprefix("python:")) is not None
        if self.probe.startswith("/"):
            return Path(self.probe).exists()
        return shutil.which(self.probe, path=f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}") is not None


NEEDED = (
    Package("python3-venv", "makes .venv", "python:ensurepip"),
    Package("git", "says which commit a proof belongs to", "git"),
    Package("ca-certificates", "checks the servers that things are fetched from", "/etc/ssl/certs/ca-certificates.crt"),
    Package("openssh-client", "reaches the machines", "ssh"),
    Package("systemd-container", "boots the local cloud's machines", "systemd-nspawn"),
    Package("mmdebstrap", "makes the local cloud's Debian image", "mmdebstrap"),
    Package("debian-archive-keyring", "checks that image's packages", "/usr/share/keyrings/debian-archive-keyring.gpg"),
    Package("nftables", "seals the local cloud and is its firewall", "nft"),
    Package("dnsmasq-base", "gives the local cloud's private addresses", "dnsmasq"),
    Package("iproute2", "makes the local cloud's networks", "ip"),
    Package("util-linux", "enters the local cloud's machines", "nsenter"),
    Package("mount", "mounts the local cloud's disks", "losetup"),
    Package("e2fsprogs", "formats the local cloud's disks", "mkfs.ext4"),
    Package("gnupg", "signs the local cloud's package archive", "gpg"),
    Package("procps", "sets what the local cloud's networks need of the kernel", "sysctl"),
)


def missing(needed: Sequence[Package] = NEEDED) -> list[Package]:
    """Those that are not there, in the order of the table."""
    return [package for package in needed if not package.present]


def install_missing(log: Path, needed: Sequence[Package] = NEEDED) -> None:
    """Install what is missing with apt-get: directly as root, through sudo as a user.

    `log` takes what apt says. Raises `ToolError` that names the command to run when this user may not, or when
    something is still missing afterwards.
    """
    absent = missing(needed)
    if not absent:
        say("packages: nothing is missing")
        return
    say("these Debian packages are missing:")
    for package in absent:
        say(f"  {package.name:24}{package.why}")
    names = [package.name for package in absent]
    command = f"apt-get install {' '.join(names)}"
    if not shutil.which("apt-get", path=_SYSTEM_PATH):
        raise ToolError("there is no apt-get here", f"install what Debian calls: {' '.join(names)}")
    log.unlink(missing_ok=True)
    log.touch(mode=0o600)
    apt = ["sh", "-c", _APT, str(log), *names]
    try:
        if os.geteuid() == 0:
            with step("install them with apt-get"):
                run(apt)
        elif shutil.which("sudo"):
            with step("install them with sudo apt-get"):
                # sudo may ask for a password, so it gets the terminal
                run(["sudo", *apt], stream=True)
        else:
            raise ToolError(
                "installing packages takes root, and there is no sudo", f"run as root: {command}; then start again"
            )
    except CommandFailed as error:
        said = tail_of(log.read_text(errors="replace")) or error.message
        raise ToolError(f"apt-get failed:\n{said}", f"run it yourself as root: {command}. The log: {log}") from error
    importlib.invalidate_caches()
    if absent := missing(needed):
        raise ToolError(
            f"still missing after apt-get: {', '.join(f'{one.name} ({one.probe})' for one in absent)}", f"see {log}"
        )
