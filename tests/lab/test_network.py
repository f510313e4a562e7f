"""The lab's networks, for real: public, private, cloud firewalls, and the seal. Needs root; touches its own lab only.

The order of the tests is the order in the file: the destructive one last.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from bastide.console import run
from lab.backend import FirewallRule, PrivateNic
from lab.machines import links, router, seal
from lab.machines.seed import first_address
from lab.place import Place
from tests.lab.bench import (
    ALPHA,
    BETA,
    EVERYWHERE,
    NEEDS_ROOT,
    Bench,
    ssh_answers,
    wait_for,
)

LAB = "lab"
pytestmark = NEEDS_ROOT


def test_private_network_is_layer_3(bench: Bench) -> None:
    wait_for("the lease", lambda: "10.77.0.101/32" in bench.lab.execute("alpha", ["ip", "-br", "address"]).stdout)
    wait_for("the other lease", lambda: "10.77.0.102/32" in bench.lab.execute("beta", ["ip", "-br", "address"]).stdout)
    link = json.loads(bench.lab.execute("alpha", ["ip", "-j", "link", "show", "enp7s0"]).stdout)[0]
    assert (link["mtu"], link["address"]) == (1450, "86:00:00:00:01:65")
    way = json.loads(bench.lab.execute("alpha", ["ip", "-j", "route", "get", "10.77.0.102"]).stdout)[0]
    assert (way["gateway"], way["dev"], way["prefsrc"]) == ("10.77.0.1", "enp7s0", "10.77.0.101")
    # a lease comes before the machine's sshd: its being open says that what follows is about the network
    wait_for("sshd", lambda: ssh_answers(bench.specs[BETA].public4))
    assert bench.reach("alpha", ("10.77.0.102", 22)) == {"10.77.0.102 22"}
    # the host and the prober are not in it
    assert bench.reach("prober", ("10.77.0.102", 22)) == set()


def test_each_machine_gets_its_own_metadata(bench: Bench) -> None:
    base = "http://169.254.169.254/hetzner/v1"

    def ask(name: str, path: str) -> str:
        return bench.lab.execute(name, ["curl", "-fsS", "-m", "5", f"{base}/{path}"]).stdout

    for number, name in ((ALPHA, "alpha"), (BETA, "beta")):
        assert ask(name, "metadata/hostname") == name
        assert ask(name, "metadata/public-ipv4") == bench.specs[number].public4
        assert f"told {name}" in ask(name, "userdata")
        assert f"ip: 10.77.0.{number}" in ask(name, "metadata/private-networks")
        assert f"instance-id: {number}\n" in ask(name, "metadata")
        six = "http://[fe80::a9fe:a9fe%25eth0]/hetzner/v1/metadata/hostname"
        wait_for(f"{name} has addresses that it may ask from", partial(settled, bench, name), 10)
        assert bench.lab.execute(name, ["curl", "-fsS", "-m", "5", six]).stdout == name
    foreign = ["curl", "-s", "-m", "2", "--interface", "lo", f"{base}/metadata"]
    assert not bench.lab.execute("alpha", foreign, check=False).ok


def settled(bench: Bench, name: str) -> bool:
    """Whether the machine asks its neighbours about no address any more, which it may not use before nobody answered
    (RFC 4862, 5.4): until then connect(2) ends with EADDRNOTAVAIL at once."""
    return not bench.lab.execute(name, ["ip", "-6", "-o", "address", "show", "dev", "eth0", "tentative"]).stdout


def test_cloud_firewall_filters_outside_of_the_machine(bench: Bench) -> None:
    spec, lab = bench.specs[ALPHA], bench.lab
    four, six = spec.public4, first_address(spec.public6)
    lab.execute("alpha", ["systemd-run", "-q", "--unit=web", "python3", "-m", "http.server", "--bind", "::", "8080"])
    both = ((four, 22), (six, 22), (four, 8080), (six, 8080))
    everything = {f"{host} {port}" for host, port in both}
    wait_for("the listener", lambda: bench.reach("prober", *both) == everything, 5)

    bench.driver.set_firewall(ALPHA, (FirewallRule("in", "tcp", "22", EVERYWHERE),))
    assert bench.reach("prober", *both) == {f"{four} 22", f"{six} 22"}
    # stateful: what the machine itself asks for comes back in, and it may ask for anything
    assert bench.reach("alpha", (bench.specs[BETA].public4, 22))

    # one source only, by address; and a connection that stands when its rule goes is not cut
    with socket.create_connection((four, 22), timeout=2) as connection:
        assert connection.recv(4) == b"SSH-"
        prober = f"{bench.info['prober']['address']}/32"
        bench.driver.set_firewall(ALPHA, (FirewallRule("in", "tcp", "8000-8100", (prober,)),))
        assert bench.reach("prober", *both) == {f"{four} 8080"}
        assert bench.reach("beta", *both) == set()
        assert not ssh_answers(four)
        connection.sendall(b"SSH-2.0-test\r\n")
        assert connection.recv(100)

    # outbound: with one such rule, only what matches leaves
    bench.driver.set_firewall(BETA, (FirewallRule("out", "tcp", "443", EVERYWHERE),))
    assert bench.reach("beta", (spec.public4, 8080), ("185.12.64.1", 53)) == set()
    bench.driver.set_firewall(ALPHA, None)
    assert bench.reach("prober", *both) == everything
    bench.driver.set_firewall(BETA, None)


def test_firewall_lets_ping_and_neighbour_discovery_be(bench: Bench) -> None:
    bench.driver.set_firewall(ALPHA, (FirewallRule("in", "icmp", "", EVERYWHERE),))
    for number in (4, 6):
        address = bench.specs[ALPHA].public4 if number == 4 else first_address(bench.specs[ALPHA].public6)
        # forget the neighbour, so that it must be discovered again under the firewall
        run(["ip", "-n", bench.place.router, f"-{number}", "neigh", "flush", "dev", f"m{ALPHA}"])
        done = bench.lab.execute("beta", ["ping", f"-{number}", "-c", "1", "-W", "2", address], check=False)
        assert done.ok, done.stdout
    bench.driver.set_firewall(ALPHA, None)


def test_a_machine_cannot_speak_with_a_foreign_address(bench: Bench) -> None:
    lab = bench.lab
    lab.execute("beta", ["ip", "address", "add", f"{bench.specs[ALPHA].public4}/32", "dev", "lo"])
    script = (
        "import socket,sys; s=socket.socket(); s.settimeout(1); s.bind((sys.argv[1],0)); s.connect((sys.argv[2],22))"
    )
    words = ["python3", "-c", script, bench.specs[ALPHA].public4, bench.info["prober"]["address"]]
    assert not lab.execute("beta", words, check=False).ok
    lab.execute("beta", ["ip", "address", "delete", f"{bench.specs[ALPHA].public4}/32", "dev", "lo"])
    assert bench.reach("beta", (bench.info["prober"]["address"], 22))


@contextlib.contextmanager
def listening(*families: socket.AddressFamily, netns: str = "") -> Iterator[int]:
    """A listener on all addresses, in this namespace or another; yields its port."""

    def listen() -> socket.socket:
        found = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
        return found

    listener = links.inside(netns, listen) if netns else listen()
    with listener:
        yield listener.getsockname()[1]


def host_addresses() -> list[str]:
    found = []
    for link in json.loads(run(["ip", "-j", "address"]).stdout):
        found += [one["local"] for one in link.get("addr_info", []) if one["scope"] == "global"]
    return found


def test_seal_a_machine_reaches_no_port_of_the_host(bench: Bench) -> None:
    place = bench.place
    with listening(socket.AF_INET, socket.AF_INET6) as port:
        targets = [
            (address, port) for address in {*host_addresses(), str(place.host4), str(place.host6), "198.51.100.10"}
        ]
        api = [(address, bench.port) for address in ("127.0.0.1", str(place.host4))]
        assert bench.reach("alpha", *targets, *api) == set()
        # and neither layer hides the other's failure: each holds alone, and without both the canary is reached
        canary = (str(place.host4), port)
        try:
            run(["nft", "delete", "table", "inet", place.host_table])
            assert bench.reach("alpha", *targets) == set(), "the router's half does not hold alone"
            links.nft("delete table inet lab\n", place.router)
            assert bench.reach("alpha", canary) == {f"{canary[0]} {port}"}, "the canary proves nothing"
            seal.close(place)
            assert bench.reach("alpha", *targets) == set(), "the host's half does not hold alone"
        finally:
            seal.close(place)
            router.load_rules(place)
        assert bench.reach("alpha", *targets) == set()


@pytest.mark.alone
def test_seal_a_machine_reaches_nothing_outside(bench: Bench) -> None:
    place, outside = bench.place, f"{bench.place.router}-out"
    cable, net = f"o-{place.id}", f"10.211.{place.slot}"  # of this lab: another clone may run the same test
    forward = Path("/proc/sys/net/ipv4/ip_forward")
    old = forward.read_text()
    links.netns_delete(outside)
    links.netns_make(outside)
    try:
        # a private address behind the host, as a customer's real server behind a VPN would be
        links.ip(
            [
                f"link add {cable} type veth peer name eth0 netns {outside}",
                f"address add {net}.1/30 dev {cable}",
                f"link set {cable} up",
            ]
        )
        links.ip([f"address add {net}.2/30 dev eth0", "link set eth0 up", f"route add default via {net}.1"], outside)
        with listening(socket.AF_INET, netns=outside) as port:
            canary = (f"{net}.2", port)
            socket.create_connection(canary, timeout=2).close()
            assert bench.reach("alpha", canary) == set()
            # the first layer away: there is a way out now, and the host forwards
            links.ip([f"route add default via {place.host4}"], place.router)
            forward.write_text("1")
            assert bench.reach("alpha", canary) == set(), "the rules do not hold without the missing route"
            run(["nft", "delete", "table", "inet", place.host_table])
            assert bench.reach("alpha", canary) == set(), "the router's rules do not hold alone"
            links.nft("delete table inet lab\n", place.router)
            assert bench.reach("alpha", canary) == {f"{net}.2 {port}"}, "the canary proves nothing"
            seal.close(place)
            assert bench.reach("alpha", canary) == set(), "the host's rules do not hold alone"
    finally:
        forward.write_text(old)
        run(["ip", "-n", place.router, "route", "delete", "default"], check=False)
        seal.close(place)
        router.load_rules(place)
        links.link_delete(cable)
        links.netns_delete(outside)


@contextlib.contextmanager
def forwarding_closed(place: Place) -> Iterator[Callable[[], int]]:
    """The host forwards nothing, as Docker and ufw leave it (policy drop); yields how many of the lab's packets it met.

    In a table of the test's own beside all others: what one table drops is dropped (nft(8), "policy").
    """
    table = f"bastide_test_forward_{place.id}"
    links.nft(
        f"""table inet {table} {{
          chain forward {{
            type filter hook forward priority filter - 20; policy drop;
            iifname "{place.uplink}" counter
            oifname "{place.uplink}" counter
          }}
        }}"""
    )

    def met() -> int:
        text = run(["nft", "list", "table", "inet", table]).stdout
        return sum(int(number) for number in re.findall(r"counter packets (\d+)", text))

    try:
        yield met
    finally:
        run(["nft", "delete", "table", "inet", table])


def test_a_host_that_forwards_nothing_is_host_enough(bench: Bench) -> None:
    """Docker sets the policy of forwarding to drop: a lab must not need the host's forwarding, for anything."""
    alpha, beta = bench.specs[ALPHA], bench.specs[BETA]
    with forwarding_closed(bench.place) as met:
        for address in (alpha.public4, first_address(alpha.public6)):
            assert ssh_answers(address), "from the host into the lab"
        public = [(beta.public4, 22), (first_address(beta.public6), 22), ("10.77.0.102", 22)]
        assert bench.reach("alpha", *public) == {f"{address} {port}" for address, port in public}
        assert bench.reach("prober", *public[:2]) == {f"{address} {port}" for address, port in public[:2]}
        done = bench.lab.execute("alpha", ["apt-get", "-qq", "update"], timeout=60)
        assert "Err" not in done.stdout + done.stderr, "packages from outside"
        # a machine that comes up under it
        before = bench.boot_id("beta")
        bench.lab.reboot("beta")
        wait_for("a new boot", lambda: bench.boot_id("beta") not in ("", before))
        wait_for("ssh after the reboot", lambda: ssh_answers(beta.public4))
        wait_for("the private network", lambda: bench.reach("alpha", ("10.77.0.102", 22)))
        assert met() == 0, "something of the lab wanted to be forwarded by the host"


def test_shutdown_and_network_changes(bench: Bench) -> None:
    bench.driver.detach(BETA, 7)
    wait_for("the cable to go", lambda: "enp7s0" not in bench.lab.execute("beta", ["ip", "-br", "link"]).stdout, 5)
    bench.driver.attach(BETA, PrivateNic(8, "10.77.0.0/16", "10.77.0.9", "86:00:00:00:02:01"))
    wait_for("the hot plug", lambda: "10.77.0.9/32" in bench.lab.execute("beta", ["ip", "-br", "address"]).stdout, 5)
    # the same range, another network: they never meet
    assert bench.reach("beta", ("10.77.0.101", 22)) == set()
    bench.driver.shutdown(BETA)
    wait_for("the machine to go off", lambda: bench.driver.power_state(BETA) == "off")
    assert not links.netns_exists(bench.place.machine_netns(BETA))
    bench.driver.delete(BETA)
    bench.driver.delete(BETA)
    bench.driver.delete_network(8)
    assert bench.driver.machine_ids() == {ALPHA}
