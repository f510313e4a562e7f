"""The lab as a whole, for real: up again, beside another, mended, and away without a trace. Needs root.

The order of the tests is the order in the file: the destructive ones last.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from bastide.console import run
from bastide.errors import CommandFailed
from lab import registry
from lab.client import Lab
from lab.machines.cgroups import open_tree
from lab.place import ROOT
from tests.lab.bench import (
    ALPHA,
    INSTANCES,
    NEEDS_ROOT,
    SCALE,
    Bench,
    free_port,
    labs,
    left_behind,
    remembered,
    sysctls,
    wait_for,
)

LAB = "lab"
pytestmark = NEEDS_ROOT

# of inotify instances, for labs (lab/registry.py)
ENOUGH = "8192"


@pytest.mark.alone
def test_second_up_changes_nothing(bench: Bench) -> None:
    boots = {name: bench.boot_id(name) for name in ("alpha", "prober")}
    daemon = list(open_tree(bench.place.cgroup).pids("daemon"))
    rules = run(["nft", "list", "ruleset"]).stdout
    began = time.monotonic()
    assert bench.up() == bench.info
    assert time.monotonic() - began < 2 * SCALE
    assert {name: bench.boot_id(name) for name in boots} == boots
    assert list(open_tree(bench.place.cgroup).pids("daemon")) == daemon
    assert run(["nft", "list", "ruleset"]).stdout == rules


def test_a_port_in_use_is_refused_before_anything_is_touched(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(CommandFailed) as failure:
        bench.up(port=taken.getsockname()[1])
    assert "cannot be had" in failure.value.message
    assert bench.lab.status()["up"]


def test_two_labs_do_not_touch_each_other(bench: Bench, tmp_path: Path) -> None:
    boots = {name: bench.boot_id(name) for name in ("alpha", "prober")}
    other = Lab(f"{bench.lab.name}-two")
    try:
        info = other.up(
            port=free_port(), token=bench.token, authorized_key=bench.key.with_suffix(".pub"), info=tmp_path / "info"
        )
        place = registry.find(other.name)
        assert place is not None
        assert not place.range4.overlaps(bench.place.range4)
        assert bench.reach("alpha", (info["prober"]["address"], 22), (info["prober"]["address6"], 22)) == set()
    finally:
        other.down()
    assert left_behind(place) == []
    assert bench.lab.status()["up"]
    assert {name: bench.boot_id(name) for name in boots} == boots


def test_up_mends_what_was_killed(bench: Bench) -> None:
    tree = open_tree(bench.place.cgroup)
    boot = bench.boot_id("prober")
    for group in ("daemon", "net/dns", "party-names", "party-archive"):
        for pid in list(tree.pids(group)):
            os.kill(pid, signal.SIGKILL)
    wait_for("the daemon to be gone", lambda: not tree.populated("daemon"), 5)
    assert bench.boot_id("prober") == boot, "machines do not hang on the daemon"
    status = bench.lab.status()
    assert not status["up"]
    assert [part for part, works in status["parts"].items() if not works] == [
        *("daemon", "api", "resolver", "names", "archive"),
    ]
    bench.up()
    assert bench.lab.status()["up"]
    assert bench.boot_id("prober") == boot
    assert bench.lab.execute("prober", ["getent", "hosts", "example.com"], check=False).returncode == 2


@pytest.mark.alone
def test_down_after_a_massacre_leaves_nothing(bench: Bench, before: dict[str, str]) -> None:
    tree = open_tree(bench.place.cgroup)
    keepers = [pid for record in ("m0", f"m{ALPHA}") for pid in tree.pids(f"{record}/keeper")]
    assert keepers
    for pid in [*keepers, *tree.pids("daemon")]:
        os.kill(pid, signal.SIGKILL)
    # as if killed in the middle of a write
    (bench.place.folder / "machines" / "999").mkdir()
    (bench.place.folder / "lab.json").write_text('{"po')
    began = time.monotonic()
    bench.lab.down()
    assert time.monotonic() - began < 5 * SCALE
    assert left_behind(bench.place) == []
    bench.lab.down()
    if labs():
        # with other labs they stay as those need them, and what they were is not forgotten
        assert sysctls() == {**before, INSTANCES: max(before[INSTANCES], ENOUGH, key=int)}
        assert {**sysctls(), **remembered()} == before
    else:
        assert sysctls() == before
    assert ROOT.exists() == bool(labs())
