"""What must hold between the areas of a stack file. Each rule says every mistake that it finds, with the key's path."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from bastide.settings.wireguard import Wireguard

if TYPE_CHECKING:
    from bastide.settings import Settings


def roles(settings: Settings) -> list[str]:
    """One primary; standbys in another country; at most one witness, in a location of its own."""
    problems = []
    primaries, standbys, witnesses = (settings.by_role(role) for role in ("primary", "standby", "witness"))
    if len(primaries) != 1:
        problems.append(f"servers must have exactly one primary (got {len(primaries)})")
    if len(witnesses) > 1:
        problems.append(f"servers must have one witness at most: it breaks ties (got {len(witnesses)})")
    for primary in primaries.values():
        sites = [server.place for server in (primary, *standbys.values())]
        countries = {place.country for place in sites}
        if standbys and len(countries) < 2:
            problems.append(f"servers: primary and standby must stand in two countries (all in {countries.pop()})")
        cities = {(place.country, place.city.casefold()) for place in sites}
        if any((w.place.country, w.place.city.casefold()) in cities for w in witnesses.values()):
            problems.append("servers: the witness must stand in a location of its own")
    return problems


def people(settings: Settings) -> list[str]:
    """Who left is nowhere else: a device in the mesh would be a way in that nobody looks for."""
    administrators = settings.wireguard.administrators if settings.wireguard else {}
    return [
        f"wireguard.administrators.{name}: is in users.removed; take the device out of the mesh, too"
        for name in sorted(set(administrators) & set(settings.users.removed))
    ] + [
        f"evidence.signers: {name} is not in users.people; name people who have a key there"
        for name in settings.evidence.signers
        if name not in settings.users.people
    ]


def cluster(settings: Settings) -> list[str]:
    """Who votes, and whether the connections fit."""
    if settings.postgres is None:
        return []
    problems = []
    if settings.wireguard is None:
        problems.append("postgres needs wireguard: its parts speak to each other in the mesh only")
    if settings.postgres.without_standby == "stop" and not settings.by_role("standby"):
        problems.append("postgres.without_standby: stop needs a standby: nobody could ever write")
    if (needed := settings.postgres.connections(len(settings.sites))) > settings.postgres.max_connections:
        problems.append(
            f"postgres.max_connections must be at least {needed} for what all databases' connections come to on "
            f"{len(settings.sites)} sites (got {settings.postgres.max_connections}); raise it or lower connections"
        )
    voters = settings.etcd_members
    problems += [f"etcd.voters: there is no server {name}" for name in voters if name not in settings.servers]
    if len(set(voters)) != len(voters):
        problems.append("etcd.voters names a server twice")
    # one voter is all that one or two servers can have; three take over from each other
    three = bool(settings.by_role("standby") and settings.by_role("witness"))
    if len(voters) % 2 == 0 or (three and len(voters) < 3):
        problems.append(
            f"etcd.voters must be an odd number{', three or more' if three else ''} (got {len(voters)}): "
            "an even one survives no more losses than one fewer"
        )
    if three and not set(voters) & set(settings.by_role("witness")):
        problems.append("etcd.voters must name the witness: it votes when the sites cannot agree")
    if voters and not set(voters) & set(settings.sites):
        problems.append("etcd.voters must name a server with databases: only there lies the voters' own password")
    places = [server.place for name in voters if (server := settings.servers.get(name))]
    problems += [
        f"etcd.voters: {places.count(place)} of {len(voters)} stand in {place.city}: the majority would be lost with it"
        for place in dict.fromkeys(places)
        if len(voters) > 1 and places.count(place) > len(voters) // 2
    ]
    return problems


def kernel(settings: Settings) -> list[str]:
    """What is declared decides whether packets are passed on; the firewall drops them otherwise."""
    return [
        f"kernel.sysctl: {name} follows from what is declared, and nothing has packets passed on: leave it out"
        for name, value in settings.kernel.sysctl.items()
        if (name == "net.ipv4.ip_forward" or name.endswith(".forwarding")) and value != str(int(settings.forwards))
    ]


def jobs(settings: Settings) -> list[str]:
    """Who may plan jobs has an account."""
    return [
        f"accounts.jobs: {name} is not in users.people; name people who have an account"
        for name in dict.fromkeys(settings.accounts.jobs)
        if name not in settings.users.people
    ]


def addresses(settings: Settings) -> list[str]:
    """Addresses and host keys: each once, private ones inside of the subnet."""
    problems: list[str] = []
    seen: dict[str, str] = {}
    subnet = ipaddress.IPv4Network(settings.network.subnet)
    for name, server in settings.made.items():
        address = ipaddress.IPv4Address(server.private_address)
        if address not in subnet:
            problems.append(f"servers.{name}.private_address must lie in network.subnet {subnet} (got {address})")
        elif address in (subnet[0], subnet[-1]) or str(address) == settings.network.gateway:
            problems.append(f"servers.{name}.private_address {address} is reserved (network, broadcast or gateway)")
        if (other := seen.setdefault(str(address), name)) != name:
            problems.append(f"servers.{name}.private_address {address} is already that of {other}")
    for key in ("address", "address6", "host_key"):
        owners: dict[str, str] = {}
        for name, existing in settings.existing.items():
            value = getattr(existing, key)
            if value and (other := owners.setdefault(value, name)) != name:
                problems.append(f"servers.{name}.{key} is already that of {other}")
    return problems


def unheard(settings: Settings) -> list[str]:
    """What nobody would hear of, each with what helps against it. No mistake: the stack file may mean it."""
    if settings.alerts is None:
        return []
    found = []
    alone = len(settings.servers) == 1
    if settings.alerts.heartbeat is None:
        gone = "its only server is gone" if alone else "all servers are gone at once"
        found.append(f"alerts: nobody hears of it when {gone}, or no way out is left: declare alerts.heartbeat")
    if not alone and settings.wireguard is None:
        found.append(
            "alerts: without wireguard no server reads what is wrong with another one: each tells of itself, and of "
            "another one only that it does not answer a ping"
        )
    return found


def mesh(settings: Settings, wanted: Wireguard) -> list[str]:
    """Places in the mesh: each once, apart from all other networks."""
    problems = []
    whole = ipaddress.IPv4Network(wanted.range)
    if whole.overlaps(ipaddress.IPv4Network(settings.network.range)):
        problems.append(f"wireguard.range {whole} and network.range {settings.network.range} overlap")
    for word in settings.firewall.operators:
        operators = ipaddress.ip_network(word)
        if isinstance(operators, ipaddress.IPv4Network) and operators.overlaps(whole):
            problems.append(
                f"firewall.operators: {operators} overlaps wireguard.range {whole}: administrators are let in from "
                "the mesh by themselves"
            )
    if any((port.protocol, port.port) == ("udp", wanted.port) for port in settings.firewall.public):
        problems.append(f"firewall.public names the port of wireguard, which is open by itself: {wanted.port}/udp")
    addresses = {f"servers.{name}.mesh_address": address for name, address in settings.mesh.items()}
    problems += [
        f"servers.{name}.mesh_address is required: a server that somebody else made has no place of its own in "
        f"wireguard.range {whole}"
        for name in settings.servers
        if name not in settings.mesh
    ]
    addresses |= {
        f"wireguard.administrators.{name}.address": one.address for name, one in wanted.administrators.items()
    }
    owners: dict[str, str] = {}
    for place, address in addresses.items():
        if problem := wanted.problem_with(address):
            problems.append(f"{place} {problem}")
        if (other := owners.setdefault(address, place)) != place:
            problems.append(f"{place} {address} is already {other}")
    return problems
