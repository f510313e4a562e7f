"""Volumes in real machines: they mount them themselves, and what was written down is there after every mishap."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from bastide.console import run
from lab.backend import VolumeSpec, volume_device
from lab.machines import volume_store
from lab.machines.spawn import python
from tests.lab.bench import ALPHA, BETA, NEEDS_ROOT, Bench, left_behind, made, wait_for

LAB = "lab"
pytestmark = NEEDS_ROOT

ETCD, OTHER = 501, 502
DEVICE = volume_device(ETCD)
POINT = "/srv/data"
_UNIT = f"""[Mount]
What={DEVICE}
Where={POINT}
Options=noatime,nofail
[Install]
WantedBy=local-fs.target
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The lab with alpha and beta. When it goes while a machine has a volume mounted, nothing is left of that."""
    with made(tmp_path_factory.mktemp("lab")) as found:
        yield found
        found.driver.create_volume(VolumeSpec(OTHER, 10, "ext4"))
        found.driver.attach_volume(OTHER, ALPHA)
        inside(found, f"mount {volume_device(OTHER)} /mnt; dd if=/dev/zero of=/mnt/much bs=1M count=200 2>/dev/null")
    assert left_behind(found.place) == []


@pytest.fixture(autouse=True)
def volume(bench: Bench) -> Iterator[None]:
    """A volume in alpha, mounted there by its systemd; nothing is left of it afterwards."""
    bench.driver.create_volume(VolumeSpec(ETCD, 10, "ext4"))
    bench.driver.attach_volume(ETCD, ALPHA)
    bench.lab.execute("alpha", ["tee", "/etc/systemd/system/srv-data.mount"], input=_UNIT)
    inside(bench, "systemctl daemon-reload; systemctl enable -q --now srv-data.mount")
    yield
    for number in (ETCD, OTHER):
        bench.driver.detach_volume(number)
        bench.driver.delete_volume(number)
    inside(bench, "systemctl disable -q --now srv-data.mount", check=False)
    assert not loops(bench)
    assert list(volume_store.volumes(bench.place)) == []


def inside(bench: Bench, script: str, machine: str = "alpha", *, check: bool = True) -> str:
    done = bench.lab.execute(machine, ["sh", "-ec", script], check=check)
    return (done.stdout + done.stderr).strip()


def loops(bench: Bench) -> list[str]:
    return [line for line in run(["losetup", "--list"]).stdout.splitlines() if f"{bench.place.id}/volumes/" in line]


def booted(bench: Bench, before: str, machine: str = "alpha") -> None:
    wait_for("a new boot", lambda: bench.boot_id(machine) not in ("", before))
    wait_for("the mount", lambda: bench.lab.execute(machine, ["mountpoint", "-q", POINT], check=False).ok)


def test_it_is_a_block_device_as_in_the_cloud(bench: Bench) -> None:
    said = inside(bench, f"readlink {DEVICE}; blockdev --getsize64 {DEVICE}; stat -Lc '%F %a %G' {DEVICE}")
    assert said.split("\n") == ["../sdb", str(10 << 30), "block special file 660 disk"]
    assert inside(bench, f"mountpoint -d {POINT}") == inside(bench, f"mountpoint -x {DEVICE}")
    assert inside(bench, "systemctl show -P ActiveState srv-data.mount") == "active"
    assert inside(bench, "ls /dev/disk/by-id", "beta") == ""


def test_it_is_full_by_itself(bench: Bench) -> None:
    """10 GB are 10 GB, and neither disk notices that the other is full."""
    said = inside(bench, f"fallocate -l 11G {POINT}/much", check=False)
    assert "No space left on device" in said
    inside(bench, f"rm -f {POINT}/much; echo still > {POINT}/small; sync {POINT}/small")
    bench.lab.do("fill", "alpha")
    try:
        assert "No space left on device" in inside(bench, "dd if=/dev/zero of=/var/more bs=1M count=1", check=False)
        inside(bench, f"dd if=/dev/zero of={POINT}/more bs=1M count=20 conv=fsync 2>/dev/null; cat {POINT}/small")
    finally:
        bench.lab.do("unfill", "alpha")
    assert int(run(["du", "--block-size=1M", bench.place.volumes_folder]).stdout.split()[0]) < 200, "a sparse file"


@pytest.mark.parametrize("how", ["reboot", "power cut", "killed supervisor"])
def test_what_was_written_down_survives(bench: Bench, how: str) -> None:
    inside(bench, f"echo {how} > {POINT}/kept; sync {POINT}/kept")
    before = bench.boot_id("alpha")
    if how == "reboot":
        bench.lab.reboot("alpha")
    else:
        bench.lab.crash("alpha")
        if how == "killed supervisor":
            # what a boot of this host leaves: no loop device and no device file system
            run(["umount", bench.record(ALPHA).folder / "devices"])
            for line in loops(bench):
                run(["losetup", "--detach", line.split()[0]])
            wait_for("no loop device", lambda: not loops(bench))
        bench.lab.start("alpha")
    booted(bench, before)
    assert inside(bench, f"cat {POINT}/kept") == how
    assert len(loops(bench)) == 1
    assert inside(bench, "systemctl show -P ActiveState srv-data.mount") == "active"


def test_it_is_pulled_out_of_a_machine_that_writes(bench: Bench) -> None:
    """Nothing more reaches it; what was synced is on it in the next machine."""
    inside(bench, f"echo synced > {POINT}/kept; sync -f {POINT}")
    writer = f"exec 3>{POINT}/open; while :; do echo more >&3; sleep 0.02; done"
    inside(bench, f"systemd-run -q --collect --unit=writer sh -c '{writer}'")
    wait_for("the writer", lambda: bench.lab.execute("alpha", ["test", "-s", f"{POINT}/open"], check=False).ok)
    bench.driver.detach_volume(ETCD)
    assert "Input/output error" in inside(bench, f"echo x > {POINT}/new", check=False)
    assert inside(bench, "ls /dev/disk/by-id") == ""
    bench.driver.attach_volume(ETCD, BETA)
    try:
        assert inside(bench, f"mount {DEVICE} /mnt; cat /mnt/kept; ls /mnt/new", "beta", check=False).startswith(
            "synced"
        )
        assert "No such file" in inside(bench, "ls /mnt/new", "beta", check=False)
    finally:
        inside(bench, "umount /mnt", "beta", check=False)
        inside(bench, "systemctl stop writer", check=False)
        inside(bench, f"umount {POINT}", check=False)
    wait_for("the old loop device to go", lambda: len(loops(bench)) == 1)


def test_a_bigger_one_and_a_second_one_while_it_runs(bench: Bench) -> None:
    bench.driver.resize_volume(ETCD, 12)
    bench.driver.create_volume(VolumeSpec(OTHER, 10))
    bench.driver.attach_volume(OTHER, ALPHA)
    assert inside(bench, f"blockdev --getsize64 {DEVICE} {volume_device(OTHER)}").split() == [
        str(12 << 30),
        str(10 << 30),
    ]
    found = {one["id"]: (one["size_gb"], one["machine"]) for one in bench.lab.status()["volumes"]}
    assert found == {ETCD: (12, ALPHA), OTHER: (10, ALPHA)}
    assert "volumes: 501 (12 GB), 502 (10 GB)" in bench.lab.do("status")
    with pytest.raises(Exception, match="volume 502 is in machine 101"):
        bench.driver.attach_volume(OTHER, BETA)
    inside(
        bench, f"mkdir -p /mnt/b; ! mount {volume_device(OTHER)} /mnt/b 2>/dev/null", check=True
    )  # it has no file system


def test_it_outlives_its_machine(bench: Bench) -> None:
    inside(bench, f"echo mine > {POINT}/kept; sync {POINT}/kept")
    spec = bench.specs[ALPHA]
    nics = bench.record(ALPHA).plugs()
    bench.driver.delete(ALPHA)
    assert loops(bench) == []
    assert bench.driver.volume_ids() == {ETCD}
    bench.driver.create(spec)
    for card in nics:
        bench.driver.attach(ALPHA, card.nic)
    bench.driver.attach_volume(ETCD, ALPHA)
    bench.driver.start(ALPHA)
    wait_for("it to boot", lambda: bench.boot_id("alpha"))
    wait_for(
        "systemd", lambda: bench.lab.execute("alpha", ["systemctl", "is-active", "local-fs.target"], check=False).ok
    )
    assert inside(bench, f"mkdir -p {POINT}; mount {DEVICE} {POINT}; cat {POINT}/kept; umount {POINT}") == "mine"
    bench.lab.execute("alpha", ["tee", "/etc/systemd/system/srv-data.mount"], input=_UNIT)


@pytest.mark.parametrize("verb", ["create_volume", "attach_volume", "detach_volume", "delete_volume"])
def test_killed_half_way_the_next_time_completes(bench: Bench, verb: str) -> None:
    """kill -9 at ten moments from its beginning to its end, then the verb again, as the cloud does after a restart."""
    arguments = {
        "create_volume": f"VolumeSpec({OTHER}, 10, 'ext4')",
        "attach_volume": f"{OTHER}, {ALPHA}",
        "detach_volume": f"{OTHER}",
        "delete_volume": f"{OTHER}",
    }[verb]
    code = (
        "import sys, signal\nfrom lab import registry\nfrom lab.backend import VolumeSpec\n"
        f"from lab.machines.driver import Driver\ndriver = Driver(registry.find('{bench.lab.name}'))\n"
        f"print('ready', flush=True)\nsys.stdin.readline()\ndriver.{verb}({arguments})\n"
    )
    prepare(bench, verb)
    began = time.monotonic()
    getattr(bench.driver, verb)(*eval(f"({arguments},)"))
    whole = time.monotonic() - began
    for moment in range(10):
        prepare(bench, verb)
        words = python("lab")[:-2]
        process = subprocess.Popen([*words, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("go\n")
        process.stdin.flush()
        try:
            process.wait(timeout=whole * moment / 9)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        getattr(bench.driver, verb)(*eval(f"({arguments},)"))
        there = volume_store.find(bench.place, OTHER)
        wanted = {"create_volume": None, "attach_volume": ALPHA, "detach_volume": None}
        if verb == "delete_volume":
            assert there is None
            assert not (bench.place.volumes_folder / str(OTHER)).exists()
        else:
            assert there is not None
            assert there.machine == wanted[verb]
        wait_for("one loop device a volume", lambda: len(loops(bench)) == (2 if verb == "attach_volume" else 1))
        if verb == "attach_volume":
            inside(bench, f"mount {volume_device(OTHER)} /mnt && umount /mnt")


def prepare(bench: Bench, verb: str) -> None:
    """What there is before the verb."""
    bench.driver.detach_volume(OTHER)
    if verb == "create_volume":
        bench.driver.delete_volume(OTHER)
        return
    bench.driver.create_volume(VolumeSpec(OTHER, 10, "ext4"))
    if verb == "detach_volume":
        bench.driver.attach_volume(OTHER, ALPHA)
        inside(bench, f"mount {volume_device(OTHER)} /mnt")
