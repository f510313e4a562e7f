"""What `make up` tells of Pulumi's and pyinfra's long outputs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools.shown import account, shown

PYINFRA = """--> Connecting to hosts...
    [primary] Connected
    [witness] first contact: expecting the bootstrap host key
    [witness] Connected
    [primary] Ready: deploys/site.py
    [primary] note: a reboot is pending (/run/reboot-required)
--> Starting operation: base | packages
    [primary] No changes
    [witness] Success
--> Results:
    Operation                             Hosts   Success   Error   No Change
    base | packages                       2       1         -       1
    Grand total                           2       1         -       1
"""
PULUMI = "Updating (lab):\n\nResources:\n    + 1 created\n    17 unchanged\n\nDuration: 2s\n"


def test_what_machines_say_to_people_is_told_and_routine_is_not() -> None:
    assert list(account(PYINFRA)) == [
        "[witness] first contact: expecting the bootstrap host key",
        "[primary] note: a reboot is pending (/run/reboot-required)",
        "2 operations on 2 machines, 1 changed something",
    ]


def test_pulumis_sum_is_told() -> None:
    assert list(account(PULUMI)) == ["+ 1 created, 17 unchanged"]


def test_what_the_program_says_of_the_stack_is_told() -> None:
    said = "Diagnostics:\n  pulumi:pulumi:Stack (bastide-lab):\n    warning: primary is a cx23\n\n"
    assert list(account(said + PULUMI)) == ["! primary is a cx23", "+ 1 created, 17 unchanged"]


def test_a_failure_shows_the_end_and_keeps_the_exit_code(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log" / "deploy.log"
    code = shown([sys.executable, "-c", "import sys; print('why'); sys.exit(3)"], log)
    said = capfd.readouterr().out
    assert code == 3
    assert "why" in said
    assert str(log) in said
    assert log.stat().st_mode & 0o777 == 0o600
