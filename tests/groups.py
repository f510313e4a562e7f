"""How the tests are divided: which share a lab, and what is left to `make test-full`.

A module that needs a lab says which one: `LAB = "flow"`. All tests of one lab run in one process, one after the other;
labs run side by side. What is rare and long says so as well, test by test:
`@pytest.mark.full("killed-early")` puts it into a group of `make test-full only=GROUP`, of at most 20 minutes.

`python -m tests.groups` (`make test-groups`) lists both, and how old each group's last green run is.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
RUNS = Path(__file__).with_name("full-runs.json")
# a group that nobody ran for so long is named at the head of every run
STALE_DAYS = 30

# The longest first: they begin first. The first one's stack is `rehearsal`, whose figures other stacks' pages print.
LABS = {
    "flow": "from nothing to the page, the provider's faults, sabotages, lock-outs, the mesh, day by day",
    "database": "the cluster under failures and its day two, faults in a deploy, secrets, bans, updates",
    "killed": "`make up` from nothing, killed (in groups of `make test-full` only)",
    "members": "machines that come to the cluster and leave it",
    "growth": "one server that becomes three, and one again (in a group of `make test-full` only)",
    "older": "what an older checkout deployed (in a group of `make test-full` only)",
    "existing": "a machine that somebody else made",
    "volumes": "volumes and what happens to them",
    "lab": "the local cloud itself: machines, networks, verbs",
    "storage": "buckets and the state in one, without a lab",
}

FULL = {
    "provider": "zones, volumes, first contacts: what is imported, destroyed, killed",
    "drift": "what somebody changes at the console, breaking the glass, another master, the mesh alone",
    "faults": "a destroyed server, one that dies in a deploy, a pause, another owner, others' data",
    "resize": "servers of another type, one at a time",
    "ports": "all 65,535 ports from outside",
    "killed-early": "`make up` killed at any moment of its first 20 s",
    "killed-midway": "... between 20 and 40 s",
    "killed-late": "... between 40 and 60 s",
    "killed-twice": "... once before any machine is deployed, once while clusters begin",
    "outages": "rarer failures of the database cluster",
    "clocks": "a wrong clock, cut-off clients, a lost quorum, the fast mode",
    "losses": "each machine lost, with its volume and without",
    "members": "machines that come to the cluster and leave it",
    "growth": "one server that becomes three, and one again",
    "older": "what an older checkout deployed, brought here by one `make up` while rows are written",
    "by-hand": "what is set by hand in the databases' servers or in the votes; the checks' account as it goes",
    "rights": "thousands of random states of a database, each brought to what is declared",
    "alerts": "machines that are gone are told of by others, and the dead man's signal",
    "alerts-cluster": "a cluster that nobody leads, and one that does not follow, are told of; a switchover is not",
    "alerts-ways": "a way that is none, a full disk, a relay with TLS from the first byte, and alerts without a mesh",
    "sandbox": "servers of before are taken over by turns; a service that does not work in its sandbox is taken back",
    "releases": "a newer release of PostgreSQL rolls through, and what was installed is taken up at night",
}


class Run(NamedTuple):
    """A whole, green run of a group: when, of which commit ("+": with changes), and its tests' seconds."""

    date: str
    commit: str
    seconds: int


def stack_of(lab: str) -> str:
    """The name of a lab's stack."""
    return "rehearsal" if lab == next(iter(LABS)) else f"rehearsal-{lab}"


def lab_of(module: Path) -> str:
    """The lab that a module of tests says it needs; "" for none. Who deals tests out to others imports none."""
    found = re.search(r'^LAB = "(.+)"$', module.read_text(), re.MULTILINE)
    return found[1] if found else ""


def runs() -> dict[str, Run]:
    """The last green run of each group that had one."""
    return {name: Run(**run) for name, run in json.loads(RUNS.read_text()).items()} if RUNS.exists() else {}


def record(found: dict[str, Run]) -> None:
    """Write these runs down beside those of other groups; of a group that is no more nothing is kept."""
    known = {**runs(), **found}
    text = json.dumps({name: known[name]._asdict() for name in FULL if name in known}, indent=1)
    RUNS.write_text(text + "\n", encoding="utf-8")


def age(group: str, today: date) -> int | None:
    """How many days ago the group was last green as a whole; None when never."""
    run = runs().get(group)
    return (today - date.fromisoformat(run.date)).days if run else None


def stale(today: date) -> list[str]:
    """The groups that nobody ran for `STALE_DAYS`, each with its age."""
    ages = {group: age(group, today) for group in FULL}
    return [f"{name} ({'never' if days is None else f'{days} days ago'})" for name, days in ages.items()
            if days is None or days > STALE_DAYS]  # fmt: skip


def main() -> None:
    """The table of both."""
    today = datetime.now(UTC).date()
    print("make test: labs side by side (LAB of a module)")
    for name, what in LABS.items():
        print(f"  {name:14} {what}")
    print("\nmake test-full: all that, and these groups (pytest.mark.full), one by one with only=GROUP")
    for name, what in FULL.items():
        run, days = runs().get(name), age(name, today)
        when = f"{days} days ago, {run.commit}, {run.seconds} s" if run else "never run"
        print(f"  {name:14} {what}: {when}")


if __name__ == "__main__":
    main()
