"""A platform whose primary somebody else made, in another network, behind the back of the cloud's API.

A stack and a lab of its own: one such machine and two that `pulumi up` makes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from bastide.console import run
from bastide.stackfile import dump, load
from hosts.transport.known_hosts import fingerprint, known_hosts_path, read_records
from lab.client import Lab
from tests.rehearsal.conftest import fresh_stack
from tests.rehearsal.stack import Rehearsal, kill_tree, wait_for

LAB = "existing"

STACK = "rehearsal-existing"
BOX = "box"
ELSEWHERE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG540gUHism/JgBPUdTQKEPUH1ECuHCbgcCLRpL7O5vs"


@pytest.fixture(scope="module")
def owned(request: pytest.FixtureRequest) -> Iterator[Rehearsal]:
    """The lab is up, the machine stands there as its owner handed it over, the stack file names it: nothing else."""
    for stack in fresh_stack(STACK, keep=request.config.getoption("--keep")):
        stack.make("lab")
        key = stack.build / "keys" / "bastide.pub"
        told = json.loads(stack.lab("stranger", "add", BOX, "--authorized-key", str(key), "--json").stdout)
        document = load(stack.file)
        # the database is rehearsed elsewhere (test_postgres.py); here it would only take its time to be installed
        del document["config"]["bastide:settings"]["postgres"]
        document["config"]["bastide:settings"]["servers"]["primary"] = {
            **{"provider": "existing", "role": "primary", "hoster": "OVH", "city": "Gravelines", "country": "FR"},
            "mesh_address": "10.21.0.11",
            **{word: told[word] for word in ("address", "address6", "host_key", "user")},
        }
        stack.file.write_text(dump(document))
        stack.make("infra")
        yield stack


@pytest.fixture(scope="module")
def proven(owned: Rehearsal) -> Rehearsal:
    """The same after `make up`."""
    done = owned.make("up")
    (owned.build / "up.log").write_text(done.stdout + done.stderr)
    return owned


def test_it_is_a_stock_machine_that_the_api_does_not_know(owned: Rehearsal) -> None:
    keys = owned.exec(BOX, "ls /etc/ssh/ssh_host_*_key").stdout
    assert all(kind in keys for kind in ("rsa", "ecdsa", "ed25519")), keys
    assert "(ALL) NOPASSWD: ALL" in owned.exec(BOX, "sudo -l -U debian").stdout
    assert {server["name"] for server in owned.api("GET", "/v1/servers")["servers"]} == {"standby", "witness"}


@pytest.mark.full("provider")
def test_another_host_key_than_the_declared_one_is_refused_before_a_login(owned: Rehearsal) -> None:
    with owned.settings_changed("servers.primary.host_key", ELSEWHERE):
        said = owned.make("deploy", check=False)
        assert "settings and machines differ: primary has the id existing_" in said.stderr
        owned.make("infra")
        done = owned.make("deploy", check=False)
    assert not done.ok
    text = " ".join((done.stdout + done.stderr).split())
    assert f"the settings declare {fingerprint(ELSEWHERE)}" in text, text
    assert "correct settings.servers.primary.host_key" in text
    assert "Traceback" not in text
    assert not _has_account(owned)
    assert "Accepted" not in owned.exec(BOX, "journalctl -q -u ssh -o cat").stdout
    owned.make("infra")


@pytest.mark.full("provider")
def test_a_first_contact_that_was_killed_is_completed(owned: Rehearsal) -> None:
    """Killed when the account appears: it may have its key by then or not, and no record says anything of it."""
    words = [sys.executable, "-m", "hosts", "enroll", "--stack", STACK]
    env = {**os.environ, **owned.env}
    process = subprocess.Popen(words, cwd=owned.root, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    wait_for(lambda: _has_account(owned) or process.poll() is not None, "the account is made", seconds=60)
    kill_tree(process.pid)
    process.communicate(timeout=30)
    assert process.returncode == -9, "it was too late for a kill"
    assert "primary" not in _records(owned)
    owned.lab("crash", BOX)
    owned.lab("start", BOX)
    owned.make("deploy")
    assert "primary" in _records(owned)


def test_it_is_proven_as_the_others_but_for_its_place(proven: Rehearsal) -> None:
    outcomes = {(row["control"], row["machine"]): row["outcome"] for row in proven.evidence()["rows"]}
    assert "failed" not in outcomes.values(), outcomes
    # what cannot be proven on a machine of the lab at all (a container's clock, say) is another matter
    theirs, ours = ({control for (control, machine), outcome in outcomes.items()
        if machine == name and outcome != "proven"} for name in ("primary", "standby"))  # fmt: skip
    # dns-03: whose address it is sets its reverse name, and nobody has here
    assert theirs - ours == {"site-01", "site-02", "dns-03"}
    assert outcomes[("site-01", "standby")] == "proven"
    page = (proven.build / "security.html").read_text()
    assert "stand in the European Union" not in page
    assert "On primary: it is a machine of OVH; that it stands in Gravelines, France, is a declaration." in page


def test_each_machine_names_the_others_where_it_reaches_them(proven: Rehearsal) -> None:
    public = {machine.name: machine.address for machine in proven.inventory()}
    told = {name: _names(proven, name) for name in (BOX, "standby")}
    assert told[BOX] == public
    assert told["standby"] == {"primary": public["primary"], "standby": "10.20.0.12", "witness": "10.20.0.13"}


def test_it_is_in_the_mesh_over_public_addresses(proven: Rehearsal) -> None:
    public = {machine.name: machine.address for machine in proven.inventory()}
    ends = "wg show wg0 endpoints | cut -f2"
    assert set(proven.exec(BOX, ends).stdout.split()) >= {f"{public[name]}:51820" for name in ("standby", "witness")}
    theirs = set(proven.exec("standby", ends).stdout.split())
    assert theirs >= {f"{public['primary']}:51820", "10.20.0.13:51820"}


def test_a_second_run_changes_nothing(proven: Rehearsal) -> None:
    proven.pulumi("preview", "--expect-no-changes")
    assert proven.dry() == {}


def test_the_first_user_is_locked(proven: Rehearsal) -> None:
    done = proven.ssh("primary", "true", user="debian", key=proven.build / "keys" / "bastide")
    assert "Permission denied" in done.stderr
    assert proven.exec(BOX, "passwd -S debian").stdout.split()[1] == "L"
    assert proven.exec(BOX, "id -nG debian").stdout.split() == ["debian"]
    assert "not allowed" in proven.exec(BOX, "sudo -l -U debian").stdout


def test_it_outlives_a_power_cut_and_a_new_api(proven: Rehearsal) -> None:
    """The cloud removes machines that no server owns when it comes up; this one is none of its own."""
    proven.lab("crash", BOX)
    proven.lab("start", BOX)
    _end_api(proven)
    proven.make("lab")
    wait_for(lambda: proven.ssh("primary", "true").ok, "primary answers ssh")
    assert proven.dry() == {}
    assert proven.verify("--machine", "primary", check=False).ok


def test_a_stranger_that_is_removed_is_gone(proven: Rehearsal) -> None:
    key = str(proven.build / "keys" / "bastide.pub")
    told = proven.lab("stranger", "add", "other", "--user", "root", "--authorized-key", key).stdout
    assert "root@198." in told
    proven.lab("stranger", "remove", "other")
    names = [machine["name"] for machine in json.loads(proven.lab("status", "--json").stdout)["machines"]]
    assert "other" not in names
    assert BOX in names


def _has_account(stack: Rehearsal) -> bool:
    return Lab(stack.stack).execute(BOX, ["getent", "passwd", "bastide"], check=False).ok


def _records(stack: Rehearsal) -> list[str]:
    """The machines that have a final record."""
    found = read_records(known_hosts_path(STACK, stack.root)).values()
    return [record.alias.removeprefix(f"bastide-{STACK}-").rpartition("-")[0] for record in found if record.final]


def _names(stack: Rehearsal, machine: str) -> dict[str, str]:
    lines: list[Any] = [line.split() for line in stack.exec(machine, "cat /etc/hosts").stdout.splitlines()]
    return {words[1]: words[0] for words in lines if len(words) == 2 and words[1] in ("primary", "standby", "witness")}


def _end_api(stack: Rehearsal) -> None:
    """kill -9 of the lab's daemon, which is known by the port that it holds."""
    port = load(stack.file)["config"]["bastide:settings"]["lab"]["port"]
    root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    listeners = run([*root, "ss", "-Hltnp", f"sport = :{port}"]).stdout
    (pid,) = set(re.findall(r"pid=(\d+)", listeners))
    run([*root, "kill", "-9", pid])
