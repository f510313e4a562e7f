"""Canaries: every secret of the stack is looked for in everything that day-two commands print, write, or start."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bastide.authority import Authority
from bastide.cluster import password, role_verifier
from bastide.console import Completed, run
from bastide.mesh import machine_key
from bastide.secrets import Keyring, keyring_from
from bastide.stackfile import SECRETS_KEY, read
from deploys.etcd import membership
from lab.place import lab_id
from tests.rehearsal.canary import PATH, canary
from tests.rehearsal.stack import DEPLOY, Rehearsal, wait_for
from tests.rehearsal.watcher import Watcher, forms

LAB = "database"

MACHINES = ("primary", "standby", "witness")
# the engine hands a program its configuration, opened, in the first variable of that one process; the second is the
# checks' own, of which their children get nothing; the third is the lab's object storage; etcdctl takes a password by
# its environment or its argv only, and runs as root: proc(5) shows the environment to nobody else; the last are the
# lab's sink for mail and webhooks
OPENED = frozenset(
    {"PULUMI_CONFIG", "BASTIDE_STORAGE_SECRET_KEY", "BASTIDE_PROVIDER_TOKEN", "MINIO_ROOT_PASSWORD", "ETCDCTL_PASSWORD"}
    | {"SINK_PASSWORD", "SINK_HOOK", "SINK_BEAT"}
)
# made again while the watcher looks; what the guards of a change ask by (root.env) stays
DATABASE_FILES = "/etc/bastide/postgres/server.key /etc/pgbouncer/userlist.txt"

PINGS_A_SECOND = 10
# a handshake that meets a machine between its new key and the others' word of it is tried again after 5 s
LONGEST_GAP_SECONDS = 8.0


def keyring(rehearsal: Rehearsal) -> Keyring:
    return keyring_from(rehearsal.stack, opened(rehearsal)["master"])


def opened(rehearsal: Rehearsal) -> Any:
    config = json.loads(rehearsal.pulumi("config", "--json", "--show-secrets").stdout)
    return config[SECRETS_KEY]["objectValue"]


def canaries(rehearsal: Rehearsal) -> list[str]:
    """Token, masters, passphrase, the storage's key, private keys, bootstrap host keys, and what was derived."""
    return rehearsal.of_the_file("canaries", lambda: _canaries(rehearsal))


def _canaries(rehearsal: Rehearsal) -> list[str]:
    ring = keyring(rehearsal)
    found = [rehearsal.token(), canary(ring), (rehearsal.build / "passphrase").read_text().strip()]
    found += [master.get_secret_value().hex() for master in ring.masters.values()]
    found += [key.get_secret_value() for one in rehearsal.inventory() for key in [machine_key(ring, one).private]]
    found += [value for name, value in rehearsal.storage_keys().items() if "SECRET" in name]
    # of a URL its last word: where it leads is no secret
    found += [value.rpartition("/")[2] for value in opened(rehearsal)["alerts"].values()]
    found += database_secrets(rehearsal, ring)
    pems = [ring.bootstrap_host_key(name, 1).private.get_secret_value() for name in MACHINES]
    pems += [path.read_text() for path in (rehearsal.build / "keys").iterdir() if path.suffix != ".pub"]
    return [*found, *(pem.splitlines()[3] for pem in pems)]


def database_secrets(rehearsal: Rehearsal, ring: Keyring) -> list[str]:
    """Passwords and verifiers of every role, etcd's passwords, and a line of each certificate's key."""
    wanted = read(rehearsal.file).postgres
    assert wanted
    roles = ("postgres", "patroni", "replicator", "rewinder", *wanted.roles)
    found = [password(ring, role).get_secret_value() for role in roles]
    found += [role_verifier(ring, role).get_secret_value() for role in wanted.roles]
    for version in ring.masters:
        found += [membership.root_password(ring, version), membership.patroni_password(ring, version)]
    kinds = ("etcd", "etcd-peers", "postgres")
    names = [*MACHINES, *(f"{name}-patroni" for name in MACHINES)]
    issued = [Authority(ring, kind).issue(name, datetime.now(UTC)) for kind in kinds for name in names]
    # the second line holds the key's end; the first begins with what all keys begin with
    return [*found, *(one.key.get_secret_value().splitlines()[2] for one in issued)]


def leaks(done: Completed, secrets: list[str]) -> list[str]:
    data = (done.stdout + done.stderr).encode()
    return [secret[:6] + "..." for secret in secrets if any(form in data for form in forms(secret))]


def deploy_canary(rehearsal: Rehearsal, *words: str) -> Completed:
    line = ["pyinfra", "-y", "--fail-percent", "0", *words, "hosts/inventory.py", "tests/rehearsal/canary.py"]
    return run(line, cwd=rehearsal.root, env=rehearsal.env, check=False, timeout=300)


@pytest.mark.parametrize(
    "words",
    [
        ("pyinfra", "-y", "-vvv", "--diff", "hosts/inventory.py", "tests/rehearsal/canary.py"),
        ("pyinfra", "-y", "-vv", "--diff", "hosts/inventory.py", "deploys/site.py"),
        ("pyinfra", "--dry", "-vv", "--debug-operations", "hosts/inventory.py", "tests/rehearsal/canary.py"),
        ("pyinfra", "--dry", "--json", "--debug-operations", "hosts/inventory.py", "deploys/site.py"),
        ("pyinfra", "--json", "hosts/inventory.py", "debug-inventory"),
        ("pulumi", "preview", "--diff", "--refresh"),
        ("pulumi", "preview", "--json", "--show-sames"),
        ("pulumi", "stack", "output", "--json"),
        ("pulumi", "stack", "export"),
        ("pulumi", "config", "--json"),
        ("pytest", "tests/verify", "-vv", "--tb=long", "-k", "ssh or users"),
        ("python", "-m", "hosts", "plan"),
        ("python", "-m", "hosts", "drift", "--json"),
        ("python", "-m", "hosts", "status", "--json"),
        ("python", "-m", "hosts", "doctor"),
        ("make", "--trace", "page"),
    ],
    ids=lambda words: " ".join(words[:6]),
)
def test_no_command_prints_a_secret(rehearsal: Rehearsal, words: tuple[str, ...]) -> None:
    for machine in MACHINES:
        rehearsal.exec(machine, f"rm -f {PATH}")  # so that there is something to show
    env = {**rehearsal.env, "PULUMI_STACK": rehearsal.stack}
    line = [*words, f"stack={rehearsal.stack}"] if words[0] == "make" else list(words)
    done = run(line, cwd=rehearsal.root, env=env, check=False, timeout=300)
    # plan and drift end with 2 when something differs, status and doctor when something is to be done; so does make,
    # for a page that says what other tests left unproven
    fine = (0, 2) if words[0] in ("python", "make") else (0,)
    assert done.returncode in fine, done.stdout[-2000:] + done.stderr[-2000:]
    assert done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr, done.stderr[-2000:]
    assert leaks(done, canaries(rehearsal)) == []


def test_a_planned_secret_shows_that_it_differs_and_not_how(rehearsal: Rehearsal, tmp_path: Path) -> None:
    for machine in MACHINES:
        rehearsal.exec(machine, f"rm -f {PATH}")
    listed = tmp_path / "files.jsonl"
    words = ["pyinfra", "--dry", "--json", "--data", f"differences={listed}", "hosts/inventory.py"]
    run([*words, "tests/rehearsal/canary.py"], cwd=rehearsal.root, env=rehearsal.env, timeout=300)
    entries = [json.loads(line) for line in listed.read_text().splitlines()]
    assert {(entry["machine"], entry["path"], entry["secret"], entry["note"]) for entry in entries} == {
        (machine, PATH, True, "new") for machine in MACHINES
    }
    assert [entry["diff"] for entry in entries] == [[], [], []]


def test_no_process_and_no_temporary_file_shows_a_secret(rehearsal: Rehearsal) -> None:
    """While `make infra`, `make deploy`, a deploy of a secret and `make verify` run."""
    for machine in MACHINES:
        rehearsal.exec(machine, f"rm -f {PATH} /etc/wireguard/wg0.conf {DATABASE_FILES}")
    here = [Path("/tmp"), rehearsal.build / "pulumi-home", rehearsal.build / "ssh"]
    secrets = canaries(rehearsal)
    lab = lab_id(rehearsal.stack)
    with Watcher(secrets, here, without=rehearsal.root, lab=lab, allowed=OPENED) as watcher:
        rehearsal.make("infra", "deploy")
        assert deploy_canary(rehearsal).ok
        rehearsal.make("verify", "only=ssh")
    assert watcher.found == set()
    assert watcher.rounds > 20
    assert len(watcher.machines) >= len(MACHINES)
    # it is there, it is root's alone, and the watcher would have seen it in the open
    seen = rehearsal.exec("primary", f"stat -c '%a %U' {PATH}; cp {PATH} /tmp/loose; chmod 644 /tmp/loose")
    assert seen.stdout.split() == ["600", "root"]
    with Watcher(secrets, here, without=rehearsal.root, lab=lab) as watcher:
        # how long a round takes depends on what lies in this host's /tmp
        wait_for(
            lambda: any("/tmp/loose 0644" in place for place in tuple(watcher.found)), "the watcher sees it", seconds=60
        )
    rehearsal.exec("primary", "rm /tmp/loose")


def test_no_file_of_the_stack_holds_a_secret(rehearsal: Rehearsal) -> None:
    own = {rehearsal.build / "passphrase", *(rehearsal.build / "keys").iterdir()}
    secrets = canaries(rehearsal)
    leaked = [
        f"{path}: {secret[:6]}..."
        for path in [rehearsal.file, *rehearsal.build.rglob("*")]
        if path.is_file() and path not in own
        for secret in secrets
        if any(form in path.read_bytes() for form in forms(secret))
    ]
    assert leaked == []


@pytest.mark.full("drift")
# it measures the gap of a handshake, which a neighbour's load makes longer
@pytest.mark.alone
def test_the_master_is_changed_in_two_steps(rehearsal: Rehearsal) -> None:
    """v2 beside v1, a deploy, v1 goes: derived secrets change, no server does, and a second plan is empty."""
    assert deploy_canary(rehearsal).ok
    before, old = keyring(rehearsal), rehearsal.exec("primary", f"cat {PATH}").stdout
    assert old == canary(before)
    ids = {machine.name: machine.id for machine in rehearsal.inventory()}

    hosts(rehearsal, "rekey")
    ring = keyring(rehearsal)
    assert list(ring.masters) == [before.newest, ring.newest]
    assert ring.bootstrap_host_key("primary", 1).public == before.bootstrap_host_key("primary", 1).public
    too_soon = hosts(rehearsal, "rekey", "--finish", check=False)
    assert (too_soon.returncode, f"{before.newest} cannot go yet" in too_soon.stderr) == (1, True)
    rehearsal.pulumi("preview", "--expect-no-changes")

    keys = {name: mesh_key(rehearsal, name) for name in MACHINES}

    def rotated(deploy: subprocess.Popen[bytes]) -> None:
        wait_for(
            lambda: deploy.poll() is not None or mesh_key(rehearsal, "witness") != keys["witness"],
            "the witness has another key",
            seconds=60,
        )

    with pinged(rehearsal) as missed:
        rehearsal.killed(DEPLOY, rotated)
        assert mesh_key(rehearsal, "primary") == keys["primary"], "it was too late for a kill"
        rehearsal.make("deploy")
    # one machine at a time, witness first: no pair is without an answer for longer than the handshake of one new key
    assert all(mesh_key(rehearsal, name) != key for name, key in keys.items())
    assert set(missed) == {(one, other) for one in MACHINES for other in MACHINES if one != other}
    assert max(missed.values()) <= LONGEST_GAP_SECONDS, missed
    print(f"longest silence between two machines: {max(missed.values()):.1f} s")
    way_to_the_leader_is_open(rehearsal)
    assert deploy_canary(rehearsal).ok
    new = rehearsal.exec("primary", f"cat {PATH}").stdout
    assert new == canary(ring) != old
    hosts(rehearsal, "rekey", "--finish")
    assert list(keyring(rehearsal).masters) == [ring.newest]
    rehearsal.pulumi("preview", "--expect-no-changes")
    # what the first master signed is trusted until here, and who came in with it is known
    assert hosts(rehearsal, "plan", check=False).returncode == 2
    # and whom to trust stands in the inventory, which checks go by
    rehearsal.make("deploy", "inventory")
    assert hosts(rehearsal, "plan").returncode == 0
    users = rehearsal.exec("primary", "timeout 10 bastide-etcdctl user list").stdout.split()
    assert users == [f"patroni-{ring.newest}", "root"]
    way_to_the_leader_is_open(rehearsal)
    assert {machine.name: machine.id for machine in rehearsal.inventory()} == ids


def test_removing_a_stack_keeps_its_settings(rehearsal: Rehearsal, tmp_path: Path) -> None:
    """In the environment of `make env`, in a project of its own: `pulumi stack rm` would delete the file unasked."""
    (tmp_path / "stacks").mkdir()
    (tmp_path / "state").mkdir()
    (tmp_path / "Pulumi.yaml").write_text("name: gone\nruntime: python\nstackConfigDir: stacks\n")
    env = {**rehearsal.env, "PULUMI_BACKEND_URL": f"file://{tmp_path}/state"}
    for words in (("stack", "init", "q"), ("config", "set", "a:b", "c", "--stack", "q"), ("stack", "rm", "q", "--yes")):
        run(["pulumi", "--non-interactive", *words], cwd=tmp_path, env=env)
    assert "a:b: c" in (tmp_path / "stacks" / "Pulumi.q.yaml").read_text()


def mesh_key(rehearsal: Rehearsal, machine: str) -> str:
    """The public key that a machine has in the mesh."""
    return rehearsal.exec(machine, "wg show wg0 public-key").stdout.strip()


@contextmanager
def pinged(rehearsal: Rehearsal) -> Iterator[dict[tuple[str, str], float]]:
    """Every machine asks every other one over the mesh ten times a second; filled with the longest silence, in
    seconds, of each pair."""
    found: dict[tuple[str, str], float] = {}
    mesh = read(rehearsal.file).mesh
    for one in MACHINES:
        for other in set(MACHINES) - {one}:
            ping = f"ping -n -i {1 / PINGS_A_SECOND} -O {mesh[other]} >/run/pinged.{other}"
            rehearsal.exec(one, f"systemd-run -q --unit=pinged-{other} sh -c 'exec {ping}'")
    try:
        yield found
    finally:
        for one in MACHINES:
            for other in set(MACHINES) - {one}:
                script = f"systemctl kill -s INT pinged-{other}; cat /run/pinged.{other}; rm /run/pinged.{other}"
                lines = rehearsal.exec(one, script).stdout.splitlines()
                found[one, other] = _longest(lines) / PINGS_A_SECOND


def _longest(lines: list[str]) -> int:
    """The most pings in a row that had no answer (ping(8), -O)."""
    longest = now = 0
    for line in lines:
        now = now + 1 if "no answer yet" in line else 0 if "bytes from" in line else now
        longest = max(longest, now)
    return longest


def way_to_the_leader_is_open(rehearsal: Rehearsal) -> None:
    """On each site HAProxy knows a leader, which shows a certificate that the site trusts."""
    ask = "openssl s_client -starttls postgres -verify_return_error -connect 127.0.0.1:5000"
    for site in ("primary", "standby"):
        rehearsal.exec(site, f"timeout 10 {ask} -CAfile /etc/bastide/postgres/ca.crt </dev/null")


def hosts(rehearsal: Rehearsal, *words: str, check: bool = True) -> Completed:
    line = ["python", "-m", "hosts", *words, "--stack", rehearsal.stack]
    return run(line, cwd=rehearsal.root, env=rehearsal.env, check=check, timeout=120)
