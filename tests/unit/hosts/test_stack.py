"""Reading a stack, and what pyinfra sees of it: with a stand-in for pulumi that answers what the real one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bastide.errors import BastideError, SettingsError, StackError
from bastide.machines import Prober, load_inventory
from hosts.stack import load_stack

PROJECT = Path(__file__).resolve().parents[3]
MASTER = "5ec4e7" * 10 + "beef"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIORS8Ni+k81A5+zX2kfnx+CtclOJClLDL3V1t1L26xlJ"
PLACES = {"primary": "fsn1", "standby": "hel1", "witness": "nbg1"}
SETTINGS: dict[str, Any] = {
    "company": {"name": "Unit", "domain": "example.eu", "security_contact": "security@example.eu"},
    "servers": {
        name: {"role": name, "location": place, "private_address": f"10.20.0.{11 + number}"}
        for number, (name, place) in enumerate(PLACES.items())
    },
    "firewall": {"operators": ["198.51.100.10/32"]},
    "users": {"automation": {"key": KEY, "identity": "id"}, "people": {}},
    "lab": {"port": 18790},
}
OUTPUT = [
    {
        "name": name,
        "role": name,
        "location": place,
        "id": str(40 + number),
        "generation": 1,
        "address": f"192.0.2.{11 + number}",
        "address6": f"2001:db8::{11 + number}",
        "private_address": f"10.20.0.{11 + number}",
    }
    # the provider's order is not the stack file's
    for number, (name, place) in reversed(list(enumerate(PLACES.items())))
]
CONFIG = {
    "bastide:settings": {"value": json.dumps(SETTINGS), "objectValue": SETTINGS, "secret": False},
    "bastide:secrets": {"value": "", "objectValue": {"master": {"v1": MASTER}}, "secret": True},
}
PROBER = {"name": "prober", "user": "root", "address": "192.0.2.99", "address6": "2001:db8::99", "host_key": KEY}


class Project:
    """A project folder with a stack file, and a `pulumi` that says what it is told to."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        for name in ("stacks", "build/unit", "bin"):
            (root / name).mkdir(parents=True)
        (root / "hosts").symlink_to(PROJECT / "hosts")
        self.settings(SETTINGS)
        self.says(CONFIG, OUTPUT)
        pulumi = root / "bin/pulumi"
        pulumi.write_text(
            '#!/bin/sh\ncase "$*" in *output*) what=output;; *) what=config;; esac\n'
            f'cat {root}/$what.err >&2; cat {root}/$what.json; exit "$(cat {root}/$what.code)"\n'
        )
        pulumi.chmod(0o755)
        monkeypatch.setenv("PATH", f"{root}/bin:{os.environ['PATH']}")
        monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{root}")
        monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "unit")
        monkeypatch.setenv("BASTIDE_STACK", "unit")
        monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE_FILE", raising=False)

    def settings(self, data: object) -> None:
        # JSON is YAML
        text = json.dumps({"config": {"bastide:settings": data}})
        (self.root / "stacks/Pulumi.unit.yaml").write_text(text)

    def says(self, config: object, output: object) -> None:
        for name, data in (("config", config), ("output", output)):
            (self.root / f"{name}.json").write_text(json.dumps(data))
            (self.root / f"{name}.err").write_text("")
            (self.root / f"{name}.code").write_text("0")

    def fails(self, name: str, message: str) -> None:
        (self.root / f"{name}.err").write_text(message)
        (self.root / f"{name}.code").write_text("255")

    def command(self, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *words], cwd=cwd or self.root, capture_output=True, text=True, check=False
        )


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    return Project(tmp_path, monkeypatch)


def test_settings_machines_and_secrets_are_joined(project: Project) -> None:
    stack = load_stack("unit", project.root)
    assert [machine.name for machine in stack.machines] == ["primary", "standby", "witness"]
    assert stack.settings.users.automation.identity == "id"
    assert stack.keyring.masters["v1"].get_secret_value().hex() == MASTER
    assert stack.prober is None
    (project.root / "build/unit/lab.json").write_text(json.dumps({"version": 1, "prober": PROBER}))
    assert load_stack("unit", project.root).prober == Prober(**PROBER)


def test_secrets_may_come_as_text_only(project: Project) -> None:
    project.says({"bastide:secrets": {"value": json.dumps({"master": {"v1": MASTER}}), "secret": True}}, OUTPUT)
    assert load_stack("unit", project.root).keyring.masters["v1"].get_secret_value().hex() == MASTER


EXISTING = {
    **{"provider": "existing", "role": "primary", "hoster": "OVH", "city": "Gravelines", "country": "FR"},
    **{"address": "192.0.2.17", "host_key": KEY, "user": "debian"},
}
GIVEN = {
    **{"name": "primary", "role": "primary", "location": "fr-gravelines", "id": "existing_18c07c59fb21"},
    **{"generation": 1, "address": "192.0.2.17", "address6": "", "private_address": "", "provider": "existing"},
    **{"hoster": "OVH", "city": "Gravelines", "country_code": "FR"},
}


def test_an_existing_server_is_a_machine_as_any_other(project: Project) -> None:
    project.settings({**SETTINGS, "servers": {**SETTINGS["servers"], "primary": EXISTING}})
    project.says(CONFIG, [*OUTPUT[:2], GIVEN])
    stack = load_stack("unit", project.root)
    primary, standby = stack.machines[:2]
    assert (primary.place.country_name, primary.country, primary.hoster) == ("France", "FR", "OVH")
    assert [one.address_for(other) for one, other in ((primary, standby), (standby, primary))] == [
        "192.0.2.17",
        "192.0.2.12",
    ]
    assert standby.address_for(stack.machines[2]) == "10.20.0.12"
    project.says(CONFIG, [*OUTPUT[:2], {**GIVEN, "id": "existing_000000000000", "address": "192.0.2.18"}])
    with pytest.raises(StackError, match="settings and machines differ") as caught:
        load_stack("unit", project.root)
    assert "primary has the address 192.0.2.18, the settings say 192.0.2.17" in caught.value.message
    assert "primary has the id existing_000000000000, the settings say existing_" in caught.value.message
    assert caught.value.hint == "run `pulumi up` first"


def test_a_volume_that_is_wanted_and_not_there_is_said(project: Project) -> None:
    database = {"databases": {"app": {"roles": {"app": "owner"}}}}
    project.settings({**SETTINGS, "wireguard": {"range": "10.21.0.0/24"}, "postgres": database})
    with_volume = [{**item, "volume": f"/dev/disk/by-id/scsi-0HC_Volume_{item['id']}"} for item in OUTPUT]
    project.says(CONFIG, with_volume)
    stack = load_stack("unit", project.root)
    assert [machine.volume[-2:] for machine in stack.machines] == ["40", "41", "42"]
    project.says(CONFIG, [*with_volume[:2], OUTPUT[2]])
    with pytest.raises(StackError, match="primary has no volume, the settings say 10 GB"):
        load_stack("unit", project.root)


def changed(index: int, **fields: object) -> list[dict[str, Any]]:
    return [{**item, **fields} if number == index else item for number, item in enumerate(OUTPUT)]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (OUTPUT[1:], "witness is in the settings but does not exist"),
        ([*OUTPUT, {**OUTPUT[0], "name": "other"}], "other exists but is not in the settings"),
        (changed(0, generation=2), "witness has the generation 2, the settings say 1"),
        (changed(0, location="hel1"), "witness has the location hel1, the settings say nbg1"),
        (changed(0, surprise=1), "other fields than expected"),
        ({"a": 1}, "is not a list of machines"),
    ],
)
def test_settings_and_machines_that_differ_are_refused(project: Project, output: object, message: str) -> None:
    project.says(CONFIG, output)
    with pytest.raises(StackError, match=message) as caught:
        load_stack("unit", project.root)
    assert ("no server is moved" if " the location " in message else "pulumi up") in caught.value.hint


@pytest.mark.parametrize(
    ("command", "said", "message"),
    [
        ("config", "error: no stack named 'unit' found", "does not exist yet"),
        ("config", "error: incorrect passphrase", "does not open"),
        ("output", "error: current stack does not have output property 'machines'", "has no machines yet"),
        ("output", "error: the sky fell", "the sky fell"),
    ],
)
def test_what_pulumi_complains_of_is_said_with_a_next_step(
    project: Project, command: str, said: str, message: str
) -> None:
    project.fails(command, said)
    with pytest.raises(StackError, match=message) as caught:
        load_stack("unit", project.root)
    assert caught.value.hint


def test_a_secret_in_pulumis_answer_reaches_no_message(project: Project) -> None:
    (project.root / "config.json").write_text(f"not json {MASTER}")
    with pytest.raises(StackError) as caught:
        load_stack("unit", project.root)
    assert MASTER not in str(caught.value)
    project.fails("config", "")
    with pytest.raises(StackError) as caught:
        load_stack("unit", project.root)
    assert MASTER not in str(caught.value)


def test_what_is_missing_around_it(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def said(error: type[BastideError] = StackError) -> str:
        with pytest.raises(error) as caught:
            load_stack("unit", project.root)
        return f"{caught.value.message} / {caught.value.hint}"

    with pytest.raises(StackError, match="is not the project's folder"):
        load_stack("unit", project.root / "stacks")
    with pytest.raises(StackError, match="does not exist"):
        load_stack("none", project.root)
    project.says({**CONFIG, "bastide:secrets": {"objectValue": {}}}, OUTPUT)
    assert "has no master secret" in said()
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "/nonexistent")
        assert "pulumi is not on PATH" in said()
        assert "make env stack=unit" in said()
    with monkeypatch.context() as patch:
        patch.delenv("PULUMI_CONFIG_PASSPHRASE")
        assert "no passphrase" in said()
        patch.setenv("PULUMI_CONFIG_PASSPHRASE_FILE", "/nonexistent")
        assert "/nonexistent does not exist" in said()
    with monkeypatch.context() as patch:
        patch.delenv("PULUMI_BACKEND_URL")
        assert 'eval "$(make env stack=unit)"' in said()
    project.settings({**SETTINGS, "surprise": 1})
    assert "is not a known key" in said(SettingsError)


def debug_inventory(project: Project, *words: str) -> str:
    done = project.command("pyinfra", "hosts/inventory.py", *words, "debug-inventory")
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_pyinfra_shows_plain_names_groups_and_no_secret(project: Project) -> None:
    done = project.command("pyinfra", "--json", "hosts/inventory.py", "debug-inventory")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert [host["name"] for host in shown] == ["primary", "standby", "witness"]
    assert {"standby", "hel1"} <= set(shown[1]["groups"])
    text = debug_inventory(project)
    for secret in (MASTER, bytes.fromhex(MASTER).decode("latin1"), "PRIVATE KEY"):
        assert secret not in text + done.stdout
    assert '"masters": [' in text


@pytest.mark.parametrize("elsewhere", ["stacks", "."])
def test_elsewhere_and_without_a_stack_pyinfra_says_two_lines(
    project: Project, elsewhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if elsewhere == ".":
        monkeypatch.setenv("BASTIDE_STACK", "none")
    inventory = str(project.root / "hosts/inventory.py")
    done = project.command("pyinfra", inventory, "debug-inventory", cwd=project.root / elsewhere)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "error: " in done.stderr
    assert " next: " in done.stderr


def test_the_inventory_is_written_without_a_secret_and_makes_the_configuration_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = project.command("hosts", "inventory")
    assert done.returncode == 0, done.stderr
    assert "no recorded host key yet" in done.stderr
    path = project.root / "build/unit/inventory.json"
    assert MASTER not in path.read_text()
    inventory = load_inventory(path)
    assert (inventory.environment, inventory.user, inventory.identity, inventory.port) == ("lab", "bastide", "id", 22)
    with_databases = load_stack("unit", project.root).settings.postgres is not None
    assert set(inventory.authorities) == ({"etcd", "etcd-peers", "postgres"} if with_databases else set())
    config = project.root / "build/unit/ssh_config"
    written = config.read_text()
    config.unlink()
    for name in ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_BACKEND_URL"):
        monkeypatch.delenv(name)
    done = project.command("hosts", "ssh-config")
    assert done.returncode == 0, done.stderr
    assert config.read_text() == written


def test_enrolment_says_of_each_machine_what_is_missing(project: Project) -> None:
    done = project.command("hosts", "enroll")
    assert done.returncode == 1
    for name in PLACES:
        assert f"! {name}: the automation account's private key {project.root}/id does not exist" in done.stderr
    assert "Traceback" not in done.stderr
