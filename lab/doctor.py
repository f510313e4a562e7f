"""`lab doctor`: what this machine lacks for a lab. Each line that is not "ok" ends with the next step.

Whether a lab can run here at all is asked before this, by `lab.host`.

What the kernel can do is tried, not read off a version: in namespaces of its own, which end with the trial.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from bastide.console import run
from bastide.errors import BastideError, LabError
from bastide.findings import Finding, show
from lab import place
from lab.machines import cgroups, image, seal
from lab.machines.firewall import router_rules
from lab.place import Place
from lab.upstream import read_upstream

# program -> the Debian package that has it
_PROGRAMS = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "nft": "nftables",
    "dnsmasq": "dnsmasq-base",
    "ip": "iproute2",
    "mkfs.ext4": "e2fsprogs",
    "losetup": "mount",
    "mount": "mount",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "setsid": "util-linux",
    "sysctl": "procps",
    "ssh-keygen": "openssh-client",
    "gpg": "gnupg",
    "gpgconf": "gnupg",
    "dpkg-deb": "dpkg",
}
# images 0.6 GB, and what three busy machines write
_DISK_GB = 8.0
_TRIALS = {
    "overlay file systems": "mkdir a b c d && mount -t overlay t -o lowerdir=a,upperdir=b,workdir=c d",
    "network namespaces with veth": "ip link add try0 type veth peer name try1 && ip link set try0 up",
    "IPv6": "ip link add try2 type veth peer name try3; ip link set try2 up; "
    "ip address add 2001:db8::1/64 dev try2 nodad",
    "nftables with connection tracking and NAT": "nft -f host.nft && nft -f router.nft",
}


def report(port: int | None = None) -> int:
    """Print all findings. Returns 1 when something is missing, else 0."""
    return 0 if show(examine(port)) else 1


def require() -> None:
    """The quick part, before each `up`. Raises `LabError` with all that is missing."""
    found = [*missing_programs(), *_control_groups()]
    wrong = [str(finding) for finding in found if finding.level == "missing"]
    if wrong:
        raise LabError("this machine lacks what a lab needs:\n" + "\n".join(wrong), "see `python -m lab doctor`")


def examine(port: int | None = None) -> Iterator[Finding]:
    """Look at everything. Root sees more: kernel features can only be tried by root."""
    yield from missing_programs() or [Finding("ok", "all programs are there")]
    yield from _control_groups()
    if os.geteuid() == 0:
        yield from _trials()
    else:
        yield Finding("note", "the kernel's features were not tried", "run this as root")
    yield from _loop()
    yield from _tun()
    yield from _disk()
    yield from _mirror()
    if port is not None:
        yield port_finding(port)
    yield from _neighbours()


def missing_programs(which: Callable[[str], str | None] | None = None) -> list[Finding]:
    """One finding for all programs that are not on PATH (or in root's usual folders)."""
    which = which or _which
    absent = [name for name in _PROGRAMS if not which(name)]
    if not absent:
        return []
    packages = " ".join(sorted({_PROGRAMS[name] for name in absent}))
    return [Finding("missing", f"not installed: {', '.join(absent)}", f"sudo apt-get install {packages}")]


def port_finding(port: int) -> Finding:
    """Can the API have its port?"""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        return Finding(
            "missing", f"port {port}: {error.strerror}", f"see `ss -ltnp sport = {port}`, or choose another port"
        )
    return Finding("ok", f"port {port} is free")


def _which(program: str) -> str | None:
    # an ordinary user's PATH lacks the folders where half of these live
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _control_groups() -> list[Finding]:
    try:
        cgroups.hierarchies()
    except LabError as error:
        return [Finding("missing", error.message, error.hint)]
    under = "under systemd" if Path("/run/systemd/system").is_dir() else "without systemd as PID 1"
    return [Finding("ok", f"control groups: {cgroups.kind()}, {under}")]


def _trials() -> Iterator[Finding]:
    trial_lab = Place("doctor", "doctor00", 0)
    setup = f"cat >host.nft <<'E'\n{seal.host_rules(trial_lab)}E\ncat >router.nft <<'E'\n{_sample_rules()}E\n"
    for what, trial in _TRIALS.items():
        script = f"set -e; mount -t tmpfs tmpfs /mnt; cd /mnt\n{setup}{trial}"
        done = run(["unshare", "--mount", "--net", "sh", "-c", script], check=False, timeout=20)
        if done.ok:
            yield Finding("ok", what)
        else:
            why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            yield Finding("missing", f"{what}: {why}", "boot a stock Debian kernel, or load the module that is missing")


def _sample_rules() -> str:
    from lab.backend import FirewallRule
    from lab.machines.firewall import Port

    rules = (FirewallRule("in", "tcp", "22", ("192.0.2.0/24", "::/0")), FirewallRule("in", "icmp", "", ("0.0.0.0/0",)))
    return router_rules([Port("m1", "198.18.0.10", "2001:db8:0:1::/64", rules)], ["192.0.2.53"], [("192.0.2.80", 80)])


def _loop() -> Iterator[Finding]:
    if Path("/dev/loop-control").exists():
        yield Finding("ok", "loop devices: disks have their real size, and there are volumes")
    else:
        yield Finding("note", "no loop devices: machines share the host's disk space; no volumes", "modprobe loop")
    if not _which("mkfs.xfs"):
        yield Finding("note", "no mkfs.xfs: volumes can be ext4, not xfs", "sudo apt-get install xfsprogs")


def _tun() -> Iterator[Finding]:
    if Path("/dev/net/tun").exists():
        yield Finding("ok", "TUN devices: `slow` works")
    else:
        yield Finding("note", "no /dev/net/tun: `slow` does not work", "modprobe tun")


def _disk() -> Iterator[Finding]:
    for folder in dict.fromkeys((_existing(place.ROOT), _existing(image.cache_folder()))):
        free = shutil.disk_usage(folder).free / 1e9
        if free < _DISK_GB:
            yield Finding("missing", f"{folder} has {free:.1f} GB free of {_DISK_GB:.0f}", "make room there")
        else:
            yield Finding("ok", f"{folder}: {free:.0f} GB free")


def _mirror() -> Iterator[Finding]:
    try:
        upstream = read_upstream()
    except BastideError as error:
        yield Finding("missing", error.message, error.hint or "mend apt's sources: /etc/apt/sources.list.d")
        return
    yield Finding("ok", f"packages come from {upstream.mirror}")
    keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    if not keyring.exists():
        yield Finding("missing", f"no {keyring}", "sudo apt-get install debian-archive-keyring")


def _neighbours() -> Iterator[Finding]:
    """Others that touch this host's networks. A lab forwards nothing through the host, so most do not matter."""
    if run(["ip", "link", "show", "dev", "docker0"], check=False).ok:
        yield Finding(
            "ok", "Docker is here: its FORWARD policy does not matter, a lab forwards nothing through the host"
        )
    if Path("/run/NetworkManager").is_dir():
        yield Finding(
            "note",
            "NetworkManager is here: it leaves the lab's cables alone unless told otherwise",
            "if it touches them: unmanaged-devices=interface-name:bl-* in its configuration",
        )
    for folder in (Path("/etc/systemd/network"), Path("/run/systemd/network")):
        for file in sorted(folder.glob("*.network")) if folder.is_dir() else []:
            if "Name=*" in file.read_text(errors="replace") or "Type=ether" in file.read_text(errors="replace"):
                yield Finding(
                    "note",
                    f"{file} takes every interface, the lab's too",
                    "match your own interfaces there, not Name=*",
                )


def _existing(folder: Path) -> Path:
    # os.path, since pathlib raises where the caller may not look
    return next(path for path in (folder, *folder.parents) if os.path.exists(path))  # noqa: PTH110
