"""Stays on a site as /etc/bastide/turn.d/20-postgres: what its machine's turn at night means for the databases.

Standard library only. `plan`: as `deploys/remote/postgres.py` has it, with `data` (of the server) and `pool` (as
`deploys/remote/pool.py` has it).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from deploys.remote.facts.patroni import outdated_part
from deploys.remote.facts.programs import SANDBOX, outdated
from deploys.remote.pool import restart_router, wait_out
from deploys.remote.postgres import leads, roll, switchover

_POOL, _ROUTER = "pgbouncer.service", "haproxy.service"


def turn(path: str, word: str = "") -> None:
    """Do what the word says (bastide/layout/updates.py, TURNS). `path`: of the file with the plan."""
    plan = json.loads(Path(path).read_text(encoding="utf-8"))
    verbs = {"look": look, "take": take, "leave": leave}
    if word not in verbs:
        sys.exit("one word: look, take or leave")
    try:
        verbs[word](plan)
    except OSError as error:
        sys.exit(f"Patroni does not answer here ({error}); next: `journalctl -u patroni`")


def look(plan: dict[str, Any]) -> None:
    """Print what runs an earlier program than the installed one."""
    services = outdated([_POOL, _ROUTER])
    names = [outdated_part(Path(plan["data"])), *(unit.partition(".")[0] for unit, why in services.items() if why)]
    print("\n".join(name for name in names if name))


def take(plan: dict[str, Any]) -> None:
    """Have all of it run what is installed; a leader hands over first, and clients of its pool wait meanwhile."""
    services, part = outdated([_POOL, _ROUTER]), outdated_part(Path(plan["data"]))
    if part:
        if leads(plan):
            wait_out(plan["pool"])
            roll(plan, True, part == "patroni")
        else:
            roll(plan, False, part == "patroni")
    if services[_POOL]:
        _systemctl("restart", _POOL)
    if services[_ROUTER] == SANDBOX:
        restart_router(plan["pool"])
    elif services[_ROUTER]:
        _systemctl("reload", _ROUTER)


def leave(plan: dict[str, Any]) -> None:
    """Hand the leadership over, if it is here and somebody is there to take it."""
    if leads(plan, alone=False):
        wait_out(plan["pool"])
        switchover(plan, "")


def _systemctl(verb: str, unit: str) -> None:
    done = subprocess.run(("systemctl", verb, unit), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr.strip() or f"systemctl {verb} {unit} failed")
