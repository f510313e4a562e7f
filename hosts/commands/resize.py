"""`resize`: give one server the type that the stack file says, alone, without a loss, and on again whatever happens.

`pulumi up` never does it: it would cut the power of every server whose type was edited, all at once, and leave off
those that the provider refuses to change (stacks/servers.py).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bastide.command_line import Command, Parser
from bastide.console import run, say, step
from bastide.errors import StackError
from bastide.settings import Settings
from hosts.commands.exclusive.hold import held
from hosts.commands.exclusive.signals import interrupt, signals_to
from hosts.commands.health.observation import Observation, observe_all
from hosts.commands.health.others import against_going_down, is_back, leads
from hosts.stack import Stack, load_stack, provider_access
from hosts.transport.made_server import MadeServer

_DOWN_SECONDS = 180.0
_WELL_SECONDS = 300.0
_HANDOVER_SECONDS = 60.0
_PYINFRA_SECONDS = 300.0
_PULUMI_SECONDS = 300.0


def resize(stack: str, root: Path, name: str, *, grow_disk: bool, force: bool) -> None:
    """Give the machine `name` its type; a run that was stopped is completed by the next one.

    `grow_disk`: its disk becomes that of the new type, too, and can never shrink again. `force`: go on though others
    are not well. Raises `StackError` before anything is done when it must not be; afterwards the server is on again.
    """
    loaded = load_stack(stack, root)
    wanted = _wanted(loaded.settings, name)
    server = MadeServer(provider_access(stack, root), _id(loaded, name), name)
    if server.type == wanted and not grow_disk:
        _say_has_it(server, loaded, wanted)
        return
    kind = server.fitting(wanted, grow_disk=grow_disk)
    say(f"{name}: {server.type} becomes {wanted} ({kind.cores} cores, {kind.memory:g} GB of memory)")
    say(f"  its disk grows from {server.disk_gb} to {kind.disk} GB, and cannot shrink again" if grow_disk
        else f"  its disk keeps its {server.disk_gb} GB (disk=1 grows it, with no way back)")  # fmt: skip
    is_off = server.status() == "off"
    with held(loaded, "resize", besides=name if is_off else "", force=force):
        # one that is off already, after a run that was killed, makes nothing worse
        was_leader = not is_off and _prepared(loaded, name, force=force)
        with signals_to(interrupt):
            try:
                with step(f"{name} goes down in order"):
                    if not server.shut_down(_DOWN_SECONDS):
                        raise StackError(
                            f"{name} did not go down within {_DOWN_SECONDS:.0f} s; its type is what it was",
                            f"`journalctl -b` on {name} says what it waits for; then the same command again",
                        )
                with step(f"{name} becomes {wanted}"):
                    server.change_type(kind, grow_disk=grow_disk)
            finally:
                with signals_to(_not_now):
                    # whoever listened may be gone, and with it the terminal: nothing that is said may keep it off
                    with contextlib.suppress(OSError):
                        say(f"{name} is switched on …")
                    server.power_on()
        with step(f"{name} is well again"):
            _wait_well(loaded, name)
        _settle(stack, root, name)
    say(f"{name} is {wanted} now")
    say(" next: `make deploy`: what follows from its memory is set there")
    if was_leader:
        say(f" next: `make switchover to={name}` if it shall lead again")


def _wanted(settings: Settings, name: str) -> str:
    if name not in settings.servers:
        what = f"no server is called {name}" if name else "which server?"
        raise StackError(what, f"`make resize machine={next(iter(settings.made), 'NAME')}`")
    if name not in settings.made:
        raise StackError(
            f"{name} is somebody else's server: its owner resizes it",
            "docs/how-to/existing-server.md; shut it down first",
        )
    return settings.made[name].type


def _id(stack: Stack, name: str) -> str:
    return next(machine.id for machine in stack.machines if machine.name == name)


def _say_has_it(server: MadeServer, stack: Stack, wanted: str) -> None:
    """Complete what was stopped after the change: the server may still be off, the state still be the old one."""
    if server.status() == "off":
        with step(f"{server.name} is switched on"):
            server.power_on()
        with step(f"{server.name} is well again"):
            _wait_well(stack, server.name)
    _settle(stack.name, stack.root, server.name)
    say(f"{server.name} is {wanted}; to give it another type, write it into the stack file first")


def _prepared(stack: Stack, name: str, *, force: bool) -> bool:
    """See that the machine may go down, and hand over what it leads. Returns whether it led."""
    seen = _seen(stack)
    reasons = list(against_going_down(name, seen))
    reasons += _stops_writes(stack.settings, name)
    if reasons and not force:
        raise StackError(
            f"{name} must not go down now: {'; '.join(reasons)}", "mend that first; force=1 does it anyway"
        )
    for reason in reasons:
        say(f"! {reason}")
    if not leads(name, seen):
        return False
    with step(f"{name} hands the database over"):
        words = ["pyinfra", "-y", "--fail-percent", "0", "hosts/inventory.py", "deploys/commands/switchover.py"]
        run(words, cwd=stack.root, env={"BASTIDE_STACK": stack.name}, timeout=_PYINFRA_SECONDS)
        _wait(lambda: f"{name} still leads" if leads(name, _seen(stack)) else "", _HANDOVER_SECONDS)
    return True


def _stops_writes(settings: Settings, name: str) -> Iterator[str]:
    database = settings.postgres
    if database is None or settings.servers[name].role == "witness":
        return
    if database.durability == "zero-loss" and database.without_standby == "stop" and len(settings.sites) == 2:
        yield "with settings.postgres.without_standby: stop nobody can write while one of two sites is down"


def _wait_well(stack: Stack, name: str) -> None:
    _wait(lambda: is_back(name, _seen(stack)), _WELL_SECONDS)


def _wait(problem: Callable[[], str], seconds: float) -> None:
    """Until `problem` finds none. Raises `StackError` with the last one after so many seconds."""
    deadline = time.monotonic() + seconds
    while found := problem():
        if time.monotonic() > deadline:
            raise StackError(found, "`make status` says how it is; then the same command again")
        time.sleep(1)


def _seen(stack: Stack) -> list[Observation]:
    return observe_all(stack.inventory(), stack.root)


def _not_now(number: int, frame: object) -> None:
    with contextlib.suppress(OSError):
        say("! it would stay off: wait until it is on")


def _settle(stack: str, root: Path, name: str) -> None:
    """Have Pulumi's state say what the server is now: `pulumi up` has nothing to do with it, and `plan` reads it."""
    with step("the state learns it"):
        exported = run(["pulumi", "stack", "export", "--stack", stack], cwd=root, timeout=_PULUMI_SECONDS).stdout
        servers = [
            str(item["urn"])
            for item in json.loads(exported)["deployment"].get("resources") or []
            if item["type"] == "hcloud:index/server:Server" and str(item["urn"]).endswith(f"::{name}")
        ]
        words = ["pulumi", "refresh", "--yes", "--skip-preview", "--non-interactive", "--stack", stack]
        run([*words, *(word for urn in servers for word in ("--target", urn))], cwd=root, timeout=_PULUMI_SECONDS)


def _arguments(parser: Parser) -> None:
    parser.add_argument("--machine", default="", help="the server, by its name in the stack file")
    parser.add_argument("--grow-disk", action="store_true", help="its disk, too; it can never shrink again")
    parser.add_argument("--force", action="store_true", help="though other machines are not well")


def _run(options: argparse.Namespace, root: Path) -> int:
    resize(options.stack, root, options.machine, grow_disk=options.grow_disk, force=options.force)
    return 0


COMMAND = Command(
    "resize", "give one server the type that the stack file says, and see it well again", _run, _arguments
)
