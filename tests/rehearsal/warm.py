"""`pytest tests/verify` without the start of a Python each time: a process that has read the libraries forks for each.

For the sabotages, which ask for a check 140 times. Users run the command itself, and so does all else in the rehearsal.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from bastide.console import Completed

_CONTEXT = multiprocessing.get_context("forkserver")
# What the checks import; not the checks themselves, which pytest rewrites when it imports them, and no module that
# takes keys out of the environment (tests.verify.probes.storage). Found from the repository's root only.
_CONTEXT.set_forkserver_preload(
    [
        *("pytest", "tests.verify.evidence_plugin", "tests.verify.probes.engine", "tests.verify.probes.world"),
        "bastide.provider_api",
    ]
)


def verify(*words: str, root: Path, env: Mapping[str, str], timeout: float = 300) -> Completed:
    """`pytest tests/verify -q WORDS` in a fork, in `root`, with `env` alone; `timeout` is in seconds.

    Returns both outputs as one. Raises `TimeoutError`; the run is killed then.
    """
    with tempfile.NamedTemporaryFile(suffix=".txt") as out:
        process = _CONTEXT.Process(target=_run, args=(words, str(root), dict(env), out.name))
        process.start()
        try:
            process.join(timeout)
            if process.exitcode is None:
                raise TimeoutError(f"pytest tests/verify {' '.join(words)}: not within {timeout:g} s")
        finally:
            if process.exitcode is None:
                process.kill()
                process.join()
        return Completed(process.exitcode, out.read().decode(errors="replace"), "")


def _run(words: Sequence[str], root: str, env: dict[str, str], output: str) -> None:
    """The fork's part: it ends with pytest's exit code."""
    target = os.open(output, os.O_WRONLY | os.O_APPEND)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.chdir(root)
    os.environ.clear()
    os.environ.update(env)
    sys.exit(pytest.main(["tests/verify", "-q", *words]))
