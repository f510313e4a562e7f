"""`make bench-failover`: for how long writes stop when the leader fails, and that no acknowledged row is lost.

Writes build/bench/failover.json, every single value in it, and build/rehearsal/failover.json for the security page.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bastide.console import exit_with, heed_interrupts, say, step
from benchmarks.measure import STACK, Bench
from tests.rehearsal import outages
from tests.rehearsal.acknowledged import MACHINES, Writers
from tests.rehearsal.outages import Outage
from tests.rehearsal.published import percentile, publish
from tests.rehearsal.stack import Rehearsal
from tests.verify.evidence_plugin import commit

ROOT = Path(__file__).parents[1]


@dataclass
class Series:
    """One failure, many times. `goals` are limits by what they hold for: `p50`, `p95`, `max`."""

    name: str
    make: Callable[[Writers], Outage]
    rounds: int
    goals: dict[str, float]
    found: list[tuple[float, Outage]] = field(default_factory=list)
    """Each with the host's load before it."""
    failed: list[str] = field(default_factory=list)

    @property
    def figures(self) -> dict[str, float]:
        """The seconds of stopped writes."""
        seconds = [outage.stopped for _, outage in self.found]
        return {"p50": percentile(seconds, 50), "p95": percentile(seconds, 95), "max": max(seconds)} if seconds else {}

    @property
    def line(self) -> str:
        """What the terminal shows of it."""
        figures = ", ".join(f"{name} {value:.2f} s" for name, value in self.figures.items())
        goals = [
            f"{name} under {limit:g} s {'met' if self.figures.get(name, limit) < limit else 'MISSED'}"
            for name, limit in self.goals.items()
        ]
        lost = sum(outage.lost for _, outage in self.found)
        rows = sum(outage.acknowledged for _, outage in self.found)
        failed = f"; {len(self.failed)} rounds FAILED" if self.failed else ""
        return f"{self.name}: n {len(self.found)}, {figures}; {'; '.join(goals)}; {rows} rows, {lost} lost{failed}"


def main() -> int:
    """Make a stack of its own unless one is named, break it round by round, print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.failover", description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="power cuts; half as many of the others")
    parser.add_argument("--stack", default="", help="a stack in the local cloud that is up; it is broken, and stays")
    parser.add_argument("--only", default="", help="only failures whose name has this word")
    options = parser.parse_args()
    heed_interrupts()
    bench = Bench(ROOT)
    try:
        if not options.stack:
            with step("from nothing to a platform of its own"):
                bench.remove()
                bench.from_nothing()
        writers = Writers(Rehearsal(options.stack or STACK, ROOT))
        half = max(1, options.rounds // 2)
        found = [
            Series("switchover", outages.switchover, half, {"max": 2}),
            Series("SIGKILL of Postgres", outages.postgres_killed, half, {"max": 4}),
            Series("power cut of the leader", outages.power_cut, options.rounds, {"p50": 22, "p95": 26}),
            Series("power cut, etcd's leader too", partial(outages.power_cut, with_etcd=True), half, {}),
        ]
        wanted = [one for one in found if options.only in one.name]
        whole = _measured(writers, wanted)
    finally:
        if not options.stack:
            with step("removing the benchmark's lab"):
                bench.remove()
    _report(wanted)
    return 0 if whole else 1


def _measured(writers: Writers, series: list[Series]) -> bool:
    """Round by round, so that a noisy moment meets all. Returns False when it had to end before its time."""
    for number in range(max(one.rounds for one in series)):
        for one in series:
            if number >= one.rounds:
                continue
            with step(f"{one.name}, {number + 1} of {one.rounds}"):
                load = os.getloadavg()[0]
                try:
                    one.found.append((load, one.make(writers)))
                    say(f"    {one.found[-1][1]}")
                except Exception as error:
                    one.failed.append(f"load {load:.1f}: {error}")
                    say(f"    FAILED: {error}")
                    if not _mended(writers):
                        return False
    return True


def _mended(writers: Writers) -> bool:
    """After a round that failed: everything on and open; whether all is well then."""
    lab = writers.rehearsal.lab
    lab("unblock", check=False)
    for machine in MACHINES:
        lab("start", machine, check=False)
        lab("unfill", machine, check=False)
    try:
        writers.healed(seconds=120)
    except AssertionError as error:
        say(f"not well again: {error}")
        return False
    writers.clear()
    return True


def _report(series: list[Series]) -> None:
    for one in series:
        say(one.line)
        for load, outage in one.found:
            limit = one.goals.get("max", one.goals.get("p95"))
            if limit and outage.stopped >= limit:
                say(f"    {outage.stopped} s at load {load:.1f}: {outage.notes}")
    said = commit(ROOT)
    data: dict[str, Any] = {
        "version": 1,
        "commit": said,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cores": os.cpu_count(),
        "series": [
            {
                "name": one.name,
                "n": len(one.found),
                **one.figures,
                "goals": one.goals,
                "failed": one.failed,
                "rounds": [{"load": load, **asdict(outage)} for load, outage in one.found],
            }
            for one in series
        ],
    }
    target = ROOT / "build" / "bench" / "failover.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    if not any(one.failed for one in series):
        publish([outage for one in series for _, outage in one.found], said, ROOT)
    say(f"\n{target.relative_to(ROOT)} has every single value; load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    exit_with(main)
