"""Where a lab cannot run, that is said first: in two lines, with the next step, before anything is built."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from bastide.console import Completed
from bastide.errors import BastideError, LabError
from lab import cli, doctor, host
from lab.host import Facts, unfit
from lab.machines import cgroups

ROOT = Path(__file__).parents[3]
ALL = (1 << 41) - 1
# what docker gives a container that nobody gave rights (its default set)
DOCKER = 0xA80425FB
FIT = Facts(
    system="linux",
    version="Linux version 6.12.48+deb13-amd64 (debian-kernel@lists.debian.org)",
    root=True,
    sudo=False,
    bounding=ALL,
    effective=ALL,
    uid_map="         0          0 4294967295\n",
    mounts=True,
)
WSL1 = "Linux version 4.4.0-19041-Microsoft (Microsoft@Microsoft.com) (gcc version 5.4.0 (GCC) ) #1237-Microsoft"
WSL2 = "Linux version 5.15.90.1-microsoft-standard-WSL2 (oe-user@oe-host) (x86_64-msft-linux-gcc (GCC) 9.3.0)"


@pytest.mark.parametrize(
    "facts",
    [
        FIT,
        dataclasses.replace(FIT, root=False, sudo=True, effective=0, mounts=None),
        dataclasses.replace(FIT, version=WSL2),
        # a kernel without /proc/self/uid_map
        dataclasses.replace(FIT, uid_map=""),
    ],
)
def test_where_a_lab_can_run_nothing_is_said(facts: Facts) -> None:
    assert unfit(facts) is None


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"system": "darwin", "version": "", "bounding": 0, "effective": 0}, "this is macOS", "virtual machine"),
        ({"version": WSL1}, "this is WSL 1", "wsl --set-version <distribution> 2"),
        ({"bounding": DOCKER, "effective": DOCKER}, "CAP_SYS_ADMIN and CAP_NET_ADMIN missing", "--privileged"),
        # sudo helps nobody in there
        ({"root": False, "sudo": True, "bounding": DOCKER, "effective": 0}, "container without rights", "--privileged"),
        ({"mounts": False}, "nothing can be mounted", "--privileged"),
        ({"uid_map": "0 1000 1\n1 100000 65536"}, "user namespace", "virtual machine"),
        ({"root": False, "effective": 0}, "there is no sudo", "as root"),
    ],
)
def test_where_it_cannot_the_reason_and_the_next_step_are(changes: dict[str, object], message: str, hint: str) -> None:
    reason = unfit(dataclasses.replace(FIT, **changes))
    assert reason is not None
    assert message in reason[0]
    assert hint in reason[1]
    assert "\n" not in "".join(reason)


@pytest.mark.parametrize(
    "verb", [["doctor"], ["up", "--port=8080", "--token-file=-", "--authorized-key=k", "--info=i"]]
)
def test_up_and_doctor_say_it_before_they_ask_for_root(verb: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "look", lambda: dataclasses.replace(FIT, system="darwin"))
    monkeypatch.setattr(cli, "_become_root", lambda words: pytest.fail("asked for root"))
    monkeypatch.setattr(sys, "argv", ["lab", *verb])
    with pytest.raises(BastideError) as failure:
        cli.main()
    assert failure.value.message.startswith("no local cloud here: this is macOS")
    assert failure.value.hint


def test_the_question_needs_nothing_but_a_python() -> None:
    """`make up` asks it on a machine where nothing is installed yet, with a Python that may be too old for the rest."""
    code = (
        "import sys; before = set(sys.modules); import lab.host\n"
        "print(sorted(name for name in set(sys.modules) - before if name.split('.')[0] in ('bastide', 'lab', 'tools')))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['lab', 'lab.host']"


def test_every_line_of_the_doctor_that_is_not_ok_ends_with_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that lacks everything."""

    def nothing(*arguments: object, **more: object) -> Completed:
        return Completed(1, "", "no such thing")

    def no_mirror() -> None:
        raise LabError("no Debian mirror")

    monkeypatch.setattr(doctor, "run", nothing)
    monkeypatch.setattr(doctor, "read_upstream", no_mirror)
    monkeypatch.setattr(doctor, "_which", lambda program: None)
    monkeypatch.setattr(doctor, "_DISK_GB", 1e9)
    monkeypatch.setattr(Path, "exists", lambda path: False)
    monkeypatch.setattr(cgroups, "kind", lambda mount=None: "")
    found = list(doctor.examine(port=8080))
    assert {finding.level for finding in found} >= {"missing", "note"}
    assert [str(finding) for finding in found if finding.level != "ok" and not finding.next] == []
    assert all("; next: " in str(finding) for finding in found if finding.level != "ok")


def test_make_asks_it_first() -> None:
    lines = (ROOT / "Makefile").read_text().splitlines()
    (up,) = [line for line in lines if line.startswith("up: ") and " = " not in line]
    assert up.split()[1] == "fit"
