"""The one place that starts other programs, and what a user sees of errors."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from bastide.console import exit_with, heed_interrupts, of_stack, run, step
from bastide.errors import BastideError, CommandFailed, CommandTimedOut


def test_a_failing_program_says_its_last_words() -> None:
    with pytest.raises(CommandFailed) as caught:
        run([sys.executable, "-c", "import sys; print('why', file=sys.stderr); sys.exit(3)"])
    assert caught.value.returncode == 3
    assert "why" in caught.value.message


def test_a_missing_program_is_an_error_with_the_callers_hint() -> None:
    with pytest.raises(CommandFailed) as caught:
        run(["no-such-program"], hint="install it")
    assert (caught.value.returncode, caught.value.hint) == (127, "install it")


def test_input_reaches_the_program_and_never_the_message() -> None:
    with pytest.raises(CommandFailed) as caught:
        run([sys.executable, "-c", "import sys; sys.stdin.read(); sys.exit(1)"], input="secret-canary")
    assert "secret-canary" not in caught.value.message + str(caught.value.__dict__)


def test_a_program_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    mark = tmp_path / "child-survived"
    child = f"import time, pathlib; time.sleep(2); pathlib.Path({str(mark)!r}).touch()"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}]).wait()"
    with pytest.raises(CommandTimedOut):
        run([sys.executable, "-c", code], timeout=0.5)
    run([sys.executable, "-c", "import time; time.sleep(2.2)"])
    assert not mark.exists()


def test_a_log_is_private_and_its_tail_is_told(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(CommandFailed, match="reason"):
        run([sys.executable, "-c", "print('reason'); raise SystemExit(1)"], log=log)
    assert log.stat().st_mode & 0o777 == 0o600


def test_an_error_is_two_lines_and_exit_code_one(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> int:
        raise BastideError("what", "what next")

    with pytest.raises(SystemExit) as caught:
        exit_with(fail)
    assert caught.value.code == 1
    assert capsys.readouterr().err.splitlines() == ["error: what", " next: what next"]


def test_steps_show_begin_end_and_failure(capsys: pytest.CaptureFixture[str]) -> None:
    with step("outer"), step("inner", quiet_under=5):
        pass
    with pytest.raises(ValueError, match="x"), step("bad"):
        raise ValueError("x")
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "• outer …"
    assert out[1].startswith("✓ outer")
    assert out[3].startswith("✗ bad")


def test_programs_start_while_another_thread_sets_variables() -> None:
    """pytest sets one for every test; with the C library's own array execve fails now and then (seen: 9 in 100)."""
    over = threading.Event()

    def meddle() -> None:
        for number in itertools.count():
            if over.is_set():
                break
            os.environ["BASTIDE_TEST_MEDDLE"] = "x" * (number % 400)
            os.environ.pop("BASTIDE_TEST_MEDDLE")

    meddler = threading.Thread(target=meddle)
    meddler.start()
    try:
        for _ in range(60):
            run(["true"])
    finally:
        over.set()
        meddler.join()


def test_what_a_background_job_starts_can_be_interrupted() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        heed_interrupts()
        done = run(["sh", "-c", "kill -s INT $$; echo deaf"], check=False)
    finally:
        signal.signal(signal.SIGINT, before)
    assert "deaf" not in done.stdout


def test_a_command_that_is_shown_is_for_the_stack_that_is_worked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "next: `make infra` and `make deploy only=ssh`; or `make up stack=other`, `makeinfo`"
    for own in ("", "lab"):
        monkeypatch.setenv("BASTIDE_STACK", own)
        assert of_stack(text) == text
    monkeypatch.setenv("BASTIDE_STACK", "prod")
    assert of_stack(text) == (
        "next: `make infra stack=prod` and `make deploy only=ssh stack=prod`; or `make up stack=other`, `makeinfo`"
    )
