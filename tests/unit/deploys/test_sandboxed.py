"""A unit that would hold its service to too little is not put in place, and one in which it fails is taken back."""

from __future__ import annotations

import base64
import getpass
import grp
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bastide.layout.sandbox import ROUTER
from deploys.remote import change, pool, postgres, refusal
from deploys.sandboxed import drop_in

OLD, NEW = "[Service]\nNoNewPrivileges=yes\n", "[Service]\nSystemCallFilter=none\n"
PATH = "/etc/systemd/system/x.service.d/bastide.conf"
POOL = {"databases": ["app"], "longest": 0.0, "drain": 0.0}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One on which the drop-in is there as before."""
    for folder in ("run", "var/lib/bastide", "etc/systemd/system/x.service.d"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / PATH[1:]).write_text(OLD)
    monkeypatch.setattr(change, "ROOT", tmp_path)
    monkeypatch.setattr(change, "refusal", lambda unit, since: f"{unit}: refused")
    monkeypatch.setattr(change, "_works_since", lambda unit, moment: False)
    return tmp_path


def plan(text: str = NEW, **more: Any) -> dict[str, Any]:
    own = {"mode": 0o644, "owner": getpass.getuser(), "group": grp.getgrgid(os.getgid()).gr_name, "check": ""}
    file = {"path": PATH, "content": base64.b64encode(text.encode()).decode(), **own}
    return {"name": "x", "settle": "restart", "unit": "x.service", "files": [file], **more}


def ends_with_what_is_new(machine: Path) -> Any:
    """A service that does not start with the new drop-in."""
    return lambda line, seconds: "it ended" if (machine / PATH[1:]).read_text() == NEW else ""


def test_a_service_that_does_not_start_is_taken_back_and_the_refusal_said(
    machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(change, "_run", ends_with_what_is_new(machine))
    with pytest.raises(SystemExit):
        change.apply(plan())
    assert capsys.readouterr().err.splitlines() == [
        "it ended",
        "x.service: refused",
        "It was taken back: all is as before.",
    ]
    assert (machine / PATH[1:]).read_text() == OLD
    # nothing is left to do for the next run but to try it again
    assert not list((machine / "var/lib/bastide").rglob("x*"))


def test_a_service_that_was_not_touched_keeps_what_is_new_for_the_next_run(
    machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(change, "_run", lambda line, seconds: "another member is not well")
    monkeypatch.setattr(change, "_works_since", lambda unit, moment: True)
    with pytest.raises(SystemExit):
        change.apply(plan())
    assert capsys.readouterr().err.strip() == "another member is not well"
    assert (machine / PATH[1:]).read_text() == NEW
    assert (machine / "var/lib/bastide/pending/x").exists()


@pytest.mark.parametrize("act", [change.apply, change.write])
def test_what_is_refused_leaves_all_files_as_they_were(
    act: Any, machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first of two was written already."""
    settled: list[str] = []
    monkeypatch.setattr(
        change, "_run", lambda line, seconds=0: "too open" if line.startswith("ask") else settled.append(line)
    )
    whole = plan()
    whole["files"].append({**whole["files"][0], "path": "/etc/other", "check": "ask"})
    with pytest.raises(SystemExit):
        act(whole)
    assert capsys.readouterr().err.strip() == "too open"
    assert (machine / PATH[1:]).read_text() == OLD
    assert not (machine / "etc/other").exists()
    assert not settled
    assert not list((machine / "var/lib/bastide").rglob("x*"))


def test_what_a_killed_run_left_is_not_what_is_gone_back_to(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It had kept what worked; what it wrote was never seen to."""
    monkeypatch.setattr(change, "_run", ends_with_what_is_new(machine))
    change.write(plan("[Service]\n# never tried\n"))
    with pytest.raises(SystemExit):
        change.apply(plan())
    assert (machine / PATH[1:]).read_text() == OLD


def test_what_a_killed_run_left_for_a_restart_goes_back_too(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next run finds its files as wanted, and only restarts. Where nothing was kept nothing goes back."""
    monkeypatch.setattr(change, "_run", lambda line, seconds: "")
    change.write(plan())
    change.write(plan(files=[]))
    assert change.back("x") == "It was taken back: all is as before."
    assert (machine / PATH[1:]).read_text() == OLD
    change.write(plan(files=[]))
    assert "nothing to go back to" in change.back("x")


def test_what_cannot_be_taken_back_is_said(
    machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(change, "_run", lambda line, seconds: "it ended")
    with pytest.raises(SystemExit):
        change.apply(plan())
    assert "It could not be taken back: it ended" in capsys.readouterr().err


def test_a_good_change_leaves_nothing_to_go_back_to(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change, "_run", lambda line, seconds: "")
    change.apply(plan())
    assert (machine / PATH[1:]).read_text() == NEW
    assert not list((machine / "var/lib/bastide").rglob("x*"))


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """systemctl and the pool's console, and what was said to them."""
    said: list[str] = []

    def told(words: tuple[str, ...], **_: object) -> subprocess.CompletedProcess[str]:
        said.append(" ".join(words[1:]))
        return subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setattr(postgres.subprocess, "run", told)
    monkeypatch.setattr(pool, "_pause", lambda plan: not said.extend(["PAUSE"]))  # type: ignore[func-returns-value]
    monkeypatch.setattr(pool, "_later", lambda plan, command: None)
    monkeypatch.setattr(pool, "_resume", lambda plan, name: said.append(f"RESUME {name}"))
    monkeypatch.setattr(pool, "_leader", lambda plan: "primary")
    for script in (postgres, pool):
        monkeypatch.setattr(script, "refusal", lambda unit, since: f"{unit}: refused")
    return said


def test_a_server_that_is_not_well_with_it_is_started_as_before(
    machine: Path, monkeypatch: pytest.MonkeyPatch, quiet: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[str] = []
    monkeypatch.setattr(change, "_run", lambda line, seconds: "")
    monkeypatch.setattr(postgres, "_restart_patroni", lambda plan: started.append((machine / PATH[1:]).read_text()))

    def well(plan: dict[str, Any]) -> None:
        if started[-1] == NEW:
            postgres._fail("not within 90 s: this server to be well again")

    monkeypatch.setattr(postgres, "_wait_until_well", well)
    with pytest.raises(SystemExit):
        postgres._changed({}, plan())
    assert started == [NEW, OLD]
    assert capsys.readouterr().err.splitlines()[1:] == [
        "patroni.service: refused",
        "It was taken back: all is as before.",
    ]
    assert not list((machine / "var/lib/bastide").rglob("x*"))


def test_clients_wait_while_haproxy_is_started_anew(
    machine: Path, monkeypatch: pytest.MonkeyPatch, quiet: list[str]
) -> None:
    monkeypatch.setattr(pool, "_leads_to", lambda plan: {"primary"})
    pool.restart_router({**POOL, "longest": 1.0}, plan())
    assert quiet == [
        *("daemon-reload", "-q is-active haproxy.service", "PAUSE", "restart haproxy.service"),
        *("is-active haproxy.service", "RESUME app"),
    ]
    assert (machine / PATH[1:]).read_text() == NEW
    assert not list((machine / "var/lib/bastide").rglob("x*"))


def test_a_haproxy_that_leads_nowhere_is_taken_back(
    machine: Path, monkeypatch: pytest.MonkeyPatch, quiet: list[str]
) -> None:
    monkeypatch.setattr(change, "_run", lambda line, seconds: "")
    monkeypatch.setattr(
        pool, "_leads_to", lambda plan: {"primary"} if (machine / PATH[1:]).read_text() == OLD else set()
    )
    with pytest.raises(SystemExit) as ended:
        pool.restart_router({**POOL, "longest": 0.3}, plan())
    assert str(ended.value).splitlines() == [
        "haproxy.service does not lead to the leader of the databases within 0.3 s",
        "haproxy.service: refused",
        "It was taken back: all is as before.",
    ]
    assert quiet[-1] == "RESUME app"
    assert (machine / PATH[1:]).read_text() == OLD


@pytest.mark.parametrize(
    ("log", "kernel", "says"),
    [
        (
            "x.service: Main process exited, code=exited, status=1/FAILURE\n"
            "[ALERT] Cannot chroot: Operation not permitted",
            "",
            ["Main process exited, code=exited, status=1/FAILURE", "[ALERT] Cannot chroot: Operation not permitted"],
        ),
        (
            "x.service: Main process exited, code=killed, status=31/SYS",
            'audit: type=1326 audit(1.1:2): auid=1 pid=7 comm="x" sig=31 arch=c000003e syscall=92 code=0x0',
            ["Main process exited, code=killed, status=31/SYS", 'system call 92 of "x" (ausyscall(8) names it)'],
        ),
        (
            "x.service: Failed to set up mount namespacing: /nowhere: No such file or directory",
            "",
            [
                "Failed to set up mount namespacing: /nowhere: No such file or directory",
                "its log names no refused call: journalctl -u x.service",
            ],
        ),
    ],
)
def test_what_a_service_was_refused(log: str, kernel: str, says: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusal, "_log", lambda *words, since: (kernel if "-k" in words else log).splitlines())
    assert refusal.refusal("x.service", 0) == "\n".join(f"x.service: {line}" for line in says)


@pytest.mark.parametrize(
    ("said", "code", "refused"),
    [
        ("\u2192 Overall exposure level for haproxy.service: 1.3 OK", 0, ""),
        (
            "\u2192 Overall exposure level for haproxy.service: 9.6 UNSAFE",
            1,
            "haproxy.service would have 9.6 points of exposure, at most 2.5 are allowed",
        ),
        # systemd 257's words, and 252's
        ("x.conf:33: Unknown key 'ProtectFuture' in section [Service], ignoring.", 0, "does not know ProtectFuture="),
        (
            "x.conf:33: Unknown key name 'ProtectFuture' in section 'Service', ignoring.",
            0,
            "does not know ProtectFuture=",
        ),
        ("systemd-analyze: unrecognized option '--offline=yes'", 1, "unrecognized option"),
    ],
)
def test_systemd_is_asked_before_it_is_put_in_place(said: str, code: int, refused: str, tmp_path: Path) -> None:
    """By a systemd of whatever age: what it does not know it would leave out without a word to anybody."""
    asked = tmp_path / "systemd-analyze"
    asked.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/words\necho "{said}" >&2\nexit {code}\n')
    asked.chmod(0o755)
    (tmp_path / "bastide.conf").write_text("[Service]\n")
    done = subprocess.run(
        f"{drop_in(ROUTER, '').check} {tmp_path}/bastide.conf",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)},
    )
    assert (done.returncode == 0) == (refused == "")
    assert refused in done.stderr
    assert {"--offline=yes", "--threshold=25", "haproxy.service"} <= set((tmp_path / "words").read_text().splitlines())
    assert not list(tmp_path.glob("tmp.*"))
