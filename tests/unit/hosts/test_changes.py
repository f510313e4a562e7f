"""Plans and drift reports: exit codes, the words for people, and what is read from Pulumi's preview."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bastide.stackfile import read
from hosts.commands.comparison.changes import Changes, FileChange, Kind, MachineChange, ResourceChange
from hosts.commands.comparison.dry_run import said_of
from hosts.commands.comparison.preview import resource_changes, type_changes

FIREWALL = ResourceChange("update", "Firewall", "firewall", ("+ 443",))
WELL = MachineChange("primary", "compared")
WORK = MachineChange("standby", "compared", operations=("ssh | ssh server", "revision"))
SILENT = MachineChange("witness", "silent", "no answer; next: look")


@pytest.mark.parametrize(
    ("kind", "resources", "machines", "code", "count"),
    [
        ("plan", (), (WELL,), 0, 0),
        ("plan", (FIREWALL,), (WELL,), 2, 1),
        ("plan", (), (WELL, WORK), 2, 2),
        ("plan", (FIREWALL,), (WELL, SILENT), 1, 1),
        ("plan", (), (MachineChange("new", "new", "is not reached yet"),), 2, 1),
        ("drift", (), (WELL, SILENT), 2, 1),
        ("drift", (), (WELL, MachineChange("witness", "off", "is off")), 2, 1),
        ("drift", (), (WELL,), 0, 0),
    ],
)
def test_exit_codes(
    kind: Kind, resources: tuple[ResourceChange, ...], machines: tuple[MachineChange, ...], code: int, count: int
) -> None:
    changes = Changes("lab", kind, resources, machines)
    assert (changes.code, changes.count) == (code, count)
    assert json.loads(json.dumps(changes.to_json()))["code"] == code
    assert list(changes.lines())[-1].startswith(f"{kind}: ")


def test_machines_of_which_the_same_is_to_be_said_stand_together() -> None:
    file = FileChange("/etc/x", secret=False, note="new", diff=("+a",))
    machines = [MachineChange(name, "compared", operations=("x",), files=(file,)) for name in ("one", "two")]
    lines = list(Changes("lab", "plan", (), (*machines, WELL)).lines())
    assert "  one, two:" in lines
    assert lines.count("        +a") == 1
    assert "  primary: nothing" in lines


def test_a_secret_file_shows_that_it_differs_and_nothing_else() -> None:
    assert list(FileChange("/etc/key", secret=True, note="").lines()) == ["      /etc/key (secret content differs)"]


def test_another_type_is_done_by_a_resize_and_not_by_pulumi() -> None:
    steps = [
        {
            "op": "same",
            "urn": f"urn:pulumi:lab::bastide::bastide:index:Servers$hcloud:index/server:Server::{name}",
            "oldState": {"outputs": {"serverType": now}},
        }
        for name, now in (("primary", "cx33"), ("standby", "cx23"))
    ]
    settings = read(Path("stacks/Pulumi.example.yaml"))
    assert settings.made["primary"].type == settings.made["standby"].type == "cx23"
    found = tuple(type_changes(steps, settings))
    assert found == (ResourceChange("resize", "Server", "primary", ("type: cx33 -> cx23",)),)
    last = list(Changes("lab", "plan", found, (WELL,)).lines())[-1]
    assert last == "plan: 1 differ; next: `make resize machine=primary`"
    assert "`make infra` and `make resize" in list(Changes("lab", "plan", (FIREWALL, *found), (WELL,)).lines())[-1]


def test_the_next_step_of_drift_at_the_provider_is_a_refresh() -> None:
    assert "pulumi up --refresh" in list(Changes("lab", "drift", (FIREWALL,), (WELL,)).lines())[-1]
    assert "make infra" in list(Changes("lab", "plan", (FIREWALL,), (WELL,)).lines())[-1]


def test_what_is_read_from_a_preview() -> None:
    urn = "urn:pulumi:lab::bastide::bastide:index:Servers$hcloud:index/server:Server::primary"
    steps = [
        {"op": "same", "urn": urn},
        {"op": "refresh", "urn": urn},
        {"op": "create", "urn": urn},
        {
            "op": "update",
            "urn": urn,
            "oldState": {"inputs": {"__defaults": [], "labels": {"a": "1"}, "userData": "[secret]"}},
            "newState": {"inputs": {"labels": {"a": "2"}, "userData": "[secret]"}},
        },
        {
            "op": "update",
            "urn": urn,
            "oldState": {"inputs": {"userData": "[secret]"}},
            "newState": {"inputs": {"userData": "[secret]"}},
            "detailedDiff": {"userData": {"kind": "update"}},
        },
    ]
    create, update, hidden = resource_changes(steps)
    assert (create.op, create.kind, create.name, create.diff) == ("create", "Server", "primary", ())
    assert [line for line in update.diff if line[0] in "+-"] == ['-  "a": "1"', '+  "a": "2"']
    assert hidden.diff == ("userData: secret or computed, differs",)


def test_what_is_there_undeclared_is_named() -> None:
    printed = (
        "    [standby] ! the account mallory is not declared: it is closed\n"
        "    [\x1b[1mprimary\x1b[0m] ! another\n"
        "    [standby] ! the account mallory is not declared: it is closed\n"
        "    [standby] No changes\n"
    )
    said = said_of("standby", printed)
    assert said == ("the account mallory is not declared: it is closed",)
    assert said_of("primary", printed) == ("another",)
    work = replace(WORK, said=said)
    assert "      ! the account mallory is not declared: it is closed" in list(work.lines("standby"))
