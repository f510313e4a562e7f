"""What strangers and neighbours can reach, the rules in the kernel, and whom the metadata service answers."""

from __future__ import annotations

import secrets
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

from bastide.layout.firewall import RULES, UNIT
from bastide.machines import Machine
from bastide.open_ports import open_ports
from tests.verify.probes.batch import command
from tests.verify.probes.engine import Once, probe
from tests.verify.probes.listed import listed
from tests.verify.probes.reach import listeners, listening
from tests.verify.probes.site import METADATA, METADATA6
from tests.verify.probes.systemd import show
from tests.verify.probes.world import NotSeen, Output, World

# UDP services that are often left open (nmap's most frequent, and what this platform may come to use)
_UDP = {53, 67, 69, 111, 123, 137, 161, 500, 514, 1194, 1900, 4500, 5353, 51820}
_once = Once()

rules = command("rules", "nft -j list ruleset")
unit = command("firewallunit", show(UNIT))
rules_at_start = command("rulesatstart", f"unshare -n sh -c 'nft -f {RULES} && nft -j list ruleset'")
# the tables of the older iptables, which nft does not show; without the modules there is no such file
older_rules = command("olderrules", "cat /proc/net/ip_tables_names /proc/net/ip6_tables_names 2>/dev/null; true")
# what the provider's service told is kept by cloud-init, in files (its manual, "Data and logs"): who may read those?
_KEPT = """for file in /var/lib/cloud/instances/*/user-data* /var/lib/cloud/instances/*/vendor-data* \\
    /var/lib/cloud/instances/*/cloud-config.txt /var/lib/cloud/instances/*/obj.pkl /var/lib/cloud/seed/*/*-data \\
    /var/lib/cloud/instances/*/scripts/* /run/cloud-init/*sensitive* /run/cloud-init/combined-cloud-config.json; do
  [ -f "$file" ] || continue
  echo "kept $file"
  setpriv --reuid=65534 --regid=65534 --clear-groups -- head -c 1 "$file" >/dev/null 2>&1 && echo "read $file"
done; true"""
user_data = command("userdata", _KEPT, shows="runuser -u nobody -- cat /var/lib/cloud/instances/*/user-data.txt ...")
_metadata = {
    f"{who}{way}": listed(
        f"metadata as {who}{way}",
        # the interface of the default route, by which a link-local address is reached
        "device=$(ip -6 route show default | sed -n 's/.* dev \\([^ ]*\\).*/\\1/p' | head -n 1)\n"
        f"{as_} curl -sS -m 3 -o /dev/null -w '%{{http_code}}\\n' \"{place.replace('DEVICE', '$device')}/instance-id\"",
    )
    for way, place in (("", METADATA), (" over IPv6", METADATA6))
    for who, as_ in (
        ("root", ""),
        ("nobody", "runuser -u nobody --"),
        ("any number", 'setpriv --reuid="$1" --regid="$1" --clear-groups --'),
    )
}


@dataclass(frozen=True)
class Scan:
    """A port scan of one address: how many ports of each kind, whether it answered a ping, and what was not silent.

    `heard` maps "tcp/22" to "open" or "closed" (which says that a packet got through to the machine).
    """

    tcp: int
    udp: int
    alive: bool
    heard: dict[str, str]


@probe(active=True, asks=(listeners,))
def scan4(world: World, machine: Machine) -> tuple[str, Scan]:
    """What the prober sees of the IPv4 address."""
    return _scan(world, machine, 4)


@probe(active=True, asks=(listeners,))
def scan6(world: World, machine: Machine) -> tuple[str, Scan]:
    """What the prober sees of the IPv6 address."""
    return _scan(world, machine, 6)


@probe()
def metadata_without_root(world: World, machine: Machine) -> tuple[str, dict[str, Output]]:
    """The metadata service, asked by root first (it must answer, or its silence proves nothing), then by two others.

    The second one has a number that nobody can have thought of: a rule that names accounts is not enough.
    """
    number = secrets.randbelow(30_000) + 30_000
    outputs = world.batch(machine.name, {who: one.call(world, machine, number) for who, one in _metadata.items()})
    return f"# runuser -u nobody -- curl -m 3 {METADATA}/instance-id", outputs


def _scan(world: World, machine: Machine, family: int) -> tuple[str, Scan]:
    prober = world.inventory.prober
    if prober is None:
        raise NotSeen("there is no prober", "declare one")
    address = machine.address if family == 4 else machine.address6
    if not address:
        return f"# {machine.name} has no IPv{family} address", Scan(0, 0, False, {})
    found: tuple[str, dict[str, Scan]] = _once((world.stack, family), lambda: _scan_all(world, prober.name, family))
    command, scans = found
    listening(world, machine)  # a machine that does not say what listens there cannot be proven by a scan
    if address not in scans:
        raise NotSeen(f"nmap said nothing of {machine.name}", "run the scan by hand to see why")
    return command, scans[address]


def _scan_all(world: World, prober: str, family: int) -> tuple[str, dict[str, Scan]]:
    """One nmap for all machines. Ports: nmap's 1,000 most frequent, all declared, and whatever listens anywhere.

    A port can only be open when something listens on it, so nothing open is left out; `--all-ports` tries every one.
    """
    machines = world.inventory.machines
    addresses = [a for machine in machines if (a := machine.address if family == 4 else machine.address6)]
    opened = [_listening_or_silent(world, machine) for machine in machines]
    named = open_ports(world.settings, in_mesh=True)
    tcp = {world.settings.ssh.port, *(port for kind, port in named if kind == "tcp")}.union(*(o["tcp"] for o in opened))
    udp = _UDP.union((port for kind, port in named if kind == "udp"), *(o["udp"] for o in opened))
    # nmap prints its list of frequent ports when it is given nothing to scan
    top = "$(nmap -v --top-ports 1000 -oG - 2>/dev/null | sed -n 's/.*TCP([0-9]*;\\([^)]*\\)).*/\\1/p' | head -n 1)"
    tcp_list = "1-65535" if world.all_ports else f"{','.join(map(str, sorted(tcp)))},{top}"
    udp_list = ",".join(map(str, sorted(udp)))
    # about 3,000 small packets a second for a few seconds: no load; round trips within Europe are below 100 ms
    kind = "-6 -n" if family == 6 else "-n"
    options = f"{kind} -Pn -sS -sU --max-retries 1 --max-rtt-timeout 500ms --min-rate 3000 --host-timeout 180s"
    pings = "; ".join(f"ping -n -q -c 1 -W 2 {a} >/dev/null 2>&1 && echo '#alive {a}'" for a in addresses)
    script = f"{pings}; nmap {options} -p T:{tcp_list},U:{udp_list} -oX - {' '.join(addresses)}"
    done = world.as_root(prober, script)
    alive = {line.split()[1] for line in done.text.splitlines() if line.startswith("#alive ")}
    try:
        document = ElementTree.fromstring(done.text[done.text.index("<nmaprun") : done.text.rindex(">") + 1])
    except (ValueError, ElementTree.ParseError):
        raise NotSeen(f"nmap did not scan on {prober}", "is nmap installed there?") from None
    scans = dict(_scan_of(host, alive) for host in document.iter("host"))
    counts = next(iter(scans.values()), None)
    shown = f"{counts.tcp} TCP and {counts.udp} UDP ports" if counts else "nothing"
    what = "all" if world.all_ports else "nmap's 1,000 most frequent, all declared, and all that anything listens on"
    return f"{prober}# nmap {options} ({shown}: {what})", scans


def _listening_or_silent(world: World, machine: Machine) -> dict[str, set[int]]:
    """What listens on a machine; one that does not answer must not keep the others from being scanned."""
    try:
        return listening(world, machine)
    except NotSeen:
        return {"tcp": set(), "udp": set()}


def _scan_of(host: ElementTree.Element, alive: set[str]) -> tuple[str, Scan]:
    address = next(str(item.get("addr")) for item in host.iter("address") if item.get("addrtype") in ("ipv4", "ipv6"))
    counted = {"tcp": 0, "udp": 0}
    heard: dict[str, str] = {}
    for port in host.iter("port"):
        state = next(item for item in port.iter("state"))
        counted[str(port.get("protocol"))] += 1
        if state.get("state") in ("open", "closed", "unfiltered"):
            heard[f"{port.get('protocol')}/{port.get('portid')}"] = str(state.get("state"))
    for rest in host.iter("extraports"):
        # nmap sums up what many ports have in common, with a line a protocol
        for reason in rest.iter("extrareasons"):
            protocol, number = str(reason.get("proto")), int(reason.get("count") or 0)
            counted[protocol] += number
            if rest.get("state") in ("open", "closed", "unfiltered"):
                heard[f"{protocol}/{reason.get('ports')}"] = str(rest.get("state"))
    return address, Scan(counted["tcp"], counted["udp"], address in alive, heard)
