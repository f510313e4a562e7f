"""What an outcome is worth, and that the machine that checks is never the one judged."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bastide.console import run
from tests.verify.evidence_plugin import BROKEN, _verdict
from tests.verify.probes.world import NotSeen

ROOT = Path(__file__).parents[3]


def _report(outcome: str, error: BaseException | None, *, xfail: bool = False) -> tuple[str, str]:
    def phase() -> None:
        if error:
            raise error

    call = pytest.CallInfo.from_call(phase, "call")
    report = pytest.TestReport("n", ("f", 0, "d"), {}, outcome, None, "call")
    if xfail:
        report.wasxfail = "known"
    return _verdict(report, call)


def test_only_a_plain_pass_is_a_proof() -> None:
    assert _report("passed", None) == ("proven", "")
    assert _report("passed", None, xfail=True)[0] == "failed"
    assert _report("skipped", pytest.skip.Exception("not provable here: no prober")) == (
        "not_provable_here",
        "no prober",
    )
    assert _report("failed", AssertionError("it is open\nassert 'a whole file'")) == ("failed", "it is open")
    assert _report("failed", NotSeen("standby does not answer over ssh")) == (
        "failed",
        "standby does not answer over ssh",
    )
    assert _report("failed", KeyError("x")) == ("failed", f"{BROKEN}KeyError: 'x'")


def test_without_an_inventory_nothing_is_checked() -> None:
    """Bare pytest must never judge the machine it runs on."""
    env = {**os.environ, "BASTIDE_STACK": "no-such-stack"}
    done = run([sys.executable, "-m", "pytest", "tests/verify", "-q"], cwd=ROOT, env=env, check=False)
    assert done.returncode != 0
    assert "build/no-such-stack/inventory.json does not exist" in done.stderr
    assert "make inventory" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
