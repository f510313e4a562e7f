"""The scripts that run on machines, against a folder instead of a machine."""

from __future__ import annotations

import base64
import contextlib
import getpass
import grp
import json
import os
import pwd
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploys import remote
from deploys.facts.files import FILES
from deploys.facts.packages import PACKAGES
from deploys.remote import change
from deploys.remote.facts import common, files, links, packages, volumes
from deploys.remote.facts.changes import unfinished

ME, MY_GROUP = getpass.getuser(), grp.getgrgid(os.getgid()).gr_name


@pytest.fixture
def machine(tmp_path, monkeypatch):
    for folder in ("run", "etc/systemd/system/sysinit.target.wants", "var/lib/bastide", "proc"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(change, "ROOT", tmp_path)
    monkeypatch.setattr(common, "ROOT", tmp_path)
    return tmp_path


@pytest.fixture
def ran(monkeypatch):
    lines: list[str] = []

    def record(line: str, seconds: float = 0) -> str:
        lines.append(line)
        return ""

    monkeypatch.setattr(change, "_run", record)
    return lines


def plan(*files, settle="reload", name="ssh"):
    return {"name": name, "settle": settle, "files": list(files)}


def file(path, text, mode=0o644, check=""):
    content = None if text is None else base64.b64encode(text.encode()).decode()
    return {"path": path, "content": content, "mode": mode, "owner": ME, "group": MY_GROUP, "check": check}


def test_apply_writes_settles_and_leaves_no_mark(machine, ran):
    change.apply(plan(file("/etc/a/one", "1", 0o640), file("/etc/two", None)))
    assert (machine / "etc/a/one").read_text() == "1"
    assert (machine / "etc/a/one").stat().st_mode & 0o7777 == 0o640
    assert ran == ["reload"]
    assert unfinished(None) == {"pending": [], "guard": []}
    assert not list(machine.rglob(f"*{change.SCRATCH}*"))


def test_what_is_killed_before_settling_is_seen_by_the_next_run(machine, monkeypatch):
    def killed(*_: object):
        raise KeyboardInterrupt

    monkeypatch.setattr(change, "_run", killed)
    with pytest.raises(KeyboardInterrupt):
        change.apply(plan(file("/etc/one", "1")))
    assert unfinished(None)["pending"] == ["ssh"]


def test_who_restarts_a_service_has_the_time_that_systemd_gives_it(machine, monkeypatch):
    """etcd took over 20 s on a busy disk. What a lockout may wait for is another matter."""
    monkeypatch.setattr(change, "SETTLE_SECONDS", 0.1)
    change.apply(plan(file("/etc/one", "1"), settle="sleep 0.3", name="etcd"))
    assert not (machine / "var/lib/bastide/pending/etcd").exists()


def test_what_has_no_end_is_ended_with_all_that_it_started_and_named_last(machine, monkeypatch, capsys):
    monkeypatch.setattr(change, "UNGUARDED_SECONDS", 0.2)
    began = time.monotonic()
    with pytest.raises(SystemExit):
        change.apply(plan(settle="echo one\nsleep 60; true"))
    assert time.monotonic() - began < 30
    assert capsys.readouterr().err.splitlines()[-1] == "(the above had no end within 0.2 s)"


def test_a_file_is_private_until_it_is_whole(machine, monkeypatch):
    seen = []
    real = os.fsync
    path = machine / "etc/secret"

    def fsync(handle):
        scratch = path.parent / change.SCRATCH
        if scratch.exists():
            seen.append((scratch.stat().st_mode & 0o7777, path.exists()))
        return real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    assert change.write_file(path, b"s", 0o600, ME, MY_GROUP) == ""
    assert seen[0] == (0o700, False)
    assert path.stat().st_mode & 0o7777 == 0o600


def test_a_refused_file_is_not_put_in_place(machine):
    path = machine / "etc/sudoers"
    path.write_text("old")
    said = change.write_file(path, b"new", 0o644, ME, MY_GROUP, check="grep -q old")
    assert said
    assert path.read_text() == "old"
    assert not (path.parent / change.SCRATCH).exists()


def test_the_way_back_is_on_disk_before_anything_changes(machine, ran, monkeypatch):
    """A power cut may lose what was not synchronised, and the new files are."""
    one = machine / "etc/one"
    one.write_text("old")
    seen = []

    def sync():
        unit = machine / "etc/systemd/system/bastide-unconfirmed-ssh.service"
        seen.append((one.read_text(), unit.exists(), (machine / "var/lib/bastide/guard/ssh/state.json").exists()))

    monkeypatch.setattr(os, "sync", sync)
    change.begin(plan(file("/etc/one", "new")), 45)
    assert seen == [("old", True, True)]


def test_confirmed_stays(machine, ran):
    (machine / "etc/one").write_text("old")
    change.begin(plan(file("/etc/one", "new")), 45)
    assert unfinished(None)["guard"] == ["ssh"]
    assert any("systemd-run" in line and "--on-active=45" in line for line in ran)
    assert (machine / "etc/systemd/system/sysinit.target.wants/bastide-unconfirmed-ssh.service").is_symlink()
    change.confirm("ssh")
    assert (machine / "etc/one").read_text() == "new"
    assert unfinished(None)["guard"] == []
    assert not list((machine / "etc/systemd/system").rglob("*unconfirmed*"))
    change.restore("ssh", "late timer")
    assert (machine / "etc/one").read_text() == "new"


def test_unconfirmed_goes_back_with_its_mode_and_settles(machine, ran, capsys):
    one = machine / "etc/one"
    one.write_text("old")
    one.chmod(0o600)
    change.begin(plan(file("/etc/one", "new"), file("/etc/two", "new")), 45)
    ran.clear()
    change.restore("ssh", "no new login")
    assert (one.read_text(), one.stat().st_mode & 0o7777) == ("old", 0o600)
    assert not (machine / "etc/two").exists()
    assert "reload" in ran
    change.report("ssh")
    said = json.loads(capsys.readouterr().out)
    assert said["armed"] is False
    assert said["taken_back"]["reason"] == "no new login"
    with pytest.raises(SystemExit):
        change.confirm("ssh")


def test_a_file_that_cannot_go_back_does_not_keep_the_others_from_it(machine, ran, capsys):
    one, two = machine / "etc/one", machine / "etc/two"
    one.write_text("old")
    two.write_text("old")
    change.begin(plan(file("/etc/one", "new"), file("/etc/two", "new")), 45)
    one.unlink()
    one.mkdir()  # nothing can be renamed over a folder
    ran.clear()
    change.restore("ssh", "no new login")
    assert two.read_text() == "old"
    assert "reload" in ran
    change.report("ssh")
    assert "/etc/one could not be put back" in json.loads(capsys.readouterr().out)["taken_back"]["problem"]


def test_at_boot_files_go_back_and_services_are_left_to_start_by_themselves(machine, ran):
    (machine / "etc/one").write_text("old")
    change.begin(plan(file("/etc/one", "new")), 45)
    ran.clear()
    change.restore("ssh", "power", settle=False)
    assert (machine / "etc/one").read_text() == "old"
    assert ran == []


def test_nothing_changes_when_the_way_back_cannot_be_armed(machine, monkeypatch, capsys):
    (machine / "etc/one").write_text("old")
    monkeypatch.setattr(change, "_run", lambda line, *_: "no systemd" if "systemd-run" in line else "")
    with pytest.raises(SystemExit):
        change.begin(plan(file("/etc/one", "new")), 45)
    assert (machine / "etc/one").read_text() == "old"
    assert "nothing was changed" in capsys.readouterr().err


def test_what_does_not_settle_goes_back_at_once(machine, monkeypatch, capsys):
    (machine / "etc/one").write_text("old")
    settled = iter(["bad option", ""])
    monkeypatch.setattr(change, "_run", lambda line, *_: next(settled) if line == "reload" else "")
    with pytest.raises(SystemExit):
        change.begin(plan(file("/etc/one", "new")), 45)
    assert (machine / "etc/one").read_text() == "old"
    assert capsys.readouterr().err == "bad option\nThe old state is back.\n"


def test_a_second_begin_takes_the_first_one_back(machine, ran):
    (machine / "etc/one").write_text("old")
    change.begin(plan(file("/etc/one", "first")), 45)
    change.begin(plan(file("/etc/one", "second")), 45)
    change.restore("ssh", "timer")
    assert (machine / "etc/one").read_text() == "old"


def test_the_kept_copy_works_alone(machine):
    """The timer runs the copy that `begin` left, with nothing else of the project: made here by what is really sent."""
    (machine / "etc/one").write_text("old")
    sent = remote.call("change", "begin", plan(file("/etc/one", "new"), settle="true"), 45)
    *loads, call = sent.encode().decode().splitlines()
    root = f"Path({json.dumps(str(machine))})"
    here = f"vars(sys.modules['deploys.remote.change']).update(ROOT=__import__('pathlib').{root}, _run=lambda *_: '')"
    subprocess.run(remote.COMMAND.split(), input="\n".join([*loads, here, call]).encode(), check=True, cwd="/")
    assert (machine / "etc/one").read_text() == "new"
    copy = machine / "var/lib/bastide/guard/ssh/change.py"
    text = copy.read_text().replace('ROOT = Path("/")', f"ROOT = {root}")
    copy.write_text(text.replace("systemctl", "true"))
    subprocess.run([sys.executable, "-I", copy, "ssh", "timer"], check=True, cwd="/")
    assert (machine / "etc/one").read_text() == "old"
    assert unfinished(None)["guard"] == []


def test_files_packages_and_links_are_read(machine):
    (machine / "var/lib/dpkg").mkdir()
    (machine / "var/lib/dpkg/status").write_text(
        "Package: curl\nStatus: install ok installed\n\nPackage: nftables\nStatus: install ok half-configured\n\n"
        "Package: gone\nStatus: deinstall ok config-files\n"
    )
    (machine / "etc/link").symlink_to("/usr/share/zoneinfo/Etc/UTC")
    (machine / "etc/one").write_text("1")
    assert packages.packages(["curl", "nftables", "tree"]) == {"curl": True, "nftables": False, "tree": False}
    assert packages.half_way(None) == ["nftables"]
    assert links.links(["/etc/link", "/etc/one"]) == {"/etc/link": "/usr/share/zoneinfo/Etc/UTC", "/etc/one": ""}
    seen = files.files(["/etc/one", "/etc/none"])
    assert seen["/etc/none"] is None
    assert seen["/etc/one"] is not None
    assert seen["/etc/one"]["sha256"].startswith("6b86b273")
    assert seen["/etc/one"]["owner"] == pwd.getpwuid(os.getuid()).pw_name


def test_scripts_and_contents_are_not_in_the_command():
    sent = remote.command("change", "apply", plan(file("/etc/one", "CANARY")))
    assert "CANARY" not in f"{sent} {sent!r}"
    stdin = sent.connector_arguments["_stdin"]
    assert f"{stdin}" == "<change.apply>" == repr(stdin)
    assert base64.b64encode(b"CANARY").decode() in stdin.encode().decode()


def test_what_is_sent_runs(tmp_path):
    request = {fact.name: (fact.module, asked) for fact, asked in (
        (FILES, [str(tmp_path), "/none"]), (PACKAGES, ["none"]))}  # fmt: skip
    sent = remote.call("facts.common", "collect", request, also=[FILES.module, PACKAGES.module])
    done = subprocess.run([*remote.COMMAND.split()], input=sent.encode(), capture_output=True, check=True)
    assert json.loads(done.stdout)["files"]["/none"] is None
    with contextlib.suppress(KeyError):
        assert json.loads(done.stdout)["packages"] == {"none": False}


@pytest.mark.parametrize("script", sorted(path.stem for path in Path(remote.__path__[0]).glob("[a-z]*.py")))
def test_a_script_brings_along_what_it_imports(script):
    """On a machine there is nothing else of the project."""
    *loads, _call = remote.call(script, "nothing").encode().decode().splitlines()
    subprocess.run([*remote.COMMAND.split()], input="\n".join(loads).encode(), capture_output=True, check=True, cwd="/")


def test_what_is_mounted_where(machine):
    (machine / "proc/self").mkdir()
    (machine / "proc/self/mountinfo").write_text(
        "22 28 0:20 / /proc rw shared:12 - proc proc rw\n"
        "60 28 8:16 / /srv/a\\040b rw,noatime shared:40 - ext4 /dev/sdb rw\n"
        "61 28 8:32 / /srv/twice rw - ext4 /dev/sdc rw\n"
        "62 28 8:48 / /srv/twice ro - xfs /dev/sdd rw\n"
    )
    found = volumes.mounts(["/srv/a b", "/srv/twice", "/srv/none"])
    assert found["/srv/a b"] == {"device": "8:16", "source": "/dev/sdb", "type": "ext4", "options": ["rw", "noatime"]}
    assert found["/srv/twice"] is not None
    assert (found["/srv/twice"]["device"], found["/srv/none"]) == ("8:48", None)


def test_how_much_of_a_device_its_file_system_leaves(machine):
    image, status = machine / "disk", machine / "proc/self/status"
    status.parent.mkdir()
    status.write_text("CapPrm:\t000001ffffffffff\nCapEff:\t000001ffffffffff\n")
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    assert volumes.room(["/disk", "/none"]) == {"/disk": 0, "/none": 0}
    with image.open("ab") as file:
        file.truncate(64 << 20 | 5 << 20)
    assert volumes.room(["/disk"]) == {"/disk": 5 << 20}
    status.write_text("CapPrm:\t000001ffffffffff\nCapEff:\t000001fffeffffff\n")
    assert volumes.room(["/disk"]) == {"/disk": 0}, "without CAP_SYS_RESOURCE it stays as it is"
    status.write_text("CapEff:\t000001ffffffffff\n")
    (machine / "other").write_bytes(bytes(4096))
    assert volumes.room(["/other"]) == {"/other": 0}


def test_what_is_no_block_device_has_no_number(machine):
    (machine / "plain").touch()
    assert volumes.devices(["/plain", "/none"]) == {"/plain": "", "/none": ""}
