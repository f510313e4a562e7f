"""The provider's name servers: NSD, authoritative for all zones of the cloud, for reverse names, and for the root.

One program stands for all of the provider's name servers, and for the part of the internet's names that leads to them:
it serves a root zone of its own, so that every other name does not exist. Zones are files; a change writes the new file
whole and reloads, the program goes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.reversename

from bastide.console import run, tail_of
from bastide.errors import LabError
from lab.backend import NAMESERVERS
from lab.place import Place
from lab.services import nsd, service
from lab.services.service import NAME_SERVER, Service

SERVICE = Service("names", NAME_SERVER, (("udp", 53), ("tcp", 53)))
_TTL = 300
_SERVED_SECONDS = 10.0
# stands in the lab's own zones until it is known whether anything else in them has changed
_SERIAL = "<serial>"
_WRITING = threading.Lock()


def start(here: Place, *, restart: bool = False) -> bool:
    """Start the name server with what was published last. Returns whether it was started. Does not wait."""
    root = nsd.place(here)
    with _WRITING:
        if not _config_file(here).exists():
            _write_all(here, {}, {})
        return service.ensure(here, SERVICE, nsd.words(root, "nsd", _config_file(here), "-d"), restart=restart)


def publish(here: Place, zones: Mapping[str, str], pointers: Mapping[str, str]) -> None:
    """Serve these zones and these reverse names, and no others; returns when they are served.

    Raises `LabError` when the name server does not take them.
    """
    if not service.running(here, SERVICE):
        start(here)
    with _WRITING:
        serials = _write_all(here, zones, pointers)
        service.wait(here, SERVICE)
        root = nsd.place(here)
        # each time: whatever was written before a kill is taken up, and what has not changed costs nothing
        for verb in ("reconfig", "reload"):
            run(nsd.words(root, "nsd-control", _config_file(here), verb), timeout=30)
        _wait_until_served(here, serials)


def _config_file(here: Place) -> Path:
    return SERVICE.settings(here) / "nsd.conf"


def _write_all(here: Place, zones: Mapping[str, str], pointers: Mapping[str, str]) -> dict[str, int]:
    """Write what differs from what is there. Returns the serial of every zone from then on, -1 for one that went."""
    folder = SERVICE.settings(here)
    service.prepare(here, SERVICE)
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
            service.write(path, text)
        serials[name] = _serial(text)
    config = _config(here, sorted(serials))
    if not _config_file(here).exists() or _config_file(here).read_text() != config:
        service.write(_config_file(here), config)
    for path in folder.glob("*.zone"):
        if path.name not in map(_file, serials):
            path.unlink()
            serials[path.stem] = -1
    return serials


def _own_zones(here: Place, pointers: Mapping[str, str]) -> dict[str, str]:
    """The root, with the name servers' own addresses, and the reverse zones of the lab's ranges."""
    root = ["$ORIGIN .", f"$TTL {_TTL}", _soa(), *(f". IN NS {host}" for host in NAMESERVERS)]
    for host in NAMESERVERS:
        root += [f"{host} IN A {SERVICE.address(here)}", f"{host} IN AAAA {SERVICE.address6(here)}"]
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
    """nsd.conf(5). No user and no root of its own: the service's rights are those of nobody already."""
    folder = SERVICE.folder(here)
    lines = ["server:", f"  ip-address: {SERVICE.address(here)}", f"  ip-address: {SERVICE.address6(here)}"]
    lines += ['  username: ""', '  chroot: ""', '  pidfile: ""', "  server-count: 1"]
    lines += (
        ['  database: ""']
        if nsd.has_database(tuple(nsd.words(nsd.place(here), "nsd", _config_file(here), "-v")))
        else []
    )
    lines += ["  hide-version: yes", f'  zonesdir: "{SERVICE.settings(here)}"', f'  xfrdir: "{folder}"']
    lines += [f'  xfrdfile: "{folder}/xfrd.state"', f'  zonelistfile: "{folder}/zone.list"']
    lines += ["remote-control:", "  control-enable: yes", f'  control-interface: "{folder}/control"']
    for name in names:
        lines += ["zone:", f'  name: "{name}"', f'  zonefile: "{_file(name)}"']
    return "\n".join(lines) + "\n"


def _wait_until_served(here: Place, serials: Mapping[str, int]) -> None:
    """Ask for the serials until they are the new ones. Raises `LabError` with the log's end when they do not come."""
    deadline = time.monotonic() + _SERVED_SECONDS
    for name, serial in serials.items():
        while _asked_serial(here, name) != serial:
            if time.monotonic() > deadline:
                log = here.folder / f"{SERVICE.name}.log"
                raise LabError(
                    f"the name server does not serve the new {name or 'root'} zone:\n"
                    + tail_of(log.read_text(errors="replace")),
                    f"the whole log: {log}",
                )
            time.sleep(0.01)


def _asked_serial(here: Place, name: str) -> int:
    """The serial that is served now; -1 when nothing is."""
    address = str(ip_address(SERVICE.address(here)))
    try:
        answer = dns.query.udp(dns.message.make_query(name, "SOA"), address, timeout=1)
        return int(answer.answer[0][0].serial)
    except (dns.exception.DNSException, OSError, IndexError):
        return -1
