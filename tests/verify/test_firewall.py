"""What can be reached: by strangers over both internet protocols, by neighbours, and by the machine's own accounts."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

import pytest

from bastide.machines import Machine
from bastide.open_ports import open_ports
from bastide.settings import Settings
from tests.verify.evidence_plugin import not_provable_here
from tests.verify.probes import firewall, nft
from tests.verify.probes.firewall import Scan
from tests.verify.probes.world import Observation, World

METADATA, METADATA6 = "169.254.169.254", "fe80::a9fe:a9fe"


def _judge(scan: Scan, settings: Settings, world: World, note: Callable[[str], None]) -> None:
    # a scan of a machine that is off, or from a prober without a network, hears nothing either
    assert scan.alive, "it does not answer a ping from the prober: silence proves nothing"
    # nmap gives up on a host that takes too long (--host-timeout), and then names no port at all
    assert scan.tcp >= 1000, f"the scan did not come to its end: {scan.tcp} TCP ports"
    allowed = {f"{kind}/{port}" for kind, port in open_ports(settings)}
    prober = world.inventory.prober
    if prober and _ssh_is_open(settings, prober.address, prober.address6):
        allowed.add(f"tcp/{settings.ssh.port}")
    open_ = sorted(port for port, state in scan.heard.items() if state == "open")
    note(f"{scan.tcp:,} TCP and {scan.udp} UDP ports tried, open: {', '.join(open_) or 'none'}; it answers a ping")
    more = {port: state for port, state in scan.heard.items() if port not in allowed}
    assert not more, f"not declared: {', '.join(f'{port} ({state})' for port, state in sorted(more.items())[:8])}"


@pytest.mark.control("firewall-01")
@pytest.mark.active
@pytest.mark.probe(firewall.scan4)
def test_open_ports_over_ipv4(
    observation: Observation, settings: Settings, world: World, note: Callable[[str], None]
) -> None:
    """A scan from outside over IPv4 gets no answer from any port but the declared ones."""
    _judge(observation.data, settings, world, note)


@pytest.mark.control("firewall-02")
@pytest.mark.active
@pytest.mark.probe(firewall.scan6)
def test_open_ports_over_ipv6(
    observation: Observation, settings: Settings, machine: Machine, world: World, note: Callable[[str], None]
) -> None:
    """A scan from outside over IPv6 gets no answer from any port but the declared ones."""
    if not machine.address6:
        not_provable_here("the stack file names no IPv6 address of it that a scan could go to")
    _judge(observation.data, settings, world, note)


@pytest.mark.control("firewall-03")
@pytest.mark.probe(firewall.from_neighbour)
def test_neighbour_reaches_nothing_undeclared(
    observation: Observation, settings: Settings, machine: Machine, world: World, note: Callable[[str], None]
) -> None:
    """A neighbour that no firewall of a provider stands before reaches no fresh listener and no other port."""
    knock, sibling = observation.data, world.sibling(machine)
    if knock is None or sibling is None:
        not_provable_here("it is alone in its private network: nobody is there to knock past the provider's firewall")
    assert knock.ping, "it does not answer its neighbour's ping: silence proves nothing"
    allowed = {port for kind, port in open_ports(settings) if kind == "tcp"}
    if _ssh_is_open(settings, sibling.address_for(machine)):
        allowed.add(settings.ssh.port)
    reached = sorted(port for port, state in knock.ports.items() if state != "filtered" and port not in allowed)
    note(f"{len(knock.ports)} ports tried, reached: {', '.join(map(str, reached)) or 'none'}; it answers a ping")
    named = [f"{port}{' (a fresh listener)' if port == knock.fresh else ''}" for port in reached]
    assert not reached, f"a neighbour gets through to {', '.join(named)}"


@pytest.mark.control("firewall-03")
@pytest.mark.probe(firewall.rules)
def test_input_is_refused_by_default(observation: Observation, note: Callable[[str], None]) -> None:
    """The rules in force drop what is not named, over IPv4 and IPv6, and no rule lets everything in."""
    rules = nft.parse(observation.data.text)
    for family, word in (("ip", "IPv4"), ("ip6", "IPv6")):
        assert nft.drops_by_default(rules, "input", family), f"what is not named is let in over {word}"
        assert not nft.accepts_everything(rules, "input", family), f"a rule lets everything in over {word}"
    note("policy drop for input over IPv4 and IPv6")


@pytest.mark.control("firewall-04")
@pytest.mark.probe(firewall.metadata_without_root)
def test_metadata_answers_root_only(observation: Observation, machine: Machine, note: Callable[[str], None]) -> None:
    """root gets an answer from the metadata service, an account without rights gets none."""
    root = observation.data["root"]
    if machine.provider == "existing":
        # its owner's service may know other paths, and any answer shows the way to it; or there is none at all
        if root.code != 0:
            not_provable_here(f"no metadata service answers on a machine of {machine.hoster}, not even root")
    else:
        assert (root.code, root.text) == (0, "200"), "root gets no answer either: silence proves nothing here"
    # curl(1): 7 could not connect, 28 timed out; anything else would be another reason than the firewall
    six = observation.data["root over IPv6"]
    for name in ("nobody", "any number", "nobody over IPv6", "any number over IPv6"):
        code = observation.data[name].code
        assert code in (7, 28), f"an account without rights gets an answer ({name}: curl's exit code {code})"
    over = f"HTTP {six.text}" if six.code == 0 else "nothing is there"
    note(f"root: HTTP {root.text}, over IPv6 {over}; nobody and a made-up account: no connection")


@pytest.mark.control("firewall-04")
@pytest.mark.probe(firewall.rules)
def test_metadata_is_closed_to_containers(observation: Observation, note: Callable[[str], None]) -> None:
    """Forwarded traffic, as that of containers and their root, does not reach the metadata service."""
    rules = nft.parse(observation.data.text)
    for family, address in (("ip", METADATA), ("ip6", METADATA6)):
        dropped = nft.drops_address(rules, "forward", address, family)
        assert dropped or nft.drops_by_default(rules, "forward", family), f"forwarded traffic may go to {address}"
        opened = nft.accepts_everything(rules, "forward", family)
        assert not opened or dropped, "a rule lets all forwarded traffic pass"
    note("dropped in forward")


def _ssh_is_open(settings: Settings, *addresses: str) -> bool:
    if settings.ssh.open_to != "operators":
        return settings.ssh.open_to == "anywhere"
    networks = [ipaddress.ip_network(word) for word in settings.firewall.operators]
    return any(ipaddress.ip_address(address) in network for address in addresses if address for network in networks)
