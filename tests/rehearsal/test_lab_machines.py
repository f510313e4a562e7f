"""The lab's machines, for real: a lab of the tests' own is made, looked at from all sides, broken, and taken away.

Needs root, and touches nothing but its own labs. The order of the tests is the order in the file: boot first, the
destructive ones last.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bastide.console import Completed, run
from bastide.errors import CommandFailed
from lab import registry
from lab.backend import FirewallRule, MachineSpec, PrivateNic
from lab.client import Lab
from lab.machines import disk, links, router, seal
from lab.machines.cgroups import open_tree
from lab.machines.driver import Driver
from lab.machines.seed import first_address
from lab.machines.store import Record
from lab.place import Place

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a lab needs root")

SCALE = float(os.environ.get("TIMEOUT_SCALE", "1"))
ALPHA, BETA = 101, 102
EVERYWHERE = ("0.0.0.0/0", "::/0")
# tries all targets at once and prints those that answered a TCP connect
_REACH = """
import json, socket, sys, threading
found = []
def attempt(host, port):
    try:
        socket.create_connection((host, port), timeout=1.0).close()
        found.append(f"{host} {port}")
    except OSError:
        pass
threads = [threading.Thread(target=attempt, args=tuple(one)) for one in json.loads(sys.argv[1])]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(json.dumps(found))
"""


@dataclass
class Bench:
    """The lab under test, and how to get at it."""

    lab: Lab
    place: Place
    driver: Driver
    info: dict[str, Any]
    info_file: Path
    key: Path
    port: int
    token: str
    specs: dict[int, MachineSpec]

    def record(self, number: int) -> Record:
        return Record(self.place, number)

    def reach(self, name: str, *targets: tuple[str, int]) -> set[str]:
        """Which of the targets answer a TCP connect from inside of the machine."""
        words = ["python3", "-c", _REACH, json.dumps(targets)]
        return set(json.loads(self.lab.execute(name, words).stdout))

    def boot_id(self, name: str) -> str:
        done = self.lab.execute(name, ["cat", "/proc/sys/kernel/random/boot_id"], check=False)
        return done.stdout.strip() if done.ok else ""

    def up(self, port: int | None = None) -> dict[str, Any]:
        return self.lab.up(
            port=port or self.port, token=self.token, authorized_key=self.key.with_suffix(".pub"), info=self.info_file
        )


def wait_for(what: str, look: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds * SCALE
    while not look():
        assert time.monotonic() < deadline, f"{what}: not within {seconds * SCALE:g} s"
        time.sleep(0.05)


def ssh_answers(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=1) as connection:
            connection.settimeout(2)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def ssh(bench: Bench, address: str, command: str, *options: str) -> Completed:
    words = [word for option in ("BatchMode=yes", "LogLevel=ERROR", *options) for word in ("-o", option)]
    return run(["ssh", "-i", bench.key, *words, f"root@{address}", command], timeout=20)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def left_behind(place: Place) -> list[str]:
    """Everything on this host that carries the lab's name."""
    marks = (place.id,)
    seen = [f"netns {name}" for name in links.netns_names()]
    seen += [f"link {path.name}" for path in Path("/sys/class/net").iterdir()]
    seen += [f"nft {line}" for line in run(["nft", "list", "tables"]).stdout.splitlines()]
    seen += [f"mount {line}" for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    seen += [f"loop {line}" for line in run(["losetup", "--list"]).stdout.splitlines()]
    seen += [f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob("**/bastide-lab-*")]
    seen += [f"state {path}" for path in Path("/var/lib").glob("bastide-lab/*")]
    seen += [f"route {line}" for line in run(["ip", "route"]).stdout.splitlines()]
    seen += [f"nspawn {path}" for path in Path("/run/systemd/nspawn").glob("*/*")]
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            seen.append(f"process {command.read_bytes().decode(errors='replace')}")
    return [line for line in seen if any(mark in line for mark in marks)]


def sysctls() -> dict[str, str]:
    names = ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "fs/inotify/max_user_instances")
    return {name: Path("/proc/sys", name).read_text() for name in names}


@pytest.fixture(scope="module")
def before() -> tuple[dict[str, str], bool]:
    return sysctls(), Path("/var/lib/bastide-lab").exists()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, before: object) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("lab")
    key = folder / "operator"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
    lab = Lab("labtest")
    lab.down()
    info_file = folder / "info.json"
    port, token = free_port(), secrets.token_hex(32)
    info = lab.up(port=port, token=token, authorized_key=key.with_suffix(".pub"), info=info_file)
    place = registry.find("labtest")
    assert place is not None
    driver = Driver(place)
    public = key.with_suffix(".pub").read_text().strip()
    prefix = place.range6.network_address
    specs = {
        number: MachineSpec(
            id=number,
            name=name,
            image="debian-13",
            cpus=2,
            memory_mb=4096,
            disk_gb=1,
            public_mac=f"96:00:00:00:01:{number:02x}",
            public4=str(place.range4[number]),
            public6=f"{prefix + (number << 64)}/64",
            user_data=f"#cloud-config\nwrite_files: [{{path: /etc/told, content: told {name}}}]\n",
            metadata={"hostname": name, "region": "eu-central", "instance-id": str(number)},
            ssh_keys=keys,
        )
        for number, name, keys in ((ALPHA, "alpha", (public,)), (BETA, "beta", ()))
    }
    try:
        for number, spec in specs.items():
            driver.create(spec)
            address = f"10.77.0.{number}"
            driver.attach(number, PrivateNic(7, "10.77.0.0/16", address, f"86:00:00:00:01:{number:02x}"))
            driver.start(number)
        yield Bench(lab, place, driver, info, info_file, key, port, token, specs)
    finally:
        lab.down()


def test_ssh_answers_over_both_families_as_the_operator(bench: Bench) -> None:
    spec = bench.specs[ALPHA]
    for address, office in ((spec.public4, "198.51.100.10"), (first_address(spec.public6), "2001:db8:ffff::10")):
        wait_for(f"ssh at {address}", partial(ssh_answers, address))
        done = ssh(bench, address, "echo $SSH_CLIENT", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null")
        assert done.stdout.split()[0] == office


def test_the_prober_shows_the_host_key_that_was_promised(bench: Bench) -> None:
    told = bench.info["prober"]
    known = bench.info_file.with_name("known_hosts")
    known.write_text(f"{told['address']} {told['host_key']}\n{told['address6']} {told['host_key']}\n")
    for address in (told["address"], told["address6"]):
        done = ssh(bench, address, "nmap --version", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={known}")
        assert done.stdout.startswith("Nmap")


def test_the_machine_is_a_healthy_debian_13(bench: Bench) -> None:
    for name in ("alpha", "beta"):
        done = bench.lab.execute(name, ["systemctl", "is-system-running", "--wait"], check=False)
        failed = bench.lab.execute(name, ["systemctl", "--failed", "--plain", "--no-legend"]).stdout
        assert done.stdout.strip() == "running", failed
        assert bench.lab.execute(name, ["hostname"]).stdout.strip() == name
        assert bench.lab.execute(name, ["cat", "/etc/told"]).stdout == f"told {name}"
    assert "VERSION_CODENAME=trixie" in bench.lab.execute("alpha", ["cat", "/etc/os-release"]).stdout
    assert bench.lab.execute("alpha", ["cloud-init", "status"]).stdout.strip() == "status: done"
    assert bench.lab.execute("alpha", ["passwd", "--status", "root"]).stdout.split()[1] == "L"


@pytest.mark.skipif(not disk.has_loop(), reason="without loop devices the machines share the host's disk")
def test_the_disk_is_as_large_as_ordered(bench: Bench) -> None:
    done = bench.lab.execute("alpha", ["fallocate", "-l", "2G", "/root/too-much"], check=False)
    assert "No space left" in done.stderr
    bench.lab.execute("alpha", ["rm", "-f", "/root/too-much"])


def test_exec_passes_input_output_and_exit_code(bench: Bench) -> None:
    assert bench.lab.execute("alpha", ["cat"], input="hello").stdout == "hello"
    assert bench.lab.execute("alpha", ["sh", "-c", "exit 7"], check=False).returncode == 7
    environment = bench.lab.execute("alpha", ["env"]).stdout
    assert {line.split("=")[0] for line in environment.splitlines()} <= {
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "LANG",
        "TERM",
    }


def test_no_key_of_the_lab_lies_in_a_machine(bench: Bench) -> None:
    keys = bench.lab.execute("alpha", ["cat", "/root/.ssh/authorized_keys"]).stdout
    assert keys.strip() == bench.specs[ALPHA].ssh_keys[0]
    assert not bench.lab.execute("beta", ["test", "-s", "/root/.ssh/authorized_keys"], check=False).ok
    digest = hashlib.sha256(bench.token.encode()).hexdigest()
    for secret in (bench.token, digest):
        found = bench.lab.execute("beta", ["grep", "-rlF", secret, "/etc", "/root", "/var", "/run"], check=False)
        assert found.stdout == ""


def test_private_network_is_layer_3(bench: Bench) -> None:
    wait_for("the lease", lambda: "10.77.0.101/32" in bench.lab.execute("alpha", ["ip", "-br", "address"]).stdout)
    wait_for("the other lease", lambda: "10.77.0.102/32" in bench.lab.execute("beta", ["ip", "-br", "address"]).stdout)
    link = json.loads(bench.lab.execute("alpha", ["ip", "-j", "link", "show", "enp7s0"]).stdout)[0]
    assert (link["mtu"], link["address"]) == (1450, "86:00:00:00:01:65")
    way = json.loads(bench.lab.execute("alpha", ["ip", "-j", "route", "get", "10.77.0.102"]).stdout)[0]
    assert (way["gateway"], way["dev"], way["prefsrc"]) == ("10.77.0.1", "enp7s0", "10.77.0.101")
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
    foreign = ["curl", "-s", "-m", "2", "--interface", "lo", f"{base}/metadata"]
    assert not bench.lab.execute("alpha", foreign, check=False).ok


def test_packages_can_be_had(bench: Bench) -> None:
    done = bench.lab.execute("alpha", ["apt-get", "-qq", "update"], timeout=60)
    assert "Err" not in done.stdout + done.stderr
    assert bench.lab.execute("alpha", ["apt-get", "-qq", "--print-uris", "install", "nginx-light"]).stdout
    # and nothing else has a name
    assert not bench.lab.execute("alpha", ["getent", "hosts", "example.com"], check=False).ok


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


def test_power_cut_is_a_cut(bench: Bench) -> None:
    spec, before_cut = bench.specs[ALPHA], bench.boot_id("alpha")
    with socket.create_connection((spec.public4, 22), timeout=2) as connection:
        assert connection.recv(4) == b"SSH-"
        began = time.monotonic()
        bench.lab.crash("alpha")
        took = time.monotonic() - began
        connection.settimeout(1)
        with contextlib.suppress(TimeoutError):
            while connection.recv(100):
                pass
            pytest.fail("the dead machine closed its connection")
        with pytest.raises(TimeoutError):
            connection.recv(1)
    assert took < 2 * SCALE
    assert bench.driver.power_state(ALPHA) == "off"
    assert not ssh_answers(spec.public4)
    bench.lab.start("alpha")
    wait_for("ssh after the cut", lambda: ssh_answers(spec.public4))
    assert bench.boot_id("alpha") not in ("", before_cut)
    wait_for("the private network", lambda: bench.reach("alpha", ("10.77.0.102", 22)))


def test_reboot_is_a_fresh_boot(bench: Bench) -> None:
    before_boot = bench.boot_id("alpha")
    bench.lab.execute("alpha", ["nft", "add", "table", "inet", "marker"])
    bench.lab.execute("alpha", ["sysctl", "-qw", "net.ipv4.conf.all.log_martians=1"])
    bench.lab.execute("alpha", ["sh", "-c", "echo kept >/root/kept; sync"])
    bench.lab.reboot("alpha")
    wait_for("a new boot", lambda: bench.boot_id("alpha") not in ("", before_boot))
    wait_for("ssh after the reboot", lambda: ssh_answers(bench.specs[ALPHA].public4))
    assert bench.lab.execute("alpha", ["nft", "list", "tables"]).stdout.strip() == ""
    assert bench.lab.execute("alpha", ["sysctl", "-n", "net.ipv4.conf.all.log_martians"]).stdout.strip() == "0"
    assert bench.lab.execute("alpha", ["cat", "/root/kept"]).stdout == "kept\n"
    wait_for("the private network", lambda: bench.reach("alpha", ("10.77.0.102", 22)))


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


def test_second_up_changes_nothing(bench: Bench) -> None:
    boots = {name: bench.boot_id(name) for name in ("alpha", "prober")}
    daemon = list(open_tree(bench.place.cgroup).pids("daemon"))
    rules = run(["nft", "list", "ruleset"]).stdout
    began = time.monotonic()
    assert bench.up() == bench.info
    assert time.monotonic() - began < 2 * SCALE
    assert {name: bench.boot_id(name) for name in boots} == boots
    assert list(open_tree(bench.place.cgroup).pids("daemon")) == daemon
    assert run(["nft", "list", "ruleset"]).stdout == rules


def test_a_port_in_use_is_refused_before_anything_is_touched(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(CommandFailed) as failure:
        bench.up(port=taken.getsockname()[1])
    assert "cannot be had" in failure.value.message
    assert bench.lab.status()["up"]


def test_two_labs_do_not_touch_each_other(bench: Bench, tmp_path: Path) -> None:
    boots = {name: bench.boot_id(name) for name in ("alpha", "prober")}
    other = Lab("labtest-two")
    try:
        info = other.up(
            port=free_port(), token=bench.token, authorized_key=bench.key.with_suffix(".pub"), info=tmp_path / "info"
        )
        place = registry.find(other.name)
        assert place is not None
        assert not place.range4.overlaps(bench.place.range4)
        assert bench.reach("alpha", (info["prober"]["address"], 22), (info["prober"]["address6"], 22)) == set()
    finally:
        other.down()
    assert left_behind(place) == []
    assert bench.lab.status()["up"]
    assert {name: bench.boot_id(name) for name in boots} == boots


def test_up_mends_what_was_killed(bench: Bench) -> None:
    tree = open_tree(bench.place.cgroup)
    boot = bench.boot_id("prober")
    for group in ("daemon", "net/dns"):
        for pid in list(tree.pids(group)):
            os.kill(pid, signal.SIGKILL)
    wait_for("the daemon to be gone", lambda: not tree.populated("daemon"), 5)
    assert bench.boot_id("prober") == boot, "machines do not hang on the daemon"
    assert not bench.lab.status()["up"]
    bench.up()
    assert bench.lab.status()["up"]
    assert bench.boot_id("prober") == boot
    assert bench.lab.execute("prober", ["getent", "hosts", "example.com"], check=False).returncode == 2


def test_down_after_a_massacre_leaves_nothing(bench: Bench, before: tuple[dict[str, str], bool]) -> None:
    tree = open_tree(bench.place.cgroup)
    keepers = [pid for record in ("m0", f"m{ALPHA}") for pid in tree.pids(f"{record}/keeper")]
    assert keepers
    for pid in [*keepers, *tree.pids("daemon")]:
        os.kill(pid, signal.SIGKILL)
    # as if killed in the middle of a write
    (bench.place.folder / "machines" / "999").mkdir()
    (bench.place.folder / "lab.json").write_text('{"po')
    began = time.monotonic()
    bench.lab.down()
    assert time.monotonic() - began < 5 * SCALE
    assert left_behind(bench.place) == []
    values, others = before
    if not others:
        assert sysctls() == values
        assert not Path("/var/lib/bastide-lab").exists()
    bench.lab.down()
