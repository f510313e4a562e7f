"""What breaks a lab on purpose, by its effect between real machines. Needs root; touches its own lab only."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from collections.abc import Callable, Iterator

import pytest

from bastide.errors import CommandFailed
from lab.backend import FirewallRule
from lab.machines import disk, trouble
from lab.machines.cgroups import open_tree
from lab.machines.seed import first_address
from tests.lab.bench import ALPHA, BETA, EVERYWHERE, NEEDS_ROOT, Bench, ssh_answers, wait_for

LAB = "lab"
pytestmark = NEEDS_ROOT

PRIVATE = {"alpha": "10.77.0.101", "beta": "10.77.0.102"}
_SERVE = "import socket\ns=socket.create_server(('::',9000),family=socket.AF_INET6,dualstack_ipv6=True)\n"
# answers each byte, so that a connection that stands can be seen to live
_ECHO = _SERVE + "while True:\n c,_=s.accept()\n while (d:=c.recv(99)): c.sendall(d)\n"


@pytest.fixture(autouse=True)
def whole(bench: Bench) -> Iterator[None]:
    """Both machines answer each other before each test, and nothing is broken after it."""
    wait_for("alpha and beta to meet", lambda: all(ping(bench, "alpha", to) is not None for to in ways(bench, "beta")))
    yield
    bench.lab.do("unblock")
    bench.lab.do("unslow")


def ways(bench: Bench, name: str) -> list[str]:
    """All addresses of a machine: public v4 and v6, and private."""
    if name == "prober":
        return [bench.info["prober"]["address"], bench.info["prober"]["address6"]]
    spec = next(spec for spec in bench.specs.values() if spec.name == name)
    return [spec.public4, first_address(spec.public6), PRIVATE[name]]


def ping(bench: Bench, source: str, address: str, count: int = 1, wait: int = 1) -> float | None:
    """The smallest round trip in milliseconds; None when nothing comes back."""
    words = ["ping", "-c", str(count), "-i", "0.02", "-W", str(wait), "-q", address]
    done = bench.lab.execute(source, words, check=False)
    found = re.search(r"= ([\d.]+)/([\d.]+)/", done.stdout)
    return float(found[1]) if done.ok and found else None


def meets(bench: Bench, source: str, target: str) -> list[bool]:
    """Does a ping come back, for each address of the target?"""
    return [ping(bench, source, address) is not None for address in ways(bench, target)]


@contextlib.contextmanager
def standing(bench: Bench, address: str) -> Iterator[Callable[[], bool]]:
    """A connection from alpha to beta that stands; yields a question: does an answer come through it within 1 s?"""
    bench.lab.execute("beta", ["systemd-run", "-q", "--collect", "--unit=echo", "python3", "-c", _ECHO])
    wait_for("the listener", lambda: bench.reach("alpha", (address, 9000)), 10)
    script = (
        "import socket,pathlib,time\n"
        f"s=socket.create_connection(('{address}',9000));s.settimeout(1)\n"
        "go,out=pathlib.Path('/run/go'),pathlib.Path('/run/out')\n"
        "while True:\n"
        " if not go.exists(): time.sleep(.02); continue\n"
        " go.unlink()\n"
        " try: s.sendall(b'x'); out.write_text('yes' if s.recv(99) else 'no')\n"
        " except OSError: out.write_text('no')\n"
    )
    bench.lab.execute("alpha", ["systemd-run", "-q", "--collect", "--unit=talk", "python3", "-c", script])

    def ask() -> bool:
        bench.lab.execute("alpha", ["sh", "-c", "rm -f /run/out; touch /run/go"])
        wait_for("the talker", lambda: bench.lab.execute("alpha", ["test", "-s", "/run/out"], check=False).ok, 10)
        return bench.lab.execute("alpha", ["cat", "/run/out"]).stdout == "yes"

    try:
        yield ask
    finally:
        bench.lab.execute("alpha", ["systemctl", "stop", "talk"], check=False)
        bench.lab.execute("beta", ["systemctl", "stop", "echo"], check=False)


def test_block_cuts_two_on_all_networks_and_nobody_else(bench: Bench) -> None:
    with standing(bench, PRIVATE["beta"]) as private:
        assert private()
        bench.lab.do("block", "alpha", "beta")
        assert meets(bench, "alpha", "beta") == [False] * 3
        assert meets(bench, "beta", "alpha") == [False] * 3
        assert not private(), "a connection that stood before goes on"
        assert meets(bench, "prober", "alpha")[:2] == [True, True]
        assert all(ssh_answers(bench.specs[number].public4) for number in (ALPHA, BETA))
        said = bench.lab.do("block", "beta", "alpha")
        assert said.splitlines() == ["cut: alpha <-> beta"], "a second time is one cut"
        assert bench.lab.status()["troubles"] == ["cut: alpha <-> beta"]
        bench.lab.do("unblock", "alpha", "beta")
        assert bench.lab.status()["troubles"] == []
        wait_for("the connection that was cut to go on", private, 20)
    assert meets(bench, "alpha", "beta") == [True] * 3


def test_block_cuts_established_public_connections_silently(bench: Bench) -> None:
    """The cloud firewall lets established connections be; a cut line does not."""
    bench.driver.set_firewall(BETA, (FirewallRule("in", "tcp", "9000", EVERYWHERE),))
    try:
        with standing(bench, bench.specs[BETA].public4) as public:
            assert public()
            bench.lab.do("block", "alpha", "beta", "--one-way")
            assert not public()
    finally:
        bench.driver.set_firewall(BETA, None)


def test_block_one_way_lets_the_other_way_be(bench: Bench) -> None:
    said = bench.lab.do("block", "alpha", "beta", "--one-way")
    assert said.splitlines() == ["cut: alpha -> beta, one way"]
    # neither gets an answer, but beta's packets arrive: alpha's neighbour sees them
    table = "table inet seen { chain c { type filter hook input priority 0; ip saddr 10.77.0.102 counter; }; }"
    bench.lab.execute("alpha", ["nft", "-f", "-"], input=table)
    assert not any(meets(bench, "beta", "alpha"))
    seen = bench.lab.execute("alpha", ["nft", "list", "table", "inet", "seen"]).stdout
    bench.lab.execute("alpha", ["nft", "delete", "table", "inet", "seen"])
    assert "packets 0 " not in seen


def test_block_alone_cuts_off_from_everything(bench: Bench) -> None:
    bench.lab.do("block", "alpha")
    assert not any(meets(bench, "alpha", "beta") + meets(bench, "prober", "alpha"))
    assert not ssh_answers(bench.specs[ALPHA].public4), "the operator is somebody, too"
    assert bench.reach("alpha", ("185.12.64.1", 53), ("169.254.169.254", 80)) == set()
    assert meets(bench, "prober", "beta")[:2] == [True, True]
    assert bench.lab.status()["troubles"] == ["cut: alpha <-> everything"]


def test_block_survives_rule_loads_a_reboot_and_up(bench: Bench) -> None:
    bench.lab.do("block", "alpha", "beta")
    bench.driver.set_firewall(ALPHA, (FirewallRule("in", "icmp", "", EVERYWHERE),))
    bench.driver.set_firewall(ALPHA, None)
    assert not any(meets(bench, "alpha", "beta"))
    before = bench.boot_id("beta")
    bench.lab.reboot("beta")
    wait_for("a new boot", lambda: bench.boot_id("beta") not in ("", before))
    wait_for("ssh after the reboot", lambda: ssh_answers(bench.specs[BETA].public4))
    bench.up()
    wait_for("the lease", lambda: PRIVATE["beta"] in bench.lab.execute("beta", ["ip", "-br", "address"]).stdout)
    assert not any(meets(bench, "beta", "alpha"))


def test_block_the_operator(bench: Bench) -> None:
    bench.lab.do("block", "operator", "alpha")
    assert not ssh_answers(bench.specs[ALPHA].public4)
    assert meets(bench, "prober", "alpha")[:2] == [True, True]


@pytest.mark.alone
def test_slow_delays_both_ways_on_all_networks(bench: Bench) -> None:
    plain = [ping(bench, "alpha", address, 10) for address in ways(bench, "beta")]
    assert all(time is not None and time < 15 for time in plain)
    bench.lab.do("slow", "alpha", "beta", "20ms")
    for address in ways(bench, "beta"):
        slow = ping(bench, "alpha", address, 10)
        assert slow is not None
        assert 40 <= slow < 55
    # nobody else's
    quick = ping(bench, "prober", bench.specs[BETA].public4, 10)
    assert quick is not None
    assert quick < 15
    assert bench.lab.status()["troubles"] == ["slow: alpha <-> beta, 20ms each way"]
    # the second order for the same two replaces the first, in whatever order they are named
    assert bench.lab.do("slow", "beta", "alpha", "5ms").splitlines() == ["slow: beta <-> alpha, 5ms each way"]
    quicker = ping(bench, "alpha", PRIVATE["beta"], 10)
    assert quicker is not None
    assert 10 <= quicker < 25
    bench.lab.do("unslow", "alpha", "beta")
    after = ping(bench, "alpha", PRIVATE["beta"], 10)
    assert after is not None
    assert after < 10
    assert not list(open_tree(bench.place.cgroup).pids("net/delay")), "the relay has nothing to do any more"


def test_slow_keeps_the_firewall_and_says_refused_where_nobody_listens(bench: Bench) -> None:
    bench.lab.do("slow", "alpha", "beta", "10ms")
    four, six = ways(bench, "beta")[:2]
    bench.driver.set_firewall(BETA, (FirewallRule("in", "tcp", "22", EVERYWHERE),))
    try:
        assert bench.reach("alpha", (four, 22), (six, 22)) == {f"{four} 22", f"{six} 22"}
        assert ping(bench, "alpha", four) is None, "the firewall does not let a ping in"
        assert bench.reach("beta", (bench.specs[ALPHA].public4, 22)), "its own connections come back in"
    finally:
        bench.driver.set_firewall(BETA, None)
    # an RST is an answer: it must come back through the relay, too
    script = (
        "import socket,sys\n"
        "try: socket.create_connection((sys.argv[1],9),timeout=3)\n"
        "except OSError as e: print(type(e).__name__)"
    )
    for address in ways(bench, "beta"):
        done = bench.lab.execute("alpha", ["python3", "-c", script, address])
        assert done.stdout.strip() == "ConnectionRefusedError"
    bench.lab.do("block", "alpha", "beta")
    assert not any(meets(bench, "alpha", "beta")), "a slow line can be cut"


def test_slow_loses_the_share_that_was_asked_for(bench: Bench) -> None:
    bench.lab.do("slow", "alpha", "beta", "1ms", "20%")
    words = ["ping", "-c", "400", "-i", "0.005", "-W", "1", "-q", PRIVATE["beta"]]
    done = bench.lab.execute("alpha", words, check=False, timeout=60)
    (lost,) = [float(word) for word in re.findall(r"([\d.]+)% packet loss", done.stdout)]
    # both ways: 1 - 0.8^2 = 36 %; four standard deviations of 400 tries are 9.6
    assert 26 < lost < 46


def test_slow_survives_a_reboot_and_is_mended_by_up(bench: Bench) -> None:
    bench.lab.do("slow", "alpha", "beta", "20ms")
    before = bench.boot_id("beta")
    bench.lab.reboot("beta")
    wait_for("a new boot", lambda: bench.boot_id("beta") not in ("", before))
    wait_for("the private network", lambda: ping(bench, "alpha", PRIVATE["beta"]))
    slow = ping(bench, "alpha", PRIVATE["beta"], 10)
    assert slow is not None
    assert slow >= 40
    open_tree(bench.place.cgroup).kill("net/delay")
    assert not any(meets(bench, "alpha", "beta")), "without its relay a slow line must not be a fast one"
    assert not bench.lab.status()["up"]
    bench.up()
    assert all(meets(bench, "alpha", "beta"))
    assert bench.lab.status()["up"]


def test_names_that_are_not_there_are_refused_with_those_that_are(bench: Bench) -> None:
    for words in (["block", "alpha", "gamma"], ["slow", "gamma", "beta", "1ms"], ["fill", "gamma"]):
        with pytest.raises(CommandFailed) as failure:
            bench.lab.do(*words)
        assert "'gamma'" in failure.value.message
        assert "prober, alpha, beta" in failure.value.message
    with pytest.raises(CommandFailed) as failure:
        bench.lab.do("slow", "alpha", "beta", "20")
    assert "20ms" in failure.value.message
    assert trouble.cuts(bench.place) == []


needs_loop = pytest.mark.skipif(not disk.has_loop(), reason="without loop devices the machines share the host's disk")


@needs_loop
def test_fill_is_a_full_disk(bench: Bench) -> None:
    write = ["sh", "-c", "head -c 2000000 /dev/zero >/root/two-megabytes && sync"]
    bench.lab.do("fill", "beta")
    done = bench.lab.execute("beta", write, check=False)
    assert "No space left" in done.stderr
    assert next(one for one in bench.lab.status()["machines"] if one["name"] == "beta")["filled"]
    # a database's folder is on the same disk
    volume = bench.lab.execute("beta", ["sh", "-c", "head -c 2000000 /dev/zero >/home/x"], check=False)
    assert "No space left" in volume.stderr
    bench.lab.execute("beta", ["rm", "-f", "/home/x", "/root/two-megabytes"])
    bench.lab.do("fill", "beta", "--leave", "50")
    free = int(bench.lab.execute("beta", ["df", "--output=avail", "-B1", "/"]).stdout.split()[1])
    assert 45e6 < free <= 51e6
    assert bench.lab.execute("beta", write, check=False).ok
    bench.lab.do("unfill", "beta")
    bench.lab.do("unfill", "beta")
    free = int(bench.lab.execute("beta", ["df", "--output=avail", "-B1", "/"]).stdout.split()[1])
    assert free > 300e6


@needs_loop
def test_a_snapshot_brings_the_disk_back_and_a_running_machine_goes_on(bench: Bench) -> None:
    bench.lab.execute("beta", ["sh", "-c", "echo before >/root/note"])
    before = bench.boot_id("beta")
    # not synced by anybody: what was written is in the snapshot all the same
    bench.lab.do("snapshot", "beta", "good")
    assert bench.boot_id("beta") == before, "the machine was switched off"
    assert bench.lab.execute("beta", ["sh", "-c", "echo after >/root/note; sync"]).ok
    assert "it has: good" in _refused(bench, "restore", "beta", "bad")
    bench.lab.do("restore", "beta", "good")
    wait_for("ssh after the restore", lambda: ssh_answers(bench.specs[BETA].public4))
    assert bench.lab.execute("beta", ["cat", "/root/note"]).stdout == "before\n"
    assert bench.boot_id("beta") not in ("", before)
    assert next(one for one in bench.lab.status()["machines"] if one["name"] == "beta")["snapshots"] == ["good"]
    bench.lab.do("forget", "beta", "good")
    assert next(one for one in bench.lab.status()["machines"] if one["name"] == "beta")["snapshots"] == []


def test_a_kept_lab_is_not_taken_down(bench: Bench) -> None:
    bench.lab.do("keep")
    assert bench.lab.status()["kept"]
    assert "keep off" in _refused(bench, "down")
    assert bench.lab.status()["up"]
    bench.lab.do("keep", "off")
    assert not bench.lab.status()["kept"]


def test_the_admin_apis_token_is_its_own_and_roots(bench: Bench) -> None:
    token = bench.lab.do("admin-token").strip()
    assert re.fullmatch(r"[0-9a-f]{64}", token)
    assert token != bench.token
    assert (bench.place.folder / "admin.token").stat().st_mode & 0o777 == 0o600
    assert token not in json.dumps(bench.info)
    for path, mine, status in (("/_lab/faults", token, b"200"), ("/_lab/faults", bench.token, b"401"),
                               ("/v1/servers", token, b"401"), ("/v1/servers", bench.token, b"200")):  # fmt: skip
        with socket.create_connection(("127.0.0.1", bench.port), timeout=5) as connection:
            request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {mine}\r\nConnection: close\r\n\r\n"
            connection.sendall(request.encode())
            assert connection.recv(100).split()[1] == status
    bench.up()
    assert bench.lab.do("door-token").strip() == token, "the verb's first name"


def _refused(bench: Bench, *words: str) -> str:
    with pytest.raises(CommandFailed) as failure:
        bench.lab.do(*words)
    return failure.value.message
