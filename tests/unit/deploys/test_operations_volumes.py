"""From facts to commands, without a machine: volumes that are mounted, grown, or refused."""

from __future__ import annotations

import pytest

from bastide.console import run
from deploys.facts.fact import covers
from deploys.facts.volumes import MOUNTS
from deploys.operations import volumes
from tests.unit.deploys.operating import NOTHING, commands, seen, sent

DEVICE = "/dev/disk/by-id/scsi-0HC_Volume_7"
MOUNTED = {"device": "8:16", "source": "/dev/sdb", "type": "ext4", "options": ["rw", "noatime"]}
ETCD = {"name_": "etcd", "device": DEVICE, "path": "/var/lib/etcd", "owner": "etcd", "group": "etcd", "mode": 0o700}


def volume_seen(**change):
    unit = volumes.unit_file("etcd", DEVICE, "/var/lib/etcd")
    there = seen(str(unit.content).encode())
    folder = {"sha256": "", "mode": 0o700, "owner": "etcd", "group": "etcd"}
    answer = {
        "files": {unit.path: there, "/var/lib/etcd": folder},
        "mounts": {"/var/lib/etcd": MOUNTED},
        "devices": {DEVICE: "8:16"},
        "room": {DEVICE: 0},
        "units": {"var-lib-etcd.mount": {"UnitFileState": "enabled"}},
        "unfinished": NOTHING,
    }
    return answer | change


def test_a_volume_that_is_mounted_as_wanted_is_left_alone(host):
    host.answer = volume_seen()
    assert commands(volumes.volume, **ETCD) == []
    assert covers(volumes.volume_request("etcd", DEVICE, "/var/lib/etcd"), MOUNTS.request(["/var/lib/etcd"]))
    # what is not asked for stays as somebody has made it
    assert commands(volumes.volume, name_="etcd", device=DEVICE, path="/var/lib/etcd") == []


@pytest.mark.parametrize(
    ("change", "written"),
    [
        ({"files": {"/etc/systemd/system/var-lib-etcd.mount": None, "/var/lib/etcd": None}}, 1),
        ({"mounts": {"/var/lib/etcd": None}}, 0),
        ({"mounts": {"/var/lib/etcd": {**MOUNTED, "device": "8:32"}}}, 0),
        ({"devices": {DEVICE: ""}}, 0),
        ({"units": {"var-lib-etcd.mount": {"UnitFileState": "disabled"}}}, 0),
        # killed between writing the unit and mounting
        ({"unfinished": {"pending": ["volume-etcd"], "guard": []}}, 0),
    ],
)
def test_a_volume_that_is_not(host, change, written):
    host.answer = volume_seen(**change)
    asked, applied = list(volumes.volume._inner(**ETCD))
    assert "holds data, which the volume would hide" in str(asked)
    (told,) = sent(applied)
    assert (told["name"], len(told["files"])) == ("volume-etcd", written)
    assert told["settle"].endswith("&& chown etcd:etcd /var/lib/etcd && chmod 0700 /var/lib/etcd")


def test_a_volume_that_was_made_bigger_is_used_to_its_end(host):
    host.answer = volume_seen(room={DEVICE: 2 << 30})
    _, applied = list(volumes.volume._inner(**ETCD))
    (told,) = sent(applied)
    assert told["files"] == []
    assert told["settle"].endswith(f" && resize2fs {DEVICE}")
    host.answer = volume_seen(room={DEVICE: 100 << 20})
    assert commands(volumes.volume, **ETCD) == [], "less than ext4 grows by"


@pytest.mark.parametrize("drift", [{"owner": "root"}, {"group": "root"}, {"mode": 0o755}])
def test_a_volume_of_somebody_else(host, drift):
    host.answer = volume_seen()
    host.answer["files"]["/var/lib/etcd"] |= drift
    assert len(commands(volumes.volume, **ETCD)) == 2


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        # what systemd-escape(1) says of them
        ("/var/lib/etcd", "var-lib-etcd.mount"),
        ("/srv/a-b.c/", "srv-a\\x2db.c.mount"),
        ("/.x/\u00fc", "\\x2ex-\\xc3\\xbc.mount"),
        ("/srv/.y", "srv-.y.mount"),
    ],
)
def test_the_unit_of_a_path(path, unit):
    assert volumes.unit_name(path) == unit


@pytest.mark.parametrize(
    ("device", "folder", "said"),
    [
        ("missing", [], "is not there after 0 s: is the volume attached"),
        ("block", ["data"], "holds data, which the volume would hide"),
        ("block", [], ""),
        ("block", None, ""),
    ],
)
def test_what_a_volume_refuses(monkeypatch, tmp_path, device, folder, said):
    """The script for real, with a device that is one by a test of the shell's own."""
    monkeypatch.setattr(volumes, "DEVICE_SECONDS", 0)
    point = tmp_path / "a folder"
    if folder is not None:
        point.mkdir()
        for name in folder:
            (point / name).touch()
    script = volumes._refusals("/dev/some", str(point))
    if device == "block":
        script = script.replace("[ -b /dev/some ]", "true")
    done = run(["sh", "-c", script], check=False)
    assert (done.ok, said in done.stderr) == (not said, True)
