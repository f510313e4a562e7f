"""The words of the lab's command line."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from lab import words


def parser() -> argparse.ArgumentParser:
    """The parser of `python -m lab`."""
    top = argparse.ArgumentParser(prog="python -m lab", description="A local cloud of real Debian 13 machines.")
    top.add_argument(
        "--name",
        default=os.environ.get("BASTIDE_LAB") or os.environ.get("BASTIDE_STACK") or "lab",
        help="which lab (default: %(default)s)",
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    _whole(verbs)
    _machine(verbs)
    _network(verbs)
    _disk(verbs)
    _services(verbs)
    return top


def _whole(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    up = verbs.add_parser("up", help="make or repair the lab")
    up.add_argument("--port", type=int, required=True, help="the API's port on 127.0.0.1")
    up.add_argument("--token-file", required=True, metavar="FILE", help="holds the API's token; - is standard input")
    up.add_argument(
        "--sink",
        action="store_true",
        help="also a sink for mail and webhooks; the token's file ends with user, password and a word of each URL",
    )
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
    down = verbs.add_parser("down", help="take the lab away, all of it")
    down.add_argument("--force", action="store_true", help="also when it is kept")
    keep = verbs.add_parser("keep", help="mark the lab: `down` refuses, rehearsals leave it up")
    keep.add_argument("switch", choices=("on", "off"), nargs="?", default="on")
    status = verbs.add_parser("status", help="what runs, and what is broken on purpose")
    status.add_argument("--json", action="store_true", help="for programs")
    doctor = verbs.add_parser("doctor", help="what this machine lacks")
    doctor.add_argument("--port", type=int, default=None, help="also look whether this port is free")
    # its first name, too: scripts have it
    verbs.add_parser("admin-token", aliases=["door-token"], help="print the token of the admin API, /_lab")
    verbs.add_parser("daemon")  # `up` starts it: without a sentence it is not listed


def _machine(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    execute = verbs.add_parser("exec", help="run a command as root inside of a machine")
    execute.add_argument("machine")
    execute.add_argument("command", nargs=argparse.REMAINDER)
    for verb, text in (
        ("crash", "cut a machine's power"),
        ("start", "switch a machine on"),
        ("reboot", "ask a machine to reboot"),
    ):
        verbs.add_parser(verb, help=text).add_argument("machine")


def _network(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    block = verbs.add_parser("block", help="let no packet pass between two, or between one and everything")
    block.add_argument("one", metavar="A", help="a machine, the name of a service, or operator (this host)")
    block.add_argument("other", metavar="B", nargs="?", default="", help="the same; without it, everything")
    block.add_argument("--one-way", action="store_true", help="from A to B only")
    slow = verbs.add_parser("slow", help="delay and lose what two machines send each other")
    slow.add_argument("one", metavar="A")
    slow.add_argument("other", metavar="B")
    slow.add_argument("delay", metavar="DELAY", type=words.seconds, help="each way, as 20ms")
    slow.add_argument("loss", metavar="LOSS", type=words.share, nargs="?", default=0.0, help="as 1%%")
    slow.add_argument("--rate", type=words.rate, default=0.0, help="at most so much each way, as 10mbit")
    for verb, text in (("unblock", "take cuts away"), ("unslow", "take delays away")):
        undo = verbs.add_parser(verb, help=f"{text}: between two, all of one, or all")
        undo.add_argument("one", metavar="A", nargs="?", default="")
        undo.add_argument("other", metavar="B", nargs="?", default="")


def _disk(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    fill = verbs.add_parser("fill", help="fill a machine's disk")
    fill.add_argument("machine")
    fill.add_argument("--leave", type=int, default=0, metavar="MB", help="leave so many megabytes free (default: 0)")
    verbs.add_parser("unfill", help="give the space back").add_argument("machine")
    for verb, text in (
        ("snapshot", "keep a copy of a machine's disk"),
        ("restore", "put the copy back; the power is cut for it"),
        ("forget", "remove the copy"),
    ):
        copy = verbs.add_parser(verb, help=text)
        copy.add_argument("machine")
        copy.add_argument("tag")


def _services(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    archive = verbs.add_parser("archive", help="say what the lab's package archive offers")
    archive.add_argument("action", choices=["publish"])
    archive.add_argument("version", help="1.0 or 1.1")
    archive.add_argument(
        "--signed-by", choices=["archive", "stranger", "nobody"], default="archive", help="whose signature it carries"
    )
    stranger = verbs.add_parser("stranger", help="a machine of somebody else, in another network, that no API knows")
    stranger.add_argument("action", choices=("add", "remove"))
    stranger.add_argument("machine", help="its name")
    stranger.add_argument("--user", default="debian", help="its first user (default: %(default)s)")
    stranger.add_argument("--authorized-key", type=Path, metavar="FILE", help="public key that lets the first user in")
    stranger.add_argument("--json", action="store_true", help="for programs")
