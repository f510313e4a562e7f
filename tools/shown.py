"""A long command with a short account of it: a line while it runs, what it said that matters, and a sum at the end.

`make up` shows Pulumi and pyinfra like this; all they print goes to a log. `verbose=1` shows everything instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from bastide.console import run, say, step
from bastide.errors import CommandFailed
from bastide.transcript import machine_lines, plain

_TAIL_LINES = 40
# pyinfra's own routine; everything else that a machine says is for people (notes, first contacts, refusals)
_ROUTINE = ("Connected", "Ready: ", "No changes", "Success", "Skipped")
_TOTAL = re.compile(r"^\s*Grand total\s+(\d+)\s+(\S+)\s+(\S+)\s+(\S+)", re.MULTILINE)
# what the program says of the stack (`pulumi.warn`), in the diagnostics at the end
_WARNING = re.compile(r"^ {4}warning: (.+)$", re.MULTILINE)
_RESOURCES = re.compile(r"^Resources:\n((?:[ \t]+.+\n)+)", re.MULTILINE)


def shown(words: list[str], log: Path) -> int:
    """Run a command with its outputs in `log` (0600, begun anew). Returns its exit code; a failure shows its end."""
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    log.touch(mode=0o600)
    # in the terminal's group, so that Ctrl-C reaches it and it can end in order
    to_log = ["sh", "-c", 'log=$1; shift; exec "$@" >>"$log" 2>&1', "sh", str(log), *words]
    try:
        with step(f"{Path(words[0]).name} (all of its output: {_short(log)})"):
            run(to_log, show=True)
    except CommandFailed as error:
        say("\n".join(_read(log).splitlines()[-_TAIL_LINES:]))
        say(f"the whole output: {_short(log)}")
        say(" next: mend what it says, then the same command again: it goes on from there")
        return error.returncode
    for line in account(_read(log)):
        say(f"  {line}")
    return 0


def account(text: str) -> Iterator[str]:
    """What a user should see of a run that went well."""
    for name, said in machine_lines(text):
        if not said.startswith(_ROUTINE):
            yield f"[{name}] {said}"
    for said in dict.fromkeys(_WARNING.findall(text)):
        yield f"! {said}"
    if found := _RESOURCES.search(text):
        yield ", ".join(" ".join(line.split()) for line in found[1].splitlines())
    if found := _TOTAL.search(text):
        total, changed = found[1], "0" if found[2] == "-" else found[2]
        yield f"{total} operations on {_machines(text)} machines, {changed} changed something"


def _read(log: Path) -> str:
    return plain(log.read_text(encoding="utf-8", errors="replace"))


def _machines(text: str) -> int:
    return len({name for name, _ in machine_lines(text)})


def _short(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
