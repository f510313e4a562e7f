"""`make bench`: the figures that users feel, in one run, beside plain baselines. Writes build/bench/bench.json."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from bastide.console import exit_with, heed_interrupts, say, step
from benchmarks.figures import Figure, as_text
from benchmarks.measure import Bench
from benchmarks.publish import publish

ROOT = Path(__file__).parents[1]
_TYPICAL = "benchmarks/typical.py"
_DEPLOY, _PLAIN = "second deploy", "plain ssh, one command as root"
Growth = dict[str, dict[int, Figure]]


def main() -> int:
    """Make a stack of its own, time it, remove it, print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What users wait for, side by side.")
    parser.add_argument("--rounds", type=int, default=5, help="how often the short figures are taken (median of these)")
    parser.add_argument("--cold-rounds", type=int, default=5, help="how often the platform is made from nothing")
    parser.add_argument("--sizes", type=int, nargs="+", default=[3, 10, 20], help="numbers of machines, rising, from 3")
    parser.add_argument("--publish", action="store_true", help="also write docs/reference/speed.md and speed.svg")
    options = parser.parse_args()
    heed_interrupts()
    bench = Bench(ROOT)
    figures: list[Figure] = []
    growth: Growth = {_DEPLOY: {}, _PLAIN: {}}
    try:
        figures += _from_nothing(bench, options.cold_rounds)
        figures += _at_three(bench, options.rounds)
        figures += _connectors(bench, options.rounds)
        figures.append(_timed(f"{_DEPLOY}, 3 machines, with etcd and Postgres", options.rounds, bench.deploy, goal=4))
        figures.append(_cluster(bench, options.cold_rounds))
        with step("the same stack without its database"):
            bench.without_postgres()
        for size in options.sizes:
            figures += _at_size(bench, size, options.rounds, growth)
    finally:
        with step("removing the benchmark's lab"):
            bench.remove()
    _report(figures)
    if options.publish:
        publish(figures, growth, ROOT / "docs" / "reference")
        say("written: docs/reference/speed.md and speed.svg")
    return 0


def _from_nothing(bench: Bench, rounds: int) -> list[Figure]:
    whole = Figure("nothing to proven platform (tools and image cached)", goal=150)
    ssh = Figure("three machines answer ssh after the first create call", goal=10)
    for number in range(rounds):
        with step(f"from nothing to a proven platform, {number + 1} of {rounds}"):
            bench.remove()
            took, answered = bench.from_nothing()
            whole.seconds.append(took)
            ssh.seconds.append(answered)
    return [whole, ssh]


def _at_three(bench: Bench, rounds: int) -> list[Figure]:
    verify = _timed("verify, 3 machines", rounds, bench.verify, goal=20)
    again = _timed("make up again, nothing to do", rounds, bench.up, goal=12 + verify.median)
    return [
        again,
        verify,
        _timed("pulumi preview, no change", rounds, bench.preview),
        _timed("deploy of one changed setting, 3 machines", rounds, bench.deploy_a_change),
    ]


def _cluster(bench: Bench, rounds: int) -> Figure:
    """The deploy ends when the replica streams and the databases are there; packages and settings were there before."""
    found = Figure("three voters, a leader and a streaming replica, packages installed", goal=25)
    for number in range(rounds):
        bench.forget_the_cluster()
        with step(f"a cluster from nothing, {number + 1} of {rounds}"):
            found.seconds.append(_time(bench.deploy))
    return found


def _connectors(bench: Bench, rounds: int) -> list[Figure]:
    """Our connector beside pyinfra's own, interleaved, so that a noisy moment of the machine meets both."""
    stock = Figure("60 stock operations, one machine, pyinfra's own connector")
    ours = Figure("60 stock operations, one machine", baseline=stock.name)
    bench.deploy(limit="primary", deploy=_TYPICAL)  # so that the measured runs change nothing
    with step(f"60 stock operations, {rounds} rounds"):
        for _ in range(rounds):
            stock.seconds.append(_time(lambda: bench.deploy(stock=True, limit="primary", deploy=_TYPICAL)))
            ours.seconds.append(_time(lambda: bench.deploy(limit="primary", deploy=_TYPICAL)))
    return [stock, ours]


def _at_size(bench: Bench, size: int, rounds: int, growth: Growth) -> list[Figure]:
    with step(f"growing to {size} machines", quiet_under=1):
        bench.grow(size)
    plain = Figure(f"{_PLAIN}, {size} machines")
    deploy = Figure(f"{_DEPLOY}, {size} machines", goal=2.5 if size == 3 else None, baseline=plain.name)
    with step(f"{size} machines, {rounds} rounds"):
        for _ in range(rounds):
            plain.seconds.append(_time(bench.plain_ssh))
            deploy.seconds.append(_time(bench.deploy))
    growth[_PLAIN][size], growth[_DEPLOY][size] = plain, deploy
    return [plain, deploy]


def _timed(name: str, rounds: int, action: Callable[[], None], goal: float | None = None) -> Figure:
    with step(f"{name}, {rounds} rounds"):
        return Figure(name, [_time(action) for _ in range(rounds)], goal)


def _time(action: Callable[[], None]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began


def _report(figures: list[Figure]) -> None:
    say(f"\n{as_text(figures)}")
    target = ROOT / "build" / "bench" / "bench.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    data = {"cores": os.cpu_count(), "figures": [{"name": f.name, "seconds": f.seconds} for f in figures]}
    target.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    say(f"\n{target.relative_to(ROOT)} has every single value; load average {os.getloadavg()[0]:.1f}")


exit_with(main)
