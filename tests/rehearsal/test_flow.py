"""From nothing to a proven page by the README's own command, and the second time nothing happens."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from bastide.console import run
from bastide.stackfile import SECRETS_KEY, dump, load
from tests.rehearsal.stack import Rehearsal

LAB = "flow"


def test_three_machines_are_proven_and_the_page_says_so(rehearsal: Rehearsal) -> None:
    evidence = rehearsal.evidence()
    outcomes = {(row["control"], row["machine"]): row["outcome"] for row in evidence["rows"]}
    assert {machine.name for machine in rehearsal.inventory()} == {"primary", "standby", "witness"}
    assert "failed" not in outcomes.values(), outcomes
    assert sum(outcome == "proven" for outcome in outcomes.values()) >= 20
    page = (rehearsal.build / "security.html").read_text()
    assert "<script" not in page
    assert "Only keys open a session" in page
    assert page.count("<details") >= 10


def test_the_user_is_told_what_to_do_next(rehearsal: Rehearsal) -> None:
    said = (rehearsal.build / "up.log").read_text()
    assert "security.html" in said
    assert "next:" in said
    assert "Traceback" not in said


def test_a_second_preview_is_empty_and_asks_the_cloud_nothing_new(rehearsal: Rehearsal) -> None:
    rehearsal.pulumi("preview", "--expect-no-changes")


def test_a_second_deploy_changes_nothing(rehearsal: Rehearsal) -> None:
    assert rehearsal.dry() == {}
    done = rehearsal.deploy()
    assert not re.search(r"\bChanged: *[1-9]", done.stdout + done.stderr)


def test_a_second_up_changes_nothing(rehearsal: Rehearsal) -> None:
    """The README's word for it: the machines go on without a reboot, files that people commit stay as they are."""
    before = {name: _boot_id(rehearsal, name) for name in ("primary", "standby", "witness")}
    stack_file, records = rehearsal.file.read_bytes(), _records(rehearsal)
    done = rehearsal.make("up")
    said = done.stdout + done.stderr  # pyinfra reports on standard error
    assert "already up" in said
    assert "unchanged" in said
    assert re.search(r"\d+ operations on 3 machines, 0 changed something", said), said[-2000:]
    # the whole of what the tools said is kept, and nobody else can read it
    log = rehearsal.build / "log" / "deploy.log"
    assert re.search(r"Grand total +(\d+) +- +- +\1\b", log.read_text())
    assert log.stat().st_mode & 0o077 == 0
    assert {name: _boot_id(rehearsal, name) for name in before} == before
    assert (rehearsal.file.read_bytes(), _records(rehearsal)) == (stack_file, records)
    status = run(["git", "status", "--porcelain"], cwd=rehearsal.root).stdout.splitlines()
    assert [line for line in status if "rehearsal" in line.partition("stacks/")[2] or "build/" in line] == []


@pytest.mark.full("ports")
def test_no_port_of_all_is_open_to_strangers(rehearsal: Rehearsal) -> None:
    """All 65,535 over v4 and v6, where the daily look takes the thousand most frequent and what is declared."""
    words = ("--control", "firewall-01", "--control", "firewall-02", "--all-ports")
    assert rehearsal.verify(*words, timeout=400).ok


def test_ssh_works_by_name_and_the_host_keys_are_the_recorded_ones(rehearsal: Rehearsal) -> None:
    for machine in rehearsal.inventory():
        done = rehearsal.ssh(machine.name, "hostname", check=True)
        assert done.stdout.strip() == machine.name
        assert machine.host_key.startswith("ssh-ed25519 ")


def test_the_inventory_shows_no_secret(rehearsal: Rehearsal) -> None:
    done = run(["pyinfra", "hosts/inventory.py", "debug-inventory"], cwd=rehearsal.root, env=rehearsal.env)
    assert "primary" in done.stdout + done.stderr
    for secret in _secrets(rehearsal):
        assert secret not in done.stdout + done.stderr


def test_no_secret_lies_in_what_was_written_or_said(rehearsal: Rehearsal) -> None:
    """The canaries: master, token and bootstrap keys, looked for in every file of the stack and on every machine."""
    secrets = _secrets(rehearsal)
    passphrase = rehearsal.build / "passphrase"
    texts = {path: path.read_bytes() for path in _files(rehearsal) if path != passphrase}
    assert len(texts) > 5
    leaks = [
        (str(path), n) for path, text in texts.items() for n, secret in enumerate(secrets) if secret.encode() in text
    ]
    assert leaks == []
    for machine in ("primary", "standby", "witness"):
        # cloud-init keeps the user_data it was given, readable by root alone: the one named exception
        script = (
            "grep -rlsF -f - /etc /home /root /run /tmp /var /srv --exclude-dir=cloud --exclude-dir=cloud-init || true"
        )
        found = rehearsal.exec(machine, script, input="\n".join(secrets))
        assert found.stdout == "", found.stdout


def test_verify_needs_no_passphrase(rehearsal: Rehearsal) -> None:
    env = rehearsal.env
    bare = {key: value for key, value in env.items() if not key.startswith("PULUMI_")}
    done = run(["pytest", "tests/verify", "-q", "-k", "ssh"], cwd=rehearsal.root, env=bare, check=False, timeout=120)
    assert done.ok, done.stdout


def _boot_id(rehearsal: Rehearsal, machine: str) -> str:
    return rehearsal.exec(
        machine, "cat /proc/sys/kernel/random/boot_id; systemctl show -P UserspaceTimestampMonotonic"
    ).stdout


def _records(rehearsal: Rehearsal) -> str:
    return (rehearsal.root / "stacks" / f"{rehearsal.stack}.known_hosts").read_text()


def _secrets(rehearsal: Rehearsal) -> list[str]:
    done = run(
        ["pulumi", "config", "--json", "--show-secrets", "--stack", rehearsal.stack],
        cwd=rehearsal.root,
        env=rehearsal.env,
    )
    config = json.loads(done.stdout)
    masters = config[SECRETS_KEY]["objectValue"]["master"]
    secrets = [config["hcloud:token"]["value"], *masters.values()]
    from bastide.secrets import keyring_from

    ring = keyring_from(rehearsal.stack, masters)
    for name in ("primary", "standby", "witness"):
        pem = ring.bootstrap_host_key(name, 1).private.get_secret_value()
        secrets.append(pem.splitlines()[2])
    return secrets


def _files(rehearsal: Rehearsal) -> list[Path]:
    # the lab's own machines' disks lie elsewhere: what is searched is what the commands wrote for the user
    return [path for path in rehearsal.build.rglob("*") if path.is_file()] + [rehearsal.file]


def test_the_verify_job_for_ci_runs_in_a_bare_environment(rehearsal: Rehearsal, tmp_path: Path) -> None:
    """The steps of docs/ci/github.yml, in a clone, with the inventory, the checks' own key and nothing else."""
    job = yaml.safe_load((rehearsal.root / "docs" / "ci" / "github.yml").read_text())["jobs"]["verify"]
    steps = [step["run"] for step in job["steps"] if "run" in step and "pip install" not in step["run"]]
    clone, home = tmp_path / "clone", tmp_path / "home"
    home.mkdir()
    run(["git", "clone", "--quiet", "--shared", str(rehearsal.root), str(clone)], env={})
    for name in run(["git", "ls-files", "-m", "-o", "--exclude-standard"], cwd=rehearsal.root).stdout.splitlines():
        if (rehearsal.root / name).is_file():  # what is not committed yet belongs to what is tested
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(rehearsal.root / name, clone / name)
    (clone / ".venv").symlink_to(rehearsal.root / ".venv")
    document = load(rehearsal.file)
    users = document["config"]["bastide:settings"]["users"]
    key = (rehearsal.root / users["verification"]["identity"]).read_text()
    users["automation"]["identity"], users["verification"]["identity"] = "~/.ssh/none", "~/.ssh/bastide"
    (clone / "stacks" / rehearsal.file.name).write_text(dump(document))
    shutil.copy2(rehearsal.root / "stacks" / f"{rehearsal.stack}.known_hosts", clone / "stacks")
    # of an authority of one's own the certificate is a file of the repository; the lab's lies where no clone has it
    certificate = document["config"]["bastide:settings"]["storage"]["certificate"]
    (clone / certificate).parent.mkdir(parents=True)
    shutil.copy2(rehearsal.root / certificate, clone / certificate)
    inventory = json.loads((rehearsal.build / "inventory.json").read_text())
    inventory |= {"identity": "~/.ssh/none", "verifier_identity": "~/.ssh/bastide"}
    bare = {
        "HOME": str(home),
        "STACK": rehearsal.stack,
        "PYTHONPATH": str(clone),  # the editable install of the shared .venv points at the other folder
        "BASTIDE_VERIFY_KEY": key,
        "BASTIDE_INVENTORY": json.dumps(inventory),
    }
    variables = tmp_path / "variables"  # not in argv, which everybody may read
    try:
        variables.touch(mode=0o600)
        variables.write_text("".join(f"export {key}={shlex.quote(value)}\n" for key, value in bare.items()))
        for step in steps:
            script = f". {variables}\n{step}"
            words = ["env", "-i", "PATH=/usr/local/bin:/usr/bin:/bin", "bash", "-eo", "pipefail", "-c", script]
            done = run(words, cwd=clone, check=False, timeout=300)
            assert done.ok, f"{step}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        assert not (home / ".ssh" / "bastide").exists(), "the key stays on a runner of one's own"
    finally:
        # both held the key, and pytest keeps its folders
        variables.unlink(missing_ok=True)
        shutil.rmtree(home, ignore_errors=True)
    build = clone / "build" / rehearsal.stack
    assert 'failures="0"' in (build / "junit.xml").read_text()
    evidence = json.loads((build / "evidence.json").read_text())
    assert {row["outcome"] for row in evidence["rows"]} <= {"proven", "not_provable_here"}
    assert (build / "security.html").exists()
