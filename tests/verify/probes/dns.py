"""The stack's names, as anybody sees them: every authoritative name server is asked, from the operator's side.

The name servers are found as a resolver finds them: the inventory's in the lab (whose names nobody else knows), else
this machine's own. Answers come from the name servers themselves, so nothing in them is from a cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.resolver
import dns.reversename

from bastide.machines import Machine
from bastide.settings import RecordSet, Zone
from tests.verify.probes.engine import Once, probe
from tests.verify.probes.world import NotSeen, World, declared

_SECONDS = 5.0
_once = Once()

Key = tuple[str, str]
"""An owner's whole name without the final dot, and a type: ("www.example.eu", "AAAA")."""


@dataclass(frozen=True)
class Answers:
    """What one name server gave: the values by owner and type, or why it gave none.

    `serial` is that of the zone's SOA record, `trouble` maps what was not answered as it should be to a few words.
    """

    server: str
    serial: int
    values: Mapping[Key, frozenset[str]]
    trouble: Mapping[Key, str]

    def silence(self, name: str, kind: str) -> str:
        """That it did not answer, and why; "" where it did."""
        said = self.trouble.get((name, kind))
        return f"{self.server} does not answer for {name} {kind}: {said}" if said is not None else ""


@dataclass(frozen=True)
class Reverse:
    """What one address leads to: the names that every server of its reverse zone gives, and where those lead."""

    address: str
    names: Mapping[str, frozenset[str]]
    back: Mapping[str, frozenset[str]]


@probe()
def zones(world: World, machine: Machine) -> tuple[str, dict[str, tuple[Answers, ...]]]:
    """What every name server gives for everything that the settings declare, by zone. The same for all machines."""
    wanted = declared(world.settings.dns).zones
    found: dict[str, tuple[Answers, ...]] = _once(
        world.stack, lambda: {name: _zone(world, name, zone) for name, zone in wanted.items()}
    )
    servers = ", ".join(sorted({answers.server for several in found.values() for answers in several}))
    return f"ask {servers or 'nobody'} for {', '.join(found) or 'nothing'}", found


@probe()
def reverse(world: World, machine: Machine) -> tuple[str, tuple[Reverse, ...]]:
    """What the machine's addresses lead to, and back."""
    if declared(world.settings.dns).reverse is None:
        return "nothing is asked", ()
    addresses = [address for address in (machine.address, machine.address6) if address]
    found = tuple(_reverse(world, address) for address in addresses)
    return f"{'; '.join(f'dig -x {address}' for address in addresses)}; and back, at their name servers", found


def whole(name: str, zone: str) -> str:
    """A name that is relative to a zone, written out."""
    return zone if name == "@" else f"{name}.{zone}"


def owners(zone: Zone) -> list[str]:
    """All names below a zone that something is declared for, and those between them and it: a name's own CAA record
    set counts before that of the next one above it (RFC 8659, section 3)."""
    labels = [owner.split(".") for owner in (*zone.sites, *(one.name for one in zone.records)) if owner != "@"]
    return sorted({".".join(words[depth:]) for words in labels for depth in range(len(words))})


def expected(record_set: RecordSet, zone: str) -> frozenset[str]:
    """The values of a declared record set in the spelling that `Answers` have them."""
    origin = dns.name.from_text(zone)
    return frozenset(
        dns.rdata.from_text(dns.rdataclass.IN, record_set.type, value, origin, relativize=False).to_text()
        for value in record_set.wire_values()
    )


def _zone(world: World, name: str, zone: Zone) -> tuple[Answers, ...]:
    keys = [(whole(owner, name), kind) for owner in zone.sites for kind in ("A", "AAAA")]
    keys += [(name, "CAA"), *((whole(owner, name), "CAA") for owner in owners(zone))]
    keys += [*((whole(one.name, name), one.type) for one in zone.records)]
    servers = _authorities(world, name)
    with ThreadPoolExecutor(len(servers)) as pool:
        return tuple(pool.map(lambda host: _ask_all(host, servers[host], name, keys), servers))


def _ask_all(server: str, address: str, zone: str, keys: Iterable[Key]) -> Answers:
    values: dict[Key, frozenset[str]] = {}
    trouble: dict[Key, str] = {}
    wanted = [(zone, "SOA"), *keys]
    for name, kind in wanted:
        try:
            values[name, kind] = _ask(address, name, kind)
        except NotSeen as error:
            trouble[name, kind] = error.message
            if not values:
                # a server that is silent at the first question is not waited for at each
                trouble = dict.fromkeys(wanted, error.message)
                break
    # the third word (RFC 1035, section 3.3.13)
    serials = [int(soa.split()[2]) for soa in values.get((zone, "SOA"), ())]
    return Answers(server, serials[0] if serials else -1, values, trouble)


def _reverse(world: World, address: str) -> Reverse:
    pointer = dns.reversename.from_address(address).to_text(omit_final_dot=True)
    kind = "AAAA" if ":" in address else "A"
    names = {server: _ask(at, pointer, "PTR") for server, at in _authorities(world, pointer).items()}
    back: dict[str, frozenset[str]] = {}
    for name in sorted({name.rstrip(".") for several in names.values() for name in several}):
        try:
            back[name] = frozenset().union(*(_ask(at, name, kind) for at in _authorities(world, name).values()))
        except NotSeen:
            back[name] = frozenset()
    return Reverse(address, names, back)


def _authorities(world: World, name: str) -> dict[str, str]:
    """The name servers that a name's zone is delegated to, with the first IPv4 address of each."""
    resolver = dns.resolver.Resolver(configure=not world.inventory.resolver)
    if world.inventory.resolver:
        resolver.nameservers = [world.inventory.resolver]
    resolver.lifetime = _SECONDS * 2
    try:
        zone = dns.resolver.zone_for_name(name, resolver=resolver)
        hosts = sorted(str(record.target).rstrip(".") for record in resolver.resolve(zone, "NS"))
        return {host: str(resolver.resolve(f"{host}.", "A")[0]) for host in hosts}
    except (dns.exception.DNSException, OSError) as error:
        raise NotSeen(f"the name servers of {name} cannot be found: {error}", "try `dig +trace NS` by hand") from None


def _ask(address: str, name: str, kind: str) -> frozenset[str]:
    """The values that one name server gives, none when it says that there are none. Raises `NotSeen`."""
    try:
        query = dns.message.make_query(name, kind)
        answer, _ = dns.query.udp_with_fallback(query, address, timeout=_SECONDS)
    except (dns.exception.DNSException, OSError) as error:
        raise NotSeen(str(error) or type(error).__name__, "is UDP and TCP port 53 open from here?") from None
    if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise NotSeen(f"it says {dns.rcode.to_text(answer.rcode())}", "is the zone delegated to it?")
    if not answer.flags & dns.flags.AA:
        raise NotSeen("its answer is not authoritative", "is the zone delegated to it?")
    wanted, own = dns.rdatatype.from_text(kind), dns.name.from_text(name)
    # a server answers for the name that an alias leads to as well, which is asked for its authorities by itself
    counts = (rrset for rrset in answer.answer if rrset.rdtype == wanted and (kind != "CAA" or rrset.name == own))
    return frozenset(item.to_text() for rrset in counts for item in rrset)
