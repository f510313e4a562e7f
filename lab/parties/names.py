"""The provider's name servers: NSD, authoritative for all zones of the cloud, for reverse names, and for the root.

One program stands for all of the provider's name servers, and for the part of the internet's names that leads to them:
it serves a root zone of its own, so that every other name does not exist. Zones are files; a change writes the new file
whole and reloads, the program goes on. NSD comes from this host's own distribution, unpacked and not installed (a
package would start a service here).
"""

from __future__ import annotations

import platform
import re
import shutil
import threading
import time
from collections.abc import Mapping
from functools import cache
from ipaddress import ip_address
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.reversename

from bastide.console import run, step, tail_of
from bastide.errors import CommandFailed, LabError
from lab import owner
from lab.backend import NAMESERVERS
from lab.parties import party
from lab.parties.party import NAMES, Party
from lab.place import Place

PARTY = Party("names", NAMES, (("udp", 53), ("tcp", 53)))
_TTL = 300
_SERVED_SECONDS = 10.0
_DOWNLOAD_SECONDS = 300.0
_PACKAGE = "nsd"
# stands in the lab's own zones until it is known whether anything else in them has changed
_SERIAL = "<serial>"
_WRITING = threading.Lock()


def prepare() -> Path:
    """The folder with NSD unpacked, from the invoking user's cache; downloads it once (about half a megabyte)."""
    if shutil.which("nsd") and shutil.which("nsd-control"):
        return Path("/")
    system = platform.freedesktop_os_release()
    release = system.get("VERSION_CODENAME") or system.get("VERSION_ID", "")
    ready = owner.cache_folder() / "programs" / f"{_PACKAGE}-{system['ID']}-{release}-{platform.machine()}"
    if ready.is_dir():
        return ready
    owner.make_folders(ready.parent)
    work = ready.with_name(f".{ready.name}.{time.monotonic_ns()}")
    work.mkdir(mode=0o755)
    try:
        with step("name server: downloading NSD once"):
            # as root: apt's own user cannot write into the folder
            words = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *_missing_packages()]
            run(words, cwd=work, timeout=_DOWNLOAD_SECONDS, hint="run `apt-get update`, then the same command again")
            for archive in sorted(work.glob("*.deb")):
                run(["dpkg-deb", "-x", archive, work])
                archive.unlink()
        try:
            work.rename(ready)
        except OSError:
            # another lab has unpacked the same meanwhile
            if not ready.is_dir():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return ready


def start(here: Place, *, restart: bool = False) -> bool:
    """Start the name server with what was published last. Returns whether it was started. Does not wait."""
    root = _program(here)
    with _WRITING:
        if not (_folder(here) / "nsd.conf").exists():
            _write_all(here, {}, {})
        return party.ensure(here, PARTY, _words(root, "nsd", here, "-d"), restart=restart)


def publish(here: Place, zones: Mapping[str, str], pointers: Mapping[str, str]) -> None:
    """Serve these zones and these reverse names, and no others; returns when they are served.

    Raises `LabError` when the name server does not take them.
    """
    if not party.running(here, PARTY):
        start(here)
    with _WRITING:
        serials = _write_all(here, zones, pointers)
        party.wait(here, PARTY)
        root = _program(here)
        # each time: whatever was written before a kill is taken up, and what has not changed costs nothing
        for verb in ("reconfig", "reload"):
            run(_words(root, "nsd-control", here, verb), timeout=30)
        _wait_until_served(here, serials)


def _program(here: Place) -> Path:
    """A copy of the program where its user may run it: a cache folder in somebody's home is closed to others."""
    cached = prepare()
    if cached == Path("/"):
        return cached
    root = here.folder / "programs" / cached.name
    if not root.is_dir():
        root.parent.mkdir(mode=0o711, exist_ok=True)
        work = root.with_name(f".{root.name}")
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(cached, work, symlinks=True)
        work.rename(root)
    return root


def _words(root: Path, program: str, here: Place, *arguments: str) -> list[str]:
    """The command of one of NSD's programs, with the libraries that were unpacked beside it."""
    config = ["-c", str(_folder(here) / "nsd.conf"), *arguments]
    if root == Path("/"):
        return [program, *config]
    libraries = ":".join(str(path) for path in sorted(root.glob("usr/lib/*")) if path.is_dir())
    return ["env", f"LD_LIBRARY_PATH={libraries}", str(root / "usr/sbin" / program), *config]


def _missing_packages() -> list[str]:
    """NSD and those of its libraries that this host lacks, by the names of their packages."""
    words = ["apt-get", "install", "--print-uris", "-qq", "-y", "--no-install-recommends", _PACKAGE]
    try:
        lines = run(words, timeout=60).stdout.splitlines()
    except CommandFailed as error:
        raise LabError(
            f"apt knows no package {_PACKAGE}, the lab's name server: {error.message}",
            "run `apt-get update`, or install nsd; then run the same command again",
        ) from error
    # a line a package: 'URI' nsd_4.6.1-1_amd64.deb 545720 MD5Sum:...
    return [line.split()[1].partition("_")[0] for line in lines if line.startswith("'")]


def _folder(here: Place) -> Path:
    return PARTY.folder(here)


def _write_all(here: Place, zones: Mapping[str, str], pointers: Mapping[str, str]) -> dict[str, int]:
    """Write what differs from what is there. Returns the serial of every zone from then on, -1 for one that went."""
    folder = _folder(here)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    serials: dict[str, int] = {}
    for name, text in {**zones, **_own_zones(here, pointers)}.items():
        path = folder / _file(name)
        before = path.read_text() if path.exists() else ""
        if _SERIAL in text:
            # the lab's own zones: one more than before when anything else has changed
            last = _serial(before) if before else 0
            same = before == text.replace(_SERIAL, str(last))
            text = text.replace(_SERIAL, str(last if same else last + 1))
        if text != before:
            _write(path, text)
        serials[name] = _serial(text)
    config = _config(here, sorted(serials))
    if not (folder / "nsd.conf").exists() or (folder / "nsd.conf").read_text() != config:
        _write(folder / "nsd.conf", config)
    for path in folder.glob("*.zone"):
        if path.name not in map(_file, serials):
            path.unlink()
            serials[path.stem] = -1
    return serials


def _own_zones(here: Place, pointers: Mapping[str, str]) -> dict[str, str]:
    """The root, with the name servers' own addresses, and the reverse zones of the lab's ranges."""
    root = ["$ORIGIN .", f"$TTL {_TTL}", _soa(), *(f". IN NS {host}" for host in NAMESERVERS)]
    for host in NAMESERVERS:
        root += [f"{host} IN A {PARTY.address(here)}", f"{host} IN AAAA {PARTY.address6(here)}"]
    found = {".": "\n".join(root) + "\n"}
    names = {dns.reversename.from_address(address).to_text(): name for address, name in pointers.items()}
    for zone in _reverse_zones(here):
        lines = [f"$ORIGIN {zone}.", f"$TTL {_TTL}", _soa(), *(f"@ IN NS {host}" for host in NAMESERVERS)]
        lines += [f"{at} IN PTR {to.rstrip('.')}." for at, to in sorted(names.items()) if at.endswith(f".{zone}.")]
        found[zone] = "\n".join(lines) + "\n"
    return found


def _reverse_zones(here: Place) -> list[str]:
    """The names of the reverse zones: one for each /24 of the lab's addresses, and one for its /48."""
    four = [str(part.network_address) for part in here.range4.subnets(new_prefix=24)]
    names = [".".join([*reversed(address.split(".")[:3]), "in-addr.arpa"]) for address in four]
    nibbles = here.range6.network_address.exploded.replace(":", "")[: here.range6.prefixlen // 4]
    return [*names, ".".join([*reversed(nibbles), "ip6.arpa"])]


def _soa() -> str:
    return f"@ IN SOA {NAMESERVERS[0]} dns.hetzner.com. {_SERIAL} 86400 10800 3600000 {_TTL}"


def _serial(text: str) -> int:
    words = text.split()
    return int(words[words.index("SOA") + 3])


def _file(name: str) -> str:
    return f"{name.strip('.') or 'root'}.zone"


def _config(here: Place, names: list[str]) -> str:
    """nsd.conf(5). No user and no root of its own: the party's rights are those of nobody already."""
    folder = _folder(here)
    lines = ["server:", f"  ip-address: {PARTY.address(here)}", f"  ip-address: {PARTY.address6(here)}"]
    lines += ['  username: ""', '  chroot: ""', '  pidfile: ""', "  server-count: 1"]
    lines += ['  database: ""'] if _has_database(tuple(_words(_program(here), "nsd", here, "-v"))) else []
    lines += ["  hide-version: yes", f'  zonesdir: "{folder}"', f'  xfrdir: "{folder}"']
    lines += [f'  xfrdfile: "{folder}/xfrd.state"', f'  zonelistfile: "{folder}/zone.list"']
    lines += ["remote-control:", "  control-enable: yes", f'  control-interface: "{folder}/control"']
    for name in names:
        lines += ["zone:", f'  name: "{name}"', f'  zonefile: "{_file(name)}"']
    return "\n".join(lines) + "\n"


@cache
def _has_database(version_words: tuple[str, ...]) -> bool:
    """Would it keep a database on disk when it is not told otherwise? Gone in NSD 4.8.0."""
    done = run(version_words, check=False)
    found = re.search(r"version (\d+)\.(\d+)", done.stdout + done.stderr)
    return found is not None and (int(found[1]), int(found[2])) < (4, 8)


def _write(path: Path, text: str) -> None:
    """Whole or not at all; readable for the program, which has the folder."""
    beside = path.with_name(f".{path.name}")
    beside.write_text(text)
    beside.chmod(0o644)
    beside.replace(path)


def _wait_until_served(here: Place, serials: Mapping[str, int]) -> None:
    """Ask for the serials until they are the new ones. Raises `LabError` with the log's end when they do not come."""
    deadline = time.monotonic() + _SERVED_SECONDS
    for name, serial in serials.items():
        while _asked_serial(here, name) != serial:
            if time.monotonic() > deadline:
                log = here.folder / f"{PARTY.name}.log"
                raise LabError(
                    f"the name server does not serve the new {name or 'root'} zone:\n"
                    + tail_of(log.read_text(errors="replace")),
                    f"the whole log: {log}",
                )
            time.sleep(0.01)


def _asked_serial(here: Place, name: str) -> int:
    """The serial that is served now; -1 when nothing is."""
    address = str(ip_address(PARTY.address(here)))
    try:
        answer = dns.query.udp(dns.message.make_query(name, "SOA"), address, timeout=1)
        return int(answer.answer[0][0].serial)
    except (dns.exception.DNSException, OSError, IndexError):
        return -1
