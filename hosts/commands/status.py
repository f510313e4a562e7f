"""`status`: how the machines of a stack are, on one screen, from the secret-free inventory: it needs no passphrase.

One round trip a machine, all side by side.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bastide.command_line import Command, Parser
from bastide.console import run, say
from bastide.errors import BastideError, CommandFailed
from bastide.findings import Finding
from bastide.machines import inventory_path, load_inventory
from bastide.report import make_report
from hosts.commands.health.lines import cluster_lines, lock_lines, machine_lines, proofs_line
from hosts.commands.health.observation import observe_all

WELL, FAILED, ATTENTION = 0, 1, 2


def show_status(stack: str, root: Path, *, as_json: bool = False) -> int:
    """Print it. Returns 0 when all is well, 2 when a line has a next step. Raises `StackError` without an inventory."""
    inventory = load_inventory(inventory_path(stack, root))
    with ThreadPoolExecutor() as pool:
        head = pool.submit(_head, root)
        seen = observe_all(inventory, root)
    machines = machine_lines(seen, head.result(), inventory)
    found = [*machines, *cluster_lines(seen), *_proofs(stack, root), *lock_lines(stack)]
    if as_json:
        lines = [asdict(finding) for finding in found]
        say(json.dumps({"version": 1, "machines": [asdict(one) for one in seen], "lines": lines}, indent=1))
    else:
        say(f"stack {stack} ({inventory.environment}), {datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
        for finding in found:
            say(str(finding))
    return ATTENTION if any(finding.level == "missing" for finding in found) else WELL


def _head(root: Path) -> str:
    try:
        return run(["git", "rev-parse", "HEAD"], cwd=root, timeout=10).stdout.strip()
    except CommandFailed:
        return ""


def _proofs(stack: str, root: Path) -> Iterator[Finding]:
    try:
        report = make_report(stack, root)
    except BastideError as error:
        yield Finding("missing", f"proofs: {error.message}", error.hint)
        return
    yield proofs_line(report, datetime.now(UTC))


def _arguments(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="for scripts, on standard output")


def _run(options: argparse.Namespace, root: Path) -> int:
    return show_status(options.stack, root, as_json=options.json)


COMMAND = Command(
    "status",
    "one line a machine: how it is, from which revision, how fresh its proofs are",
    _run,
    _arguments,
    wrong_usage=FAILED,
)
