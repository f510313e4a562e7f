"""Recorded host keys and the ssh configuration."""

from __future__ import annotations

import shutil
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from bastide.errors import HostKeyError, StackError
from bastide.machines import Inventory, Machine, Prober, ssh_config_path
from hosts.transport import known_hosts
from hosts.transport.known_hosts import Record
from hosts.transport.ssh_config import write_ssh_config

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG540gUHism/JgBPUdTQKEPUH1ECuHCbgcCLRpL7O5vs"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIORS8Ni+k81A5+zX2kfnx+CtclOJClLDL3V1t1L26xlJ"
MACHINE = Machine("primary", "primary", "fsn1", "17", 1, "192.0.2.17", "2001:db8::17", "10.20.0.11")
PROBER = Prober("prober", "root", "192.0.2.99", "2001:db8::99", OTHER)


@pytest.fixture
def known(tmp_path: Path) -> Path:
    (tmp_path / "stacks").mkdir()
    return known_hosts.known_hosts_path("unit", tmp_path)


def put(known: Path, *items: Record) -> None:
    for record in items:
        known_hosts.write_record(known, known.parent / "lock", record)


def inventory(identity: str = "~/.ssh/bastide") -> Inventory:
    return Inventory("unit", "lab", "bastide", identity, 2222, (MACHINE,), PROBER)


def test_records_are_sorted_lines_of_known_hosts_with_the_generation_as_comment(known: Path) -> None:
    put(
        known,
        Record("bastide-unit-standby-2", KEY, 3),
        Record("bastide-unit-primary-1", OTHER, 1, final=False),
    )
    lines = [line for line in known.read_text().splitlines() if not line.startswith("# ") or "pending" in line]
    assert lines == [
        f"# pending bastide-unit-primary-1 {OTHER} generation=1",
        f"bastide-unit-standby-2 {KEY} generation=3",
    ]
    assert set(known_hosts.read_records(known)) == {"bastide-unit-primary-1", "bastide-unit-standby-2"}


@pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="needs ssh-keygen (openssh-client)")
def test_openssh_finds_a_final_record_and_no_pending_one(known: Path) -> None:
    put(
        known,
        Record("bastide-unit-a-1", KEY, 1),
        Record("bastide-unit-b-1", OTHER, 1, final=False),
    )
    find = ["ssh-keygen", "-f", str(known), "-F"]
    assert KEY in subprocess.run([*find, "bastide-unit-a-1"], capture_output=True, text=True, check=True).stdout
    assert not subprocess.run([*find, "bastide-unit-b-1"], capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize(
    "line",
    [
        "<<<<<<< HEAD",
        "bastide-unit-a-1 ssh-ed25519",
        f"bastide-unit-a-1 {KEY}",
        f"bastide-unit-a-1 {KEY} generation=one",
        f"bastide-unit-a-1 {KEY.replace('ed25519', 'rsa')} generation=1",
        f"bastide-unit-a-1 {KEY} generation=1\nbastide-unit-a-1 {OTHER} generation=1",
    ],
)
def test_a_broken_file_is_named_with_its_line_and_left_alone(known: Path, line: str) -> None:
    known.write_text(f"# comment\n\n{line}\n")
    with pytest.raises(StackError, match=r"unit\.known_hosts:[34]: "):
        put(known, Record("bastide-unit-b-1", KEY, 1))
    assert known.read_text() == f"# comment\n\n{line}\n"


def test_a_final_record_is_not_written_over(known: Path) -> None:
    put(known, Record("bastide-unit-a-1", KEY, 1))
    put(known, Record("bastide-unit-a-1", KEY, 1, final=False))
    with pytest.raises(HostKeyError):
        put(known, Record("bastide-unit-a-1", OTHER, 1))
    assert known_hosts.read_records(known)["bastide-unit-a-1"] == Record("bastide-unit-a-1", KEY, 1)


def test_machines_that_write_at_once_lose_nothing(known: Path) -> None:
    threads = [
        threading.Thread(target=put, args=(known, Record(f"bastide-unit-m{number}-1", KEY, 1))) for number in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(known_hosts.read_records(known)) == 20


def test_only_final_records_reach_the_machines(known: Path, tmp_path: Path) -> None:
    assert known_hosts.with_host_keys((MACHINE,), "unit", tmp_path)[0].host_key == ""
    put(known, Record("bastide-unit-primary-17", KEY, 1, final=False))
    assert known_hosts.with_host_keys((MACHINE,), "unit", tmp_path)[0].host_key == ""
    put(known, Record("bastide-unit-primary-17", KEY, 1))
    assert known_hosts.with_host_keys((MACHINE,), "unit", tmp_path)[0].host_key == KEY


@pytest.mark.skipif(not shutil.which("ssh"), reason="needs ssh (openssh-client)")
def test_openssh_reads_the_configuration_as_meant(known: Path, tmp_path: Path) -> None:
    root = tmp_path / "a folder, 100%"
    root.mkdir()
    config = write_ssh_config(inventory("keys/id"), root)
    asked = ["ssh", "-G", "-F", str(config), "primary"]
    said = dict(
        line.split(" ", 1)
        for line in subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()
    )
    assert said["hostname"] == "192.0.2.17"
    assert said["user"] == "bastide"
    assert said["port"] == "2222"
    assert said["hostkeyalias"] == "bastide-unit-primary-17"
    assert said["stricthostkeychecking"] in ("true", "yes")
    assert said["passwordauthentication"] == "no"
    assert said["forwardagent"] == "no"
    assert said["userknownhostsfile"].replace("%%", "%").strip('"') == str(root / "stacks/unit.known_hosts")
    assert said["identityfile"].replace("%%", "%").strip('"') == str(root / "keys/id")
    folder = Path(said["controlpath"].replace("%%", "%")).parent
    assert folder.stat().st_mode & 0o777 == 0o700
    prober = subprocess.run([*asked[:-1], "prober"], capture_output=True, text=True, check=True).stdout
    assert "user root" in prober
    assert OTHER in (root / "build/unit/prober.known_hosts").read_text()


@pytest.mark.skipif(not shutil.which("ssh"), reason="needs ssh (openssh-client)")
def test_the_account_of_the_checks_has_a_configuration_of_its_own(known: Path, tmp_path: Path) -> None:
    own = replace(inventory("keys/id"), verifier="verify", verifier_identity="keys/verify")
    write_ssh_config(own, tmp_path)
    config = ssh_config_path("unit", tmp_path, gated=True)

    def said(name: str) -> str:
        return subprocess.run(["ssh", "-G", "-F", str(config), name], capture_output=True, text=True, check=True).stdout

    assert "user verify\n" in said("primary")
    assert "keys/verify" in said("primary")
    assert "keys/id" not in said("primary")
    assert "user root\n" in said("prober")
    # the key goes with the account
    write_ssh_config(inventory("keys/id"), tmp_path)
    assert not config.exists()


def test_sockets_of_a_deep_folder_lie_where_their_path_fits(tmp_path: Path) -> None:
    root = tmp_path / ("d" * 100)
    root.mkdir()
    line = next(line for line in write_ssh_config(inventory(), root).read_text().splitlines() if "ControlPath" in line)
    assert len(line.split('"')[1]) <= 90
    shutil.rmtree(Path(line.split('"')[1]).parent)


def test_a_fingerprint_is_what_ssh_keygen_shows() -> None:
    if not shutil.which("ssh-keygen"):
        pytest.skip("needs ssh-keygen (openssh-client)")
    shown = subprocess.run(["ssh-keygen", "-lf", "-"], input=KEY, capture_output=True, text=True, check=True).stdout
    assert shown.split()[1] == known_hosts.fingerprint(KEY)
