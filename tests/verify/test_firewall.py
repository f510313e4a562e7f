"""What can be reached: by strangers over both internet protocols, by neighbours, and by the machine's own accounts."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

import pytest

from bastide.layout.firewall import RULES, UNIT
from bastide.layout.wireguard import INTERFACE
from bastide.machines import Machine
from bastide.mesh import mesh_of
from bastide.open_ports import open_ports
from bastide.settings import Settings
from tests.verify.evidence_plugin import not_provable_here
from tests.verify.findings import judge
from tests.verify.openings import Area, areas, described, everything, spans, without
from tests.verify.probes import firewall, nft, nft_open, provider, reach_pairs
from tests.verify.probes.firewall import Scan
from tests.verify.probes.provider import NOT_ASKED, Told
from tests.verify.probes.reach_pairs import PRIVATE, Knocks
from tests.verify.probes.systemd import beside, boots, run_by, told_besides, units
from tests.verify.probes.world import Observation, World

METADATA, METADATA6 = "169.254.169.254", "fe80::a9fe:a9fe"


def _judge(scan: Scan, settings: Settings, world: World, note: Callable[[str], None]) -> None:
    # a scan of a machine that is off, or from a prober without a network, hears nothing either
    wrong = [] if scan.alive else ["it does not answer a ping from the prober: silence proves nothing"]
    # nmap gives up on a host that takes too long (--host-timeout), and then names no port at all
    if scan.tcp < 1000:
        wrong.append(f"the scan did not come to its end: {scan.tcp} TCP ports")
    allowed = {f"{kind}/{port}" for kind, port in open_ports(settings)}
    prober = world.inventory.prober
    if prober and _ssh_is_open(settings, prober.address, prober.address6):
        allowed.add(f"tcp/{settings.ssh.port}")
    open_ = sorted(port for port, state in scan.heard.items() if state == "open")
    note(f"{scan.tcp:,} TCP and {scan.udp} UDP ports tried, open: {', '.join(open_) or 'none'}")
    if more := sorted(f"{port} ({state})" for port, state in scan.heard.items() if port not in allowed):
        wrong.append(f"not declared: {', '.join(more)}")
    judge(wrong)
    note("it answers a ping")


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


@pytest.mark.control("firewall-01")
@pytest.mark.probe(provider.told)
def test_the_providers_firewall_over_ipv4(
    observation: Observation, settings: Settings, machine: Machine, note: Callable[[str], None]
) -> None:
    """The rules of the provider's firewall, as its API has them, let nobody in over IPv4 but whom the settings name."""
    _judge_provider(observation.data, "ip", settings, machine, note)


@pytest.mark.control("firewall-02")
@pytest.mark.probe(provider.told)
def test_the_providers_firewall_over_ipv6(
    observation: Observation, settings: Settings, machine: Machine, note: Callable[[str], None]
) -> None:
    """The same over IPv6."""
    _judge_provider(observation.data, "ip6", settings, machine, note)


@pytest.mark.control("firewall-01", "firewall-03")
@pytest.mark.probe(firewall.rules)
def test_own_rules_over_ipv4(observation: Observation, settings: Settings, note: Callable[[str], None]) -> None:
    """The rules in the kernel, sets and all, let in over IPv4 whom the settings name, to the ports that they name."""
    _judge_rules(observation.data.text, "ip", settings, note)


@pytest.mark.control("firewall-02", "firewall-03")
@pytest.mark.probe(firewall.rules)
def test_own_rules_over_ipv6(observation: Observation, settings: Settings, note: Callable[[str], None]) -> None:
    """The same over IPv6."""
    _judge_rules(observation.data.text, "ip6", settings, note)


@pytest.mark.control("firewall-03")
@pytest.mark.probe(reach_pairs.pairs)
def test_neighbours_reach_nothing_undeclared(
    observation: Observation, settings: Settings, machine: Machine, world: World, note: Callable[[str], None]
) -> None:
    """No other server reaches a fresh listener or another port, over TCP and UDP, IPv4 and IPv6, past the provider."""
    found: list[Knocks] = observation.data
    if not any(knocks.way == PRIVATE or not machine.private_address for knocks in found):
        not_provable_here("it is alone in its private network: nobody is there to knock past the provider's firewall")
    wrong = []
    for knocks in found:
        where = f"{knocks.sibling} {knocks.way}"
        if not knocks.ping:
            wrong.append(f"it does not answer a ping of {where}: silence proves nothing")
        if "filtered" not in knocks.ports.values():
            wrong.append(f"{where} was turned away nowhere")
        allowed = {f"{kind}/{port}" for kind, port in open_ports(settings)}
        if _ssh_is_open(settings, knocks.source):
            allowed.add(f"tcp/{settings.ssh.port}")
        # a server of DHCP may answer: nothing listens there for others (see `_may`)
        allowed.add("udp/68")
        fresh = (f"tcp/{knocks.fresh}", f"udp/{knocks.fresh}")
        reached = [port for port, state in knocks.ports.items() if state != "filtered" and port not in allowed]
        named = [f"{port}{' (a fresh listener)' if port in fresh else ''}" for port in reached]
        if named:
            wrong.append(f"a neighbour gets through to {', '.join(named)} ({where})")
    judge(wrong)
    tried = sum(len(knocks.ports) for knocks in found)
    note(f"{tried} knocks of {len({k.sibling for k in found})} servers, TCP and UDP; it answers their pings")


@pytest.mark.control("firewall-03")
@pytest.mark.probe(firewall.rules)
def test_input_is_refused_by_default(observation: Observation, note: Callable[[str], None]) -> None:
    """The rules in force drop what is not named, over IPv4 and IPv6, and no rule lets everything in."""
    rules, wrong = nft.parse(observation.data.text), list[str]()
    for family, word in (("ip", "IPv4"), ("ip6", "IPv6")):
        if not nft.drops_by_default(rules, "input", family):
            wrong.append(f"what is not named is let in over {word}")
        if nft.accepts_everything(rules, "input", family):
            wrong.append(f"a rule lets everything in over {word}")
    judge(wrong)
    note("policy drop for input over IPv4 and IPv6")


@pytest.mark.control("firewall-01", "firewall-02", "firewall-03")
@pytest.mark.probe(firewall.rules)
def test_no_rule_leads_packets_elsewhere(observation: Observation, note: Callable[[str], None]) -> None:
    """No rule in the kernel gives packets another port, address or way: who reaches an open port reaches its service.

    Nothing that is declared needs such a rule; what comes to need one (containers, say) is to be named here.
    """
    judge(f"a rule leads packets elsewhere: {text}" for text in nft.led_elsewhere(observation.data.text))
    note("no NAT, nothing is written over")


@pytest.mark.control("firewall-01", "firewall-02", "firewall-03")
@pytest.mark.probe(firewall.older_rules)
def test_no_rules_beside_those_that_are_judged(observation: Observation, note: Callable[[str], None]) -> None:
    """The kernel has no tables of the older iptables, which nobody sees among the rules that are judged."""
    judge(f"iptables-legacy has a table {table}" for table in observation.data.text.split())
    note("none of iptables-legacy")


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
    judge(
        f"an account without rights gets an answer ({name}: curl's exit code {observation.data[name].code})"
        for name in ("nobody", "any number", "nobody over IPv6", "any number over IPv6")
        if observation.data[name].code not in (7, 28)
    )
    over = f"HTTP {six.text}" if six.code == 0 else "nothing is there"
    note(f"root: HTTP {root.text}, over IPv6 {over}; nobody and a made-up account: no connection")


@pytest.mark.control("firewall-04")
@pytest.mark.probe(firewall.user_data)
def test_what_it_told_is_kept_for_root_only(observation: Observation, note: Callable[[str], None]) -> None:
    """An account without rights cannot read the files in which cloud-init keeps what the metadata service told."""
    lines = observation.data.text.splitlines()
    judge(f"an account without rights reads {line[5:]}" for line in lines if line.startswith("read "))
    note(f"{sum(line.startswith('kept ') for line in lines)} files, none of them readable")


@pytest.mark.control("firewall-04")
@pytest.mark.probe(firewall.rules)
def test_metadata_is_closed_to_all_but_root(observation: Observation, note: Callable[[str], None]) -> None:
    """No rule lets another account, or what is forwarded, to the metadata service before it is turned away.

    What is forwarded is that of containers and their root.
    """
    rules = nft.parse(observation.data.text)
    judge(
        f"{who} may go to {address}"
        for hook, who in (("forward", "forwarded traffic"), ("output", "an account that is not root"))
        for family, address in (("ip", METADATA), ("ip6", METADATA6))
        if nft.lets_through(rules, hook, address, family)
    )
    note("dropped in forward, and in output for all but root")


@pytest.mark.control("firewall-03")
@pytest.mark.probe(firewall.unit)
def test_the_rules_come_with_the_next_start(observation: Observation, note: Callable[[str], None]) -> None:
    """The unit that loads them is enabled, and nothing tells it otherwise."""
    unit = units(observation.data)[UNIT]
    wrong = [*boots(unit), *told_besides(unit)]
    if not run_by(unit).endswith(f"nft -f {RULES}"):
        wrong.append(f"{UNIT} does something else: {run_by(unit)}")
    judge([*wrong, *(f"{UNIT} has {one} beside it" for one in beside(unit))])
    note(f"it runs `{run_by(unit)}`")


@pytest.mark.control("firewall-01", "firewall-02", "firewall-03")
@pytest.mark.probe(firewall.rules_at_start)
def test_the_next_start_opens_nothing(
    observation: Observation, settings: Settings, note: Callable[[str], None]
) -> None:
    """What the file of the rules says, loaded where nobody is, lets in whom the settings name and nobody else."""
    text = observation.data.text
    judge(f"after a restart: {one}" for family in ("ip", "ip6") for one in _undeclared(text, family, settings))
    note("loaded in a network of its own")


def _judge_rules(text: str, family: str, settings: Settings, note: Callable[[str], None]) -> None:
    judge(_undeclared(text, family, settings))
    note(f"{len(nft_open.read(text).bases)} chains, what they let in is declared")


def _undeclared(text: str, family: str, settings: Settings) -> list[str]:
    """What a ruleset lets in and nobody declared."""
    ruleset, wrong = nft_open.read(text), list[str]()
    for interface, way in (("", ""), (INTERFACE, "in the mesh, ")):
        for protocol in ("tcp", "udp"):
            open_ = nft_open.let_in(ruleset, nft_open.Packets(family, protocol, interface))
            more = without(open_, _may(settings, family, protocol, in_mesh=bool(interface)))
            wrong += [f"not declared: {way}{text}" for text in described(more, protocol, family)]
    return wrong


def _judge_provider(
    told: Told | None, family: str, settings: Settings, machine: Machine, note: Callable[[str], None]
) -> None:
    if told is None:
        note(f"a machine of {machine.hoster}" if machine.provider == "existing" else NOT_ASKED)
        return
    wrong = ["no firewall of the provider's is in force for it"] if told.rules is None else []
    for protocol in ("tcp", "udp"):
        may = _may(settings, family, protocol)
        if protocol == "tcp":
            # of a new server, which listens there until its first deploy; each server's own firewall closes it
            may = [*may, *areas(spans(settings.firewall.operators, family), [(22, 22)])]
        more = without(provider.let_in(told.rules, protocol, family), may)
        wrong += [f"the provider's firewall: {text}" for text in described(more, protocol, family)]
    judge(wrong)
    note(f"asked the provider's API: {len(told.rules or ())} rules in force")


def _may(settings: Settings, family: str, protocol: str, *, in_mesh: bool = False) -> list[Area]:
    """Who may reach what from outside, or in the mesh."""
    every, port = everything(family), settings.ssh.port
    found = areas([every], [(number, number) for kind, number in open_ports(settings) if kind == protocol])
    if protocol == "udp":
        found.append(Area(every, (68, 68)))  # answers of DHCP servers; no state is known of what was asked by broadcast
    sources = [every] if settings.ssh.open_to == "anywhere" else []
    if settings.ssh.open_to == "operators":
        sources = spans(settings.firewall.operators, family)
    mesh = mesh_of(settings)
    if in_mesh and mesh:
        named = [(number, number) for kind, number in open_ports(settings, in_mesh=True) if kind == protocol]
        found += areas(spans(mesh.machines.values(), family), named)
        sources += spans(mesh.administrators.values(), family)
    return found + (areas(sources, [(port, port)]) if protocol == "tcp" else [])


def _ssh_is_open(settings: Settings, *addresses: str) -> bool:
    if settings.ssh.open_to != "operators":
        return settings.ssh.open_to == "anywhere"
    networks = [ipaddress.ip_network(word) for word in settings.firewall.operators]
    return any(ipaddress.ip_address(address) in network for address in addresses if address for network in networks)
