"""What packages may restart, and how a program that was replaced is told from one that is at work."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from bastide.layout.updates import POLICY, ROLLED
from deploys.remote.facts import common, patroni, programs
from deploys.restarts import restart_files

CODE = "7f00-7f01 r-xp 00000000 08:01 12"
STATUS = """\
Package: patroni
Status: install ok installed
Depends: python3:any, python3-yaml (>= 1) | other, libc6

Package: python3-yaml
Status: install ok installed
Depends: python3-deep, libyaml-0-2

Package: python3-deep
Status: install ok installed

Package: python3-other
Status: install ok installed
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """The script, and a dpkg that says of every package what the file `want` says."""
    text = next(str(file.content) for file in restart_files() if file.path == POLICY)
    (tmp_path / "policy-rc.d").write_text(text)
    (tmp_path / "dpkg-query").write_text(f"#!/bin/sh\ncat {tmp_path}/want\n")
    for name in ("policy-rc.d", "dpkg-query"):
        (tmp_path / name).chmod(0o755)
    return tmp_path


def says(policy: Path, *words: str, want: str = "install", package: str = "patroni") -> int:
    (policy / "want").write_text(want)
    env = {"PATH": f"{policy}:{os.environ['PATH']}", **({"DPKG_MAINTSCRIPT_PACKAGE": package} if package else {})}
    return subprocess.run((policy / "policy-rc.d", *words), env=env, check=False).returncode


@pytest.mark.parametrize("verb", ["start", "restart", "(restart)", "stop", "reload", "force-reload", "try-restart"])
@pytest.mark.parametrize("name", ROLLED)
def test_packages_restart_nothing_of_a_cluster(policy: Path, name: str, verb: str) -> None:
    """By the names and words that invoke-rc.d and deb-systemd-invoke have for it."""
    assert says(policy, name, verb) == 101
    assert says(policy, f"{name}.service", verb) == 101
    assert says(policy, "--quiet", name, verb, "5") == 101


def test_others_are_restarted_and_nobody_is_kept_from_looking(policy: Path) -> None:
    for name in ("ssh", "cron.service", "postgresql", "etcd2", "postgresql@17-main.service"):
        assert says(policy, name, "restart") == 0
    assert says(policy, "patroni", "status") == 0
    assert says(policy, "patroni", "--list") == 0


def test_what_is_removed_is_stopped_and_an_upgrade_stops_nothing(policy: Path) -> None:
    assert says(policy, "patroni", "stop", want="deinstall") == 0
    assert says(policy, "patroni", "stop", want="purge") == 0
    assert says(policy, "patroni", "stop", want="install") == 101
    assert says(policy, "patroni", "restart", want="deinstall") == 101
    assert says(policy, "patroni", "stop", want="deinstall", package="") == 101


def test_somebody_elses_policy_is_not_written_over(tmp_path: Path) -> None:
    (file,) = [one for one in restart_files() if one.path == POLICY]
    there = tmp_path / "policy-rc.d"
    check = file.check.replace(POLICY, str(there))

    def done() -> subprocess.CompletedProcess[str]:
        return subprocess.run(f"{check} /new", shell=True, capture_output=True, text=True, check=False)

    assert done().returncode == 0
    there.write_text("#!/bin/sh\nexit 101\n")
    assert done().returncode == 1
    assert "is of somebody else" in done().stderr
    there.write_text(str(file.content))
    assert done().returncode == 0


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose Patroni began a minute ago and whose etcd does not run."""
    monkeypatch.setattr(common, "ROOT", tmp_path)
    (tmp_path / "var/lib/dpkg/info").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(STATUS)
    (tmp_path / "proc/12").mkdir(parents=True)
    (tmp_path / "proc/12/maps").write_text(
        f"{CODE} /usr/bin/python3.13\n7f02-7f03 rw-s 0 00:01 1 /dev/zero (deleted)\n"
    )
    began = int((time.monotonic() - 60) * 1e6)
    said = {"patroni.service": (12, began), "etcd.service": (0, 0)}

    def output(*argv: str) -> str:
        texts = (said[word] for word in argv[argv.index("--") + 1 :])
        return "\n\n".join(f"MainPID={pid}\nExecMainStartTimestampMonotonic={at}" for pid, at in texts) + "\n"

    monkeypatch.setattr(programs, "output", output)
    for package in ("patroni", "python3-yaml", "python3-deep:amd64", "python3-other"):
        unpacked(tmp_path, package, seconds=3600)
    return tmp_path


def unpacked(machine: Path, package: str, *, seconds: float) -> None:
    path = machine / f"var/lib/dpkg/info/{package}.list"
    path.touch()
    os.utime(path, (time.time() - seconds,) * 2)


def outdated() -> Any:
    return programs.outdated(["patroni.service", "etcd.service"])


def test_what_is_at_work_and_what_does_not_run_is_not_outdated(machine: Path) -> None:
    assert outdated() == {"patroni.service": "", "etcd.service": ""}


def test_a_replaced_file_of_code_is_seen(machine: Path) -> None:
    (machine / "proc/12/maps").write_text(f"{CODE} /usr/lib/x86_64-linux-gnu/libssl.so.3 (deleted)\n")
    assert outdated()["patroni.service"] == "/usr/lib/x86_64-linux-gnu/libssl.so.3 was replaced"


@pytest.mark.parametrize("package", ["patroni", "python3-deep:amd64"])
def test_what_python_keeps_is_told_by_when_it_was_unpacked(machine: Path, package: str) -> None:
    unpacked(machine, package, seconds=30)
    assert outdated()["patroni.service"] == f"installed since it was started: {package}"


def test_a_program_that_starts_it_and_is_another_one_now_is_seen(machine: Path) -> None:
    starter = machine / "usr/local/lib/bastide/patroni"
    starter.parent.mkdir(parents=True)
    starter.touch()
    assert outdated()["patroni.service"] == "/usr/local/lib/bastide/patroni is another one now"
    os.utime(starter, (time.time() - 3600,) * 2)
    assert outdated()["patroni.service"] == ""


def test_what_it_may_counts_from_its_start(machine: Path) -> None:
    drop_in = machine / "etc/systemd/system/patroni.service.d/bastide.conf"
    drop_in.parent.mkdir(parents=True)
    drop_in.touch()
    assert outdated()["patroni.service"] == programs.SANDBOX
    os.utime(drop_in, (time.time() - 3600,) * 2)
    assert outdated()["patroni.service"] == ""


def test_a_server_that_outlived_its_patroni_is_seen_by_what_it_may(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patroni, "output", lambda *words: "12\n")
    data = machine / "data"
    data.mkdir()
    (data / "postmaster.pid").write_text("34\n/data\n")
    (machine / "proc/34").mkdir()
    for pid, calls in (("12", "2"), ("34", "2")):
        (machine / f"proc/{pid}/status").write_text(f"Name:\tx\nNoNewPrivs:\t1\nSeccomp:\t{calls}\n")
    assert patroni.outdated_part(data) == ""
    (machine / "proc/34/status").write_text("Name:\tx\nNoNewPrivs:\t0\nSeccomp:\t0\n")
    assert patroni.outdated_part(data) == "postgres"


def test_a_module_that_it_does_not_need_is_none_of_its_own(machine: Path) -> None:
    unpacked(machine, "python3-other", seconds=30)
    assert outdated()["patroni.service"] == ""
