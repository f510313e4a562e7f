"""`audit`: what Lynis, systemd and debsums say of every machine, beside stock Debian and what the platform excuses.

It needs no passphrase, changes no setting, and leaves nothing there.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from bastide.command_line import Command, Parser
from bastide.console import say
from bastide.errors import BastideError
from bastide.files import write_whole
from bastide.findings import Finding
from bastide.lynis import STOCK
from bastide.machines import build_dir, inventory_path, load_inventory
from bastide.stackfile import read, stack_path
from hosts.commands.auditing.ask import Audit, audit
from hosts.commands.auditing.plot import write_plots
from hosts.commands.auditing.result import as_json, lines
from hosts.transport.ssh_config import write_ssh_config

WELL, FAILED, ATTENTION = 0, 1, 2


def show_audit(stack: str, root: Path, only: str = "") -> int:
    """Ask all machines side by side (or the one of this name), print it, and write JSON and plots into build/<stack>.

    Returns 0 when all is well, 2 when a line has a next step. Raises `StackError` without an inventory, `BastideError`
    when a machine gives no answer; what others said is written all the same.
    """
    inventory, settings = load_inventory(inventory_path(stack, root)), read(stack_path(stack, root))
    names = [machine.name for machine in inventory if only in ("", machine.name)]
    if not names:
        raise BastideError(f"there is no machine {only}", "`make inventory`, or another limit=NAME")
    config = write_ssh_config(inventory, root)
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda name: _answer(name, config, root), names))
    found = [one for one in answers if isinstance(one, Audit)]
    said = {one.name: list(lines(one, settings)) for one in found}
    for finding in (finding for all_ in said.values() for finding in all_):
        say(str(finding))
    if found:
        _write(stack, root, found, said)
    for failed in (one for one in answers if isinstance(one, BastideError)):
        raise failed
    open_ = [finding for all_ in said.values() for finding in _open(all_)]
    say(f"audit: {_summary(open_)}")
    return ATTENTION if open_ else WELL


def _write(stack: str, root: Path, found: list[Audit], said: dict[str, list[Finding]]) -> None:
    folder, settings = build_dir(stack, root), read(stack_path(stack, root))
    machines = [{**as_json(one, settings), "open": [line.what for line in _open(said[one.name])]} for one in found]
    document = {
        "version": 1,
        "stack": stack,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "stock": STOCK.source,
        "machines": machines,
    }
    path = folder / "audit.json"
    write_whole(path, json.dumps(document, indent=1) + "\n")
    plots = write_plots(found, settings, folder)
    say(f"written: {', '.join(str(one.relative_to(root)) for one in (path, *plots))}")


def _answer(name: str, config: Path, root: Path) -> Audit | BastideError:
    try:
        return audit(name, config, root)
    except BastideError as error:
        return error


def _open(found: list[Finding]) -> list[Finding]:
    return [finding for finding in found if finding.level == "missing"]


def _summary(open_: list[Finding]) -> str:
    if not open_:
        return "every score is within its goal, and whatever else was found has its reason"
    return f"{len(open_)} to mend or to give a reason for; next: the lines with ✗, docs/how-to/audit.md"


def _arguments(parser: Parser) -> None:
    parser.add_argument("--limit", default="", help="this machine alone")


def _run(options: argparse.Namespace, root: Path) -> int:
    return show_audit(options.stack, root, options.limit)


COMMAND = Command(
    "audit",
    "what Lynis, systemd and debsums say of every machine, beside stock Debian",
    _run,
    _arguments,
    wrong_usage=FAILED,
)
