"""The lab's command line. The verbs are those of the NixOS test driver where it has them (crash, start)."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bastide.console import die, say
from bastide.errors import LabError
from lab import registry
from lab.machines.spawn import python
from lab.place import Place

if TYPE_CHECKING:
    from lab.bringup import Order


def main() -> int:
    """Parse, become root when needed, do."""
    words = sys.argv[1:]
    args = _parser().parse_args(words)
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

            down(args.name)
        case "status":
            from lab import status

            return status.show(args.name, as_json=args.json)
        case "exec":
            from lab import inside
            from lab.machines.store import by_name

            command = args.command[1:] if args.command[:1] == ["--"] else args.command
            inside.become(by_name(_lab(args.name), args.machine), command or ["bash", "-l"])
        case "doctor":
            from lab import doctor

            return doctor.report(args.port)
        case "daemon":
            from lab import daemon

            return daemon.serve(args.name)
        case verb:
            _power(_lab(args.name), verb, args.machine)
    return 0


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
    from lab.parties.storage import Wanted

    source = Path(args.token_file)
    text = sys.stdin.read() if source == Path("-") else _read(source)
    token, *keys = text.split() or [""]
    if len(keys) != (2 if args.storage else 0):
        raise LabError(
            f"{source} does not hold {'three words' if args.storage else 'one word'}",
            "give it the API's token, and with --storage the access key and the secret key after it",
        )
    storage = Wanted(args.storage.resolve(), *keys) if args.storage else None
    return Order(args.port, token, _read(args.authorized_key), args.info, storage)


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab", description="A local cloud of real Debian 13 machines.")
    parser.add_argument(
        "--name", default=os.environ.get("BASTIDE_LAB") or "lab", help="which lab (default: %(default)s)"
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    up = verbs.add_parser("up", help="make or repair the lab")
    up.add_argument("--port", type=int, required=True, help="the API's port on 127.0.0.1")
    up.add_argument("--token-file", required=True, metavar="FILE", help="holds the API's token; - is standard input")
    up.add_argument(
        "--storage",
        type=Path,
        metavar="PROGRAM",
        help="also object storage, by this MinIO server; the token's file then holds its access and secret key, too",
    )
    up.add_argument(
        "--authorized-key", type=Path, required=True, metavar="FILE", help="public key for the prober's root"
    )
    up.add_argument("--info", type=Path, required=True, metavar="FILE", help="where to write how the lab is reached")
    verbs.add_parser("down", help="take the lab away, all of it")
    status = verbs.add_parser("status", help="what runs")
    status.add_argument("--json", action="store_true", help="for programs")
    execute = verbs.add_parser("exec", help="run a command as root inside of a machine")
    execute.add_argument("machine")
    execute.add_argument("command", nargs=argparse.REMAINDER)
    for verb, text in (
        ("crash", "cut a machine's power"),
        ("start", "switch a machine on"),
        ("reboot", "ask a machine to reboot"),
    ):
        verbs.add_parser(verb, help=text).add_argument("machine")
    doctor = verbs.add_parser("doctor", help="what this machine lacks")
    doctor.add_argument("--port", type=int, default=None, help="also look whether this port is free")
    verbs.add_parser("daemon", help=argparse.SUPPRESS)
    return parser
