"""From facts to commands, without a machine."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
from types import SimpleNamespace
from typing import ClassVar

import pytest
from pydantic import SecretStr
from pyinfra.connectors.util import CommandOutput, OutputLine

from bastide.console import run
from deploys import firewall, ssh
from deploys.facts.fact import Facts, covers
from deploys.facts.files import CONTENTS
from deploys.facts.volumes import MOUNTS
from deploys.operations import admit, confirmed, files, links, packages, phase, units, volumes, wait
from tests.unit.deploys.box import here

NOTHING: dict[str, list[str]] = {"pending": [], "guard": []}


class Fake(SimpleNamespace):
    """A stand-in that can be a key of a weak dictionary."""

    __hash__ = object.__hash__  # type: ignore[assignment]


@pytest.fixture
def host(monkeypatch):
    fake = Fake(
        name="primary",
        said=[],
        answer={"unfinished": NOTHING},
        data={},
        state=SimpleNamespace(is_executing=True, config=SimpleNamespace(DIFF=False)),
        noop=lambda text: None,
    )
    fake.log = fake.said.append
    for module in (admit, files, confirmed, links, packages, units, volumes, wait):
        monkeypatch.setattr(module, "this_host", lambda: fake, raising=False)
        monkeypatch.setattr(module, "ask", lambda host, *requests: Facts(fake.answer), raising=False)
        monkeypatch.setattr(module, "forget", lambda host: None, raising=False)
    return fake


def seen(content=b"old", mode=0o644):
    return {"sha256": hashlib.sha256(content).hexdigest(), "mode": mode, "owner": "root", "group": "root"}


def commands(operation, **arguments):
    return [str(command) for command in operation._inner(**arguments)]


def sent(command):
    """What a command tells the script on the machine."""
    text = command.connector_arguments["_stdin"].encode().decode()
    return json.loads(eval(text.splitlines()[-1].partition("json.loads(")[2].rstrip(")")))


@pytest.mark.parametrize(
    ("there", "left", "written"),
    [
        (seen(b"new"), NOTHING, None),
        (seen(b"old"), NOTHING, ["/etc/one"]),
        (seen(b"new", 0o600), NOTHING, ["/etc/one"]),
        (None, NOTHING, ["/etc/one"]),
        # killed between writing and settling: nothing is to be written, but to be settled
        (seen(b"new"), {"pending": ["set"], "guard": []}, []),
    ],
)
def test_files(host, there, left, written):
    host.answer = {"files": {"/etc/one": there}, "unfinished": left}
    made = list(files.files._inner(name_="set", wanted=(files.File("/etc/one", "new"),), settle="reload"))
    if written is None:
        assert made == []
    else:
        (plan,) = sent(made[0])
        assert [file["path"] for file in plan["files"]] == written
        assert plan["settle"] == "reload"


def test_a_file_that_shall_not_exist(host):
    host.answer = {"files": {"/etc/one": seen()}, "unfinished": NOTHING}
    made = list(files.files._inner(name_="set", wanted=(files.File("/etc/one", None),)))
    assert sent(made[0])[0]["files"][0]["content"] is None


def test_a_secret_is_shown_nowhere(host):
    host.state.config.DIFF = True
    host.answer = {"files": {"/etc/s": seen()}, "unfinished": NOTHING}
    (made,) = list(files.secret_file._inner("/etc/s", SecretStr("CANARY")))
    shown = f"{made} {made!r} {made.connector_arguments} {files.File('/etc/s', SecretStr('CANARY'))!r} {host.said}"
    assert "CANARY" not in shown
    assert base64.b64encode(b"CANARY").decode() not in shown
    file = sent(made)[0]["files"][0]
    assert base64.b64decode(file["content"]) == b"CANARY"
    assert (file["mode"], file["owner"]) == (0o600, "root")


def test_differences_are_listed_for_a_plan(host, monkeypatch, tmp_path):
    listed = tmp_path / "files.jsonl"
    host.data = {"differences": str(listed)}
    monkeypatch.setattr(files, "ask", lambda host, *_: Facts({"contents": {"/etc/one": "old\n", "/etc/gone": "x\n"}}))
    wanted = (
        files.File("/etc/one", "new\n", mode=0o600),
        files.File("/etc/gone", None),
        files.File("/etc/s", SecretStr("CANARY")),
    )
    there = {"/etc/one": seen(b"old\n"), "/etc/gone": seen(b"x\n"), "/etc/s": None}
    files.differing(host, wanted, Facts({"files": there}))
    assert "CANARY" not in listed.read_text()
    assert [json.loads(line) for line in listed.read_text().splitlines()] == [
        {"machine": "primary", "path": "/etc/one", "secret": False, "diff": ["@@ -1 +1 @@", "-old", "+new"],
         "note": "0644 root root becomes 0600 root root"},
        {"machine": "primary", "path": "/etc/gone", "secret": False, "diff": ["@@ -1 +0,0 @@", "-x"],
         "note": "removed"},
        {"machine": "primary", "path": "/etc/s", "secret": True, "diff": [], "note": "new"},
    ]  # fmt: skip
    assert host.said == []


@pytest.mark.parametrize(("mode", "shown"), [(0o600, False), (0o640, False), (0o644, True)])
def test_the_text_of_a_removed_file_is_shown_only_when_all_could_read_it(host, monkeypatch, tmp_path, mode, shown):
    """It may have been a secret: who removes a file does not say what it was."""
    listed = tmp_path / "files.jsonl"
    host.state.config.DIFF = True
    host.data = {"differences": str(listed)}
    asked = []

    def ask(host, request):
        asked.extend(request[CONTENTS])
        return Facts({"contents": {"/etc/gone": "CANARY\n"}})

    monkeypatch.setattr(files, "ask", ask)
    wanted = (files.File("/etc/gone", None),)
    files.differing(host, wanted, Facts({"files": {"/etc/gone": seen(b"CANARY\n", mode)}}))
    (entry,) = [json.loads(line) for line in listed.read_text().splitlines()]
    assert (entry["secret"], entry["note"]) == (not shown, "removed")
    assert ("CANARY" in listed.read_text(), "CANARY" in str(host.said), bool(asked)) == (shown, shown, shown)


def test_differences_are_shown_once_on_demand(host, monkeypatch):
    host.state.config.DIFF = True
    monkeypatch.setattr(files, "ask", lambda host, *_: Facts({"contents": {"/etc/one": "old\n"}}))
    wanted = (files.File("/etc/one", "new\n"),)
    for _ in ("prepare", "execute"):
        files.differing(host, wanted, Facts({"files": {"/etc/one": seen(b"old\n")}}))
    assert [line.strip() for line in host.said if "new" in line or "old" in line] == ["-old", "+new"]


@pytest.mark.parametrize(
    ("drift", "left", "applies"),
    [("", NOTHING, False), ("changed by hand", NOTHING, True), ("", {"pending": [], "guard": ["ssh"]}, True)],
)
def test_guarded(host, drift, left, applies):
    host.answer = {"files": {"/etc/one": seen(b"new")}, "unfinished": left}
    wanted = (files.File("/etc/one", "new"),)
    made = list(confirmed.confirmed._inner("ssh", wanted, "settle", 22, drift))
    assert bool(made) is applies
    if applies:
        plan, seconds = sent(made[0])
        assert [file["path"] for file in plan["files"]] == ["/etc/one"]  # all of them: all can be taken back
        assert seconds > confirmed.LOGIN_SECONDS
        assert made[1].args == ("ssh", 22)


class Connector:
    """A new connection that answers what the test says, in turn."""

    turns: ClassVar[list[object]] = []

    def __init__(self, state, host):
        self.data, self.client = {}, None

    def connect(self):
        self.turn = self.turns.pop(0)
        if isinstance(self.turn, Exception):
            raise self.turn

    def run_shell_command(self, command, **arguments):
        return self.turn


def output(worked, text):
    return worked, CommandOutput([OutputLine("stdout" if worked else "stderr", text)])


@pytest.fixture
def knocked(host, monkeypatch):
    told = []
    host.connector_cls = Connector
    host.log_styled = lambda text, **options: told.append(text)
    host.run_shell_command = lambda *arguments, **options: output(True, "")
    monkeypatch.setattr(confirmed.gevent, "sleep", lambda seconds: None)
    monkeypatch.setattr(confirmed, "_port_in_use", lambda host: 22)
    return told


def test_a_new_login_confirms(host, knocked):
    Connector.turns = [OSError(), output(True, "")]  # the first knock comes while sshd starts; str(OSError()) is ""
    assert confirmed._confirm(None, host, "ssh", 22) is True
    assert knocked == []


def test_what_moves_no_port_is_tried_where_this_run_came_in(host, knocked):
    """On a new machine sshd still listens on 22, whatever settings.ssh.port says."""
    seen = []

    class Seeing(Connector):
        def connect(self):
            seen.append(self.data["ssh_port"])
            super().connect()

    host.connector_cls = Seeing
    Connector.turns = [output(True, "")]
    assert confirmed._confirm(None, host, "users", None) is True
    assert seen == [22]


def test_without_a_new_login_the_old_state_is_waited_for(host, knocked, monkeypatch):
    monkeypatch.setattr(confirmed, "LOGIN_SECONDS", 0.05)
    armed = json.dumps({"armed": True, "taken_back": None})
    back = json.dumps({"armed": False, "taken_back": {"reason": "no new login"}})

    class Later(Connector):
        def connect(self):
            if knocked:  # the taking back has begun
                self.turn = self.turns.pop(0)
            else:
                raise OSError("timed out")

    Later.turns = [output(True, armed), output(True, back)]
    host.connector_cls = Later
    assert confirmed._confirm(None, host, "ssh", 22) is False
    assert knocked[0] == "ssh: no new login within 0.05 s (timed out); taking it back"
    assert knocked[1] == "ssh: the old state is back (no new login)"


def test_packages(host):
    host.answer = {"packages": {"curl": True, "tree": False}, "half_way": []}
    made = commands(packages.packages, names=("tree", "curl"))
    assert [re.findall(r"apt-get .* (update|install)", line) for line in made] == [["update"], ["install"]]
    assert made[1].split(" >")[0].endswith("install --no-install-recommends -- tree")
    host.answer = {"packages": {"curl": True, "tree": True}, "half_way": ["tree"]}
    assert ["dpkg" in line for line in commands(packages.packages, names=("tree",))] == [True]
    host.answer = {"packages": {"curl": True, "tree": True}, "half_way": []}
    assert commands(packages.packages, names=("tree",)) == []


def test_package_lists_are_fetched_once_until_something_changed_or_failed(host, tmp_path):
    host.answer = {"packages": {"tree": False}, "half_way": []}
    made = commands(packages.packages, names=("tree",))
    sources, works = tmp_path / "etc/apt/sources.list.d", tmp_path / "works"
    for folder in (sources, tmp_path / "run", tmp_path / "var/log"):
        folder.mkdir(parents=True)
    works.touch()
    apt = tmp_path / "apt-get"
    apt.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/asked\n[ -e {works} ]\n')
    apt.chmod(0o755)

    def asked() -> list[str]:
        (tmp_path / "asked").unlink(missing_ok=True)
        for line in made:
            script = re.sub(r"(?<![\w/])/(run|etc|var)/", rf"{tmp_path}/\1/", line)
            env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
            if subprocess.run(["sh", "-c", script], env=env, stderr=subprocess.DEVNULL, check=False).returncode:
                break
        return re.findall(r"update$|install(?= --no)", (tmp_path / "asked").read_text(), re.MULTILINE)

    assert asked() == ["update", "install"]
    assert asked() == ["install"]
    (sources / "other.sources").touch()
    assert asked() == ["update", "install"]
    works.unlink()
    assert asked() == ["install"]
    assert asked() == ["update"]
    works.touch()
    assert asked() == ["update", "install"]
    os.utime(tmp_path / "run/bastide-apt-lists", (1, 1))
    assert asked() == ["update", "install"]


@pytest.mark.parametrize(
    ("state", "unit", "made"),
    [
        ("running", ("loaded", "enabled", "active"), []),
        ("running", ("loaded", "disabled", "inactive"), ["systemctl enable u", "systemctl start u"]),
        ("enabled", ("loaded", "enabled", "inactive"), []),
        ("masked", ("loaded", "enabled", "active"), ["systemctl mask u"]),
        ("masked", ("masked", "masked", "inactive"), []),
        ("masked", ("not-found", "", "inactive"), []),
    ],
)
def test_units(state, unit, made):
    seen = dict(zip(("LoadState", "UnitFileState", "ActiveState"), unit, strict=True))
    assert units.unit_commands("u", state, seen) == made


def test_link(host):
    host.answer = {"links": {"/etc/localtime": "/old"}}
    assert len(commands(links.link, path="/etc/localtime", target="/new")) == 1
    assert commands(links.link, path="/etc/localtime", target="/old") == []


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


def test_admit(host):
    host.answer = {"tables": {"bastide": {"live": "x", "ssh_ports": [22]}}}
    assert commands(admit.admit, port=22) == []
    assert commands(admit.admit, port=2222) == ["nft add element inet bastide ssh_ports '{ 2222 }'"]
    host.answer = {"tables": {"bastide": {"live": "", "ssh_ports": []}}}
    assert commands(admit.admit, port=2222) == []
    host.answer = {"tables": {"bastide": {"live": "x", "ssh_ports": [22], "udp_ports": [51820]}}}
    assert commands(admit.admit, port=51820, protocol="udp") == []
    (rule,) = commands(admit.admit, port=22, protocol="udp")
    assert rule == "nft insert rule inet bastide input udp dport 22 accept"


def test_phase_changes_nothing():
    assert commands(phase.phase) == []


def test_wait(host):
    host.run_shell_command = lambda *arguments, **options: (True, None)
    assert commands(wait.wait, until="true") == []
    host.run_shell_command = lambda *arguments, **options: (False, None)
    assert len(commands(wait.wait, until="test -e x", seconds=3)) == 1
    host.state.is_executing = False
    assert commands(wait.wait, until="test -e x") == []


def test_drift_of_the_firewall():
    def drift(live="a", loaded="a", unit="enabled"):
        tables, units = {"bastide": {"live": live, "loaded": loaded}}, {firewall.UNIT: {"UnitFileState": unit}}
        return firewall.drift(Facts({"tables": tables, "units": units}))

    assert drift() == ""
    assert "not loaded" in drift(live="")
    assert "by somebody" in drift(live="b")
    assert "next boot" in drift(unit="disabled")


def test_drift_of_ssh():
    config = ssh.config_file(ssh.wanted_of(here()))
    running = {"ActiveState": "active", "UnitFileState": "enabled"}
    off = {"ActiveState": "inactive", "UnitFileState": "disabled"}
    fine = {"sshd": ssh.effective(config), "units": {"ssh.service": running, "ssh.socket": off}}
    assert ssh.drift(config, Facts(fine)) == ""
    other = {**ssh.effective(config), "permitrootlogin": ["yes"], "allowusers": ["bastide", "anna", "bruno", "eve"]}
    assert (
        ssh.drift(config, Facts({**fine, "sshd": other}))
        == "effective configuration differs: allowusers, permitrootlogin"
    )
    assert "socket" in ssh.drift(config, Facts({**fine, "units": {"ssh.service": running, "ssh.socket": running}}))
    assert "not enabled" in ssh.drift(config, Facts({**fine, "units": {"ssh.service": off, "ssh.socket": off}}))
