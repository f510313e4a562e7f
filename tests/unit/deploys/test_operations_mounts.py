"""From facts to commands, without a machine: options of file systems that are there by themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from bastide.console import run
from deploys.operations import mounts
from deploys.remote.facts import common, volumes
from tests.unit.deploys.operating import commands

OPTIONS = ("nosuid", "nodev", "noexec")
LINE = "tmpfs /dev/shm tmpfs rw,nosuid,nodev,noexec 0 0"


def shm_seen(line=LINE, options=("rw", *OPTIONS)):
    return {"fstab": {"/dev/shm": line}, "mounts": {"/dev/shm": {"options": list(options)}}}


def test_what_is_mounted_as_wanted_is_left_alone(host):
    host.answer = shm_seen()
    assert commands(mounts.api_mount, path="/dev/shm", options=OPTIONS) == []


@pytest.mark.parametrize(
    "change", [{"line": ""}, {"options": ("rw", "nosuid", "nodev")}, {"line": LINE.replace("noexec", "exec")}]
)
def test_what_is_not_is_mounted_anew(host, change):
    host.answer = shm_seen(**change)
    (command,) = commands(mounts.api_mount, path="/dev/shm", options=OPTIONS)
    assert command.endswith("&& mount -o remount,nosuid,nodev,noexec /dev/shm")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", LINE),
        ("tmpfs /dev/shm tmpfs size=8G,exec 0 0", "tmpfs /dev/shm tmpfs size=8G,nosuid,nodev,noexec 0 0"),
        ("none /dev/shm tmpfs defaults,nodev", "none /dev/shm tmpfs defaults,nodev,nosuid,noexec"),
    ],
)
def test_of_a_line_that_is_there_only_what_is_missing_is_changed(before, after):
    assert mounts.fstab_line("/dev/shm", OPTIONS, before) == after
    assert mounts.fstab_line("/dev/shm", OPTIONS, after) == after


def test_no_other_line_is_changed(host, tmp_path, monkeypatch):
    """The command for real, on a file of the test's own."""
    table = tmp_path / "etc/fstab"
    table.parent.mkdir()
    others = "# /dev/shm tmpfs\nUUID=1 / ext4 defaults 0 1\n"
    table.write_text(f"{others}tmpfs\t/dev/shm  tmpfs  size=1G 0 0\n")
    monkeypatch.setattr(common, "ROOT", tmp_path)
    found = volumes.fstab(["/dev/shm", "/srv"])
    assert found == {"/dev/shm": "tmpfs /dev/shm tmpfs size=1G 0 0", "/srv": ""}
    host.answer = shm_seen(line=found["/dev/shm"])
    (command,) = commands(mounts.api_mount, path="/dev/shm", options=OPTIONS)
    writes, _, _ = command.replace("/etc/fstab", str(table)).partition(" && systemctl")
    run(["sh", "-c", writes])
    assert table.read_text() == f"{others}tmpfs /dev/shm tmpfs size=1G,nosuid,nodev,noexec 0 0\n"
    assert [path.name for path in Path(table.parent).iterdir()] == ["fstab"]
