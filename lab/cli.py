"""The lab's command line. The verbs are those of the NixOS test driver where it has them (crash, start)."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from bastide.console import die, say
from bastide.errors import LabError
from lab import host, registry
from lab.arguments import parser
from lab.machines.spawn import python
from lab.place import Place

if TYPE_CHECKING:
    from lab.bringup import Order


def main() -> int:
    """Parse, become root when needed, do."""
    words = sys.argv[1:]
    args = parser().parse_args(words)
    if args.verb in ("up", "doctor") and (reason := host.unfit(host.look())):
        # before anything else, which would fail in stranger words
        die(f"no local cloud here: {reason[0]}", reason[1])
    if os.geteuid() != 0 and args.verb != "doctor":
        _become_root(words)
    os.umask(0o022)
    return _do(args)


def _do(args: argparse.Namespace) -> int:
    # imported late: `doctor` must be able to say what is missing, and `exec` should not load a web server
    match args.verb:
        case "up":
            from lab.bringup import up

            up(args.name, _order(args))
        case "down":
            from lab.teardown import down

            down(args.name, force=args.force)
        case "status":
            from lab import status

            return status.show(args.name, as_json=args.json)
        case "exec":
            from lab import inside
            from lab.machines.store import by_name

            command = args.command[1:] if args.command[:1] == ["--"] else args.command
            inside.become(by_name(_lab(args.name), args.machine), command or ["bash", "-l"])
        case "archive":
            from lab.services import archive

            archive.publish(_lab(args.name), args.version, args.signed_by)
            say(f"the archive offers {archive.PACKAGE} {args.version}, signed by {args.signed_by}")
        case "stranger":
            _stranger(args)
        case "doctor":
            from lab import doctor

            return doctor.report(args.port)
        case "daemon":
            from lab import daemon

            return daemon.serve(args.name)
        case "keep":
            from lab import kept

            kept.keep(_lab(args.name), args.switch == "on")
            say(f"lab '{args.name}' is {'kept: down refuses' if args.switch == 'on' else 'not kept any more'}")
        case "admin-token" | "door-token":
            from lab import admin_token

            say(admin_token.token(_lab(args.name)))
        case "block" | "unblock" | "slow" | "unslow":
            _lines(_lab(args.name), args)
        case "fill" | "unfill" | "snapshot" | "restore" | "forget":
            _disk(_lab(args.name), args)
        case verb:
            _power(_lab(args.name), verb, args.machine)
    return 0


def _lines(here: Place, args: argparse.Namespace) -> None:
    from lab import status
    from lab.machines import lines
    from lab.machines.trouble import EVERYBODY, Delay

    match args.verb:
        case "block":
            lines.block(here, args.one, args.other or EVERYBODY, one_way=args.one_way)
        case "unblock":
            lines.unblock(here, args.one, args.other)
        case "slow":
            lines.slow(here, Delay(args.one, args.other, args.delay, args.loss, args.rate))
        case _:
            lines.unslow(here, args.one, args.other)
    for line in status.troubles(here) or ["all lines are whole"]:
        say(line)


def _disk(here: Place, args: argparse.Namespace) -> None:
    from lab.machines import ballast, snapshot
    from lab.machines.store import by_name

    record = by_name(here, args.machine)
    match args.verb:
        case "fill":
            if args.leave < 0:
                die("--leave is less than nothing", "give the megabytes that stay free")
            say(f"{args.machine}: {ballast.fill(record, args.leave * 1_000_000) / 1e6:.1f} MB are free")
            return
        case "unfill":
            ballast.unfill(record)
        case "snapshot":
            # told to end, it must let the machine go on
            signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
            snapshot.snapshot(record, args.tag)
        case "restore":
            snapshot.restore(record, args.tag)
        case _:
            snapshot.forget(record, args.tag)
    say(
        f"{args.machine}: {args.verb} done"
        + (f"; snapshots: {', '.join(snapshot.tags(record)) or 'none'}" if args.verb in ("snapshot", "forget") else "")
    )


def _stranger(args: argparse.Namespace) -> None:
    from lab.machines import router, stranger
    from lab.machines.driver import Driver

    with registry.alone(args.name):
        here = _lab(args.name)
        if not router.ready(here):
            raise LabError(f"the lab '{args.name}' has no network", "`python -m lab up` repairs it")
        if args.action == "remove":
            stranger.remove(here, Driver(here), args.machine)
            say(f"{args.machine}: removed")
            return
        if args.authorized_key is None:
            raise LabError("whom shall it let in?", "give --authorized-key a file that ends in .pub")
        found = stranger.add(here, Driver(here), args.machine, args.user, _read(args.authorized_key))
    if args.json:
        say(json.dumps(asdict(found), indent=1))
    else:
        say(f"{found.name}: {found.user}@{found.address}, {found.address6}\n  {found.host_key}")


def _power(here: Place, verb: str, name: str) -> None:
    from lab.machines import machine
    from lab.machines.store import by_name

    record = by_name(here, name)
    verbs = {"crash": machine.power_cut, "start": machine.start, "reboot": machine.reboot}
    if verb == "reboot" and not machine.running(record):
        die(f"the machine '{name}' is off", f"switch it on: python -m lab start {name}")
    verbs[verb](record)
    say(f"{name}: {verb} done")


def _lab(name: str) -> Place:
    here = registry.find(name)
    if here is None:
        raise LabError(f"there is no lab '{name}'", "make it with `python -m lab up`, or say which one with --name")
    return here


def _order(args: argparse.Namespace) -> Order:
    from lab.bringup import Order
    from lab.services import sink
    from lab.services.storage import Wanted

    source = Path(args.token_file)
    text = sys.stdin.read() if source == Path("-") else _read(source)
    token, *words = text.split() or [""]
    keys = words[: 2 if args.storage else 0]
    rest = words[len(keys) :]
    if len(words) != (wanted := (2 if args.storage else 0) + (4 if args.sink else 0)):
        raise LabError(
            f"{source} does not hold {1 + wanted} word{'s' if wanted else ''}",
            "give it the API's token; with --storage the access key and the secret key after it; with --sink the user, "
            "its password, and a word of each URL after those",
        )
    storage = Wanted(args.storage.resolve(), *keys) if args.storage else None
    taker = sink.Wanted(*rest) if args.sink else None
    return Order(args.port, token, _read(args.authorized_key), args.info, storage, taker)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise LabError(f"cannot read {path}: {error}", "give a file that exists") from error


def _become_root(words: list[str]) -> None:
    if not shutil.which("sudo"):
        raise LabError(
            "a lab needs root, and there is no sudo", "run this as root, or install sudo and allow yourself to use it"
        )
    argv = ["sudo", "--", *python("lab", *words)]
    sys.stdout.flush()
    os.execvp("sudo", argv)  # noqa: S606
