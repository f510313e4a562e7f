"""`make bench`: the figures that users feel, in one run, beside a plain baseline. Writes build/bench/bench.json."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from bastide.console import guard, say, step
from benchmarks.measure import Bench, Figure

ROOT = Path(__file__).parents[1]
_TYPICAL = "benchmarks/typical.py"


def main() -> int:
    """Make a stack of its own, time it, remove it, print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What users wait for, side by side.")
    parser.add_argument("--rounds", type=int, default=5, help="how often the short figures are taken (median of these)")
    parser.add_argument("--cold-rounds", type=int, default=5, help="how often the platform is made from nothing")
    options = parser.parse_args()
    bench = Bench(ROOT)
    figures: list[Figure] = []
    try:
        figures += _from_nothing(bench, options.cold_rounds)
        figures += _deploys(bench, options.rounds)
        figures.append(_timed("verify, three machines", 30, options.rounds, bench.verify))
        figures.append(_timed("pulumi preview, no change", None, options.rounds, bench.preview))
    finally:
        with step("removing the benchmark's lab"):
            bench.remove()
    _report(figures)
    return 0


def _from_nothing(bench: Bench, rounds: int) -> list[Figure]:
    whole, first_ssh = [], []
    for number in range(rounds):
        with step(f"from nothing to a proven platform, {number + 1} of {rounds}"):
            bench.remove()
            took, ssh = bench.from_nothing()
            whole.append(took)
            first_ssh.append(ssh)
    return [
        Figure("nothing to proven platform (tools and image cached)", 150, whole),
        Figure("three machines answer ssh after the first create call", 10, first_ssh),
    ]


def _deploys(bench: Bench, rounds: int) -> list[Figure]:
    """Interleaved, so that a noisy moment of the machine meets both."""
    names = {
        "second deploy, one machine, pyinfra's own connector": lambda: bench.deploy(stock=True, limit="primary"),
        "second deploy, one machine": lambda: bench.deploy(stock=False, limit="primary"),
        "second deploy, three machines, pyinfra's own connector": lambda: bench.deploy(stock=True),
        "second deploy, three machines": lambda: bench.deploy(stock=False),
        "60 stock operations, one machine, pyinfra's own connector": lambda: bench.deploy(
            stock=True, limit="primary", deploy=_TYPICAL
        ),
        "60 stock operations, one machine": lambda: bench.deploy(stock=False, limit="primary", deploy=_TYPICAL),
    }
    bench.deploy(stock=False, limit="primary", deploy=_TYPICAL)  # so that the measured runs change nothing
    figures = {name: Figure(name, 5 if name == "second deploy, three machines" else None, []) for name in names}
    with step(f"second deploys, {rounds} rounds, interleaved"):
        for _ in range(rounds):
            for name, action in names.items():
                figures[name].seconds.append(_time(action))
    return list(figures.values())


def _timed(name: str, limit: float | None, rounds: int, action: Callable[[], None]) -> Figure:
    with step(f"{name}, {rounds} rounds"):
        return Figure(name, limit, [_time(action) for _ in range(rounds)])


def _time(action: Callable[[], None]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began


def _report(figures: list[Figure]) -> None:
    by_name = {figure.name: figure for figure in figures}
    say(f"\n{'figure':58} {'median':>8} {'range':>15}  goal")
    for figure in figures:
        goal = (
            f"under {figure.limit:g} s: {'met' if figure.median < figure.limit else 'MISSED'}" if figure.limit else ""
        )
        spread = f"{min(figure.seconds):.2f}-{max(figure.seconds):.2f}"
        say(f"{figure.name:58} {figure.median:7.2f}s {spread:>15}  {goal}")
    for name, factor in (
        ("second deploy, one machine", 3),
        ("second deploy, three machines", 2),
        ("60 stock operations, one machine", 3),
    ):
        ratio = by_name[f"{name}, pyinfra's own connector"].median / by_name[name].median
        met = "met" if ratio >= factor else "MISSED"
        say(f"{f'{name}: times faster':58} {ratio:7.2f}x {'':>15}  at least {factor}: {met}")
    target = ROOT / "build" / "bench" / "bench.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    data = {"cores": os.cpu_count(), "figures": [{"name": f.name, "seconds": f.seconds} for f in figures]}
    target.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    say(f"\n{target.relative_to(ROOT)} has every single value; load average {os.getloadavg()[0]:.1f}")


guard(main)
