"""The mesh in use: what somebody changes by hand, an administrator's device, and ssh that is open to the mesh alone.

The prober plays the administrator at home: it joins with the file that `make vpn` prints, and deploys run in its
network, with this machine's files.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from bastide.console import Completed, run
from bastide.stackfile import load, read
from lab import registry
from lab.place import PROBER
from tests.rehearsal.stack import Rehearsal, wait_for

LAB = "flow"

PERSON = "bruno"
CONFIG = "/etc/wireguard/wg0.conf"
ONLY = ("--data", "only=wireguard,ssh,firewall")
DEPLOY = ("pyinfra", "-y", "--fail-percent", "0", "hosts/inventory.py", "deploys/site.py", "--limit", "witness", *ONLY)


def test_what_somebody_changes_by_hand_is_set_right(rehearsal: Rehearsal) -> None:
    """A peer is gone, another may send as everybody, packets are too large: found, told, and set right."""
    mesh = read(rehearsal.file).mesh
    by_hand = "key() { wg show wg0 allowed-ips | grep -F $1/32 | cut -f1; };"
    by_hand += f" wg set wg0 peer $(key {mesh['witness']}) remove; ip link set wg0 mtu 1500;"
    by_hand += f" wg set wg0 peer $(key {mesh['primary']}) allowed-ips 0.0.0.0/0"
    rehearsal.exec("standby", by_hand)
    # cut off from its leader, an etcd cannot say whether its own part is as it should be
    found = {name: machines for name, machines in rehearsal.dry().items() if not name.startswith("etcd | ")}
    assert found == {"wireguard | mesh": ["standby"]}
    rehearsal.deploy("--data", "only=wireguard")
    assert rehearsal.verify("--control", "wireguard-02", "--control", "wireguard-04", check=False).ok


@pytest.fixture(scope="module")
def at_home(rehearsal: Rehearsal) -> Iterator[Rehearsal]:
    """The prober in the mesh, as the device of somebody whose key was made by `make vpn`."""
    words = ["make", "--no-print-directory", "vpn", f"person={PERSON}", "keygen=1", f"stack={rehearsal.stack}"]
    done = run(words, cwd=rehearsal.root, env=rehearsal.env)
    told = dict(line.strip().split(": ", 1) for line in done.stderr.splitlines() if ": " in line)
    assert "▀" in done.stderr, "no QR code"
    private = next(line for line in done.stdout.splitlines() if line.startswith("PrivateKey = ")).split(" = ")[1]
    assert private not in done.stderr
    administrators = dict(load(rehearsal.file)["config"]["bastide:settings"]["wireguard"]["administrators"])
    administrators[PERSON] = {"key": told["key"], "address": told["address"]}
    with ExitStack() as changed:
        changed.enter_context(rehearsal.settings_changed("wireguard.administrators", administrators))
        rehearsal.deploy(*ONLY)
        rehearsal.exec("prober", f"umask 077; cat >{CONFIG} && wg-quick up wg0 2>&1", input=done.stdout)
        try:
            yield rehearsal
        finally:
            rehearsal.exec("prober", f"wg-quick down wg0; rm -f {CONFIG}", check=False)
    rehearsal.deploy(*ONLY)
    assert rehearsal.dry() == {}


def test_a_device_that_joins_reaches_every_machine_and_its_ssh(at_home: Rehearsal) -> None:
    greeting = "timeout 2 bash -c 'head -c 7 </dev/tcp/{}/22'"
    for name, address in read(at_home.file).mesh.items():
        assert at_home.exec("prober", f"ping -n -q -c 2 -i 0.3 -W 3 {address}", check=False).ok, name
        assert at_home.exec("prober", greeting.format(address)).stdout == "SSH-2.0"
        public = at_home.inventory()[name].address
        assert not at_home.exec("prober", greeting.format(public), check=False).ok, "open past the mesh"


def test_an_operator_who_is_not_in_the_mesh_cannot_close_all_other_ways(at_home: Rehearsal) -> None:
    with at_home.settings_changed("ssh.open_to", "vpn"):
        done = at_home.deploy("--limit", "witness", "--data", "only=firewall", check=False)
    said = done.stdout + done.stderr
    assert not done.ok, said
    assert "is back" in said, said
    assert at_home.ssh("witness", "true").ok
    # the session that held it was cut off, and its end may come a minute later: it must not keep the next run out
    assert at_home.exec("witness", "cat /run/bastide-deploy.json").stdout == ""
    assert at_home.dry("--limit", "witness", *ONLY) == {}


@pytest.mark.full("drift")
def test_ssh_is_open_to_the_mesh_alone_and_opens_again(at_home: Rehearsal) -> None:
    """By an operator who is in the mesh: closed to all others, deployed and proven over it, and open again."""
    inventory = ("python", "-m", "hosts", "inventory", "--stack", at_home.stack)
    witness = at_home.inventory()["witness"]
    with ExitStack() as opened, at_home.settings_changed("ssh.open_to", "vpn"):
        opened.callback(_from_home, at_home, *inventory)
        opened.callback(_from_home, at_home, *DEPLOY)
        _from_home(at_home, *DEPLOY)
        _from_home(at_home, *inventory)
        assert at_home.inventory().ssh_address(witness) == read(at_home.file).mesh["witness"]
        with pytest.raises(OSError, match="timed out"):
            socket.create_connection((witness.address, 22), 2)
        _from_home(at_home, "ssh", "-F", str(at_home.build / "ssh_config"), "witness", "true")
        # a second run over the mesh changes nothing, and what is claimed of the ways in holds over it
        assert _changed(_from_home(at_home, *DEPLOY)) == 0
        words = ("--machine", "witness", "-k", "wireguard or firewall or ssh")
        _from_home(at_home, "pytest", "tests/verify", "-q", *words)
    wait_for(lambda: at_home.ssh("witness", "true").ok, "ssh is open to operators again")


def _from_home(rehearsal: Rehearsal, *words: str) -> Completed:
    """A command of this machine's, in the network of the prober."""
    place = registry.find(rehearsal.stack)
    assert place is not None
    mine = ["setpriv", f"--reuid={os.getuid()}", f"--regid={os.getgid()}", "--init-groups"]
    root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    names = {"HOME": os.environ["HOME"], "PATH": os.environ["PATH"], **rehearsal.env}
    line = [*root, "nsenter", f"--net=/run/netns/{place.machine_netns(PROBER)}", *mine, "env"]
    line += [*(f"{key}={value}" for key, value in names.items()), *words]
    done = run(line, cwd=rehearsal.root, check=False, timeout=300)
    assert done.ok, f"{words}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


def _changed(done: Completed) -> int:
    """How many operations changed something, from pyinfra's last table."""
    total = next(line for line in (done.stdout + done.stderr).splitlines() if "Grand total" in line)
    count = total.split()[3]
    return 0 if count == "-" else int(count)
