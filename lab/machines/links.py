"""Network namespaces and cables: a thin layer over ip(8)."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from bastide.console import run
from bastide.errors import LabError

NETNS = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
T = TypeVar("T")


def ip(lines: Sequence[str], netns: str = "") -> None:
    """Run several ip(8) commands in one go, in the host's namespace or another. Raises `CommandFailed` at the first
    that fails."""
    run(["ip", *(["-n", netns] if netns else []), "-batch", "-"], input="\n".join(lines) + "\n", timeout=30)


def netns_exists(name: str) -> bool:
    """Is there a namespace of this name?"""
    return (NETNS / name).exists()


def netns_names() -> list[str]:
    """All named namespaces of the host."""
    return sorted(path.name for path in NETNS.iterdir()) if NETNS.is_dir() else []


def netns_make(name: str, sysctls: dict[str, int] | None = None) -> None:
    """Make a namespace with loopback up and these settings (below `net.`)."""
    run(["ip", "netns", "add", name])
    ip(["link set lo up"], name)
    if sysctls:
        words = [f"net.{key}={value}" for key, value in sysctls.items()]
        run(["nsenter", f"--net={NETNS / name}", "sysctl", "-q", "-w", *words])


def netns_delete(name: str) -> None:
    """Remove a namespace; no error when it does not exist."""
    if netns_exists(name):
        run(["ip", "netns", "delete", name])


def link_exists(name: str, netns: str = "") -> bool:
    """Is there an interface of this name?"""
    return run(["ip", *(["-n", netns] if netns else []), "link", "show", "dev", name], check=False).ok


def link_delete(name: str, netns: str = "") -> None:
    """Pull a cable: both ends go. No error when it does not exist."""
    run(["ip", *(["-n", netns] if netns else []), "link", "delete", "dev", name], check=False)


def nft(rules: str, netns: str = "") -> None:
    """Load a rule file atomically: all of it or nothing."""
    prefix = ["nsenter", f"--net={NETNS / netns}"] if netns else []
    run([*prefix, "nft", "-f", "-"], input=rules, timeout=30)


def has_table(table: str, netns: str = "") -> bool:
    """Is there a table (family inet) of this name?"""
    prefix = ["nsenter", f"--net={NETNS / netns}"] if netns else []
    return run([*prefix, "nft", "list", "table", "inet", table], check=False).ok


def inside(netns: str, work: Callable[[], T]) -> T:
    """Call `work` in a thread that has entered the namespace, and return what it returns.

    Sockets that it opens stay in that namespace; everything else in this process stays where it was.
    """
    result: list[T] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            handle = os.open(NETNS / netns, os.O_RDONLY | os.O_CLOEXEC)
            try:
                # setns(2) moves the calling thread only; Python 3.11 has no os.setns
                if libc.setns(handle, _CLONE_NEWNET) != 0:
                    raise LabError(f"cannot enter the namespace {netns}: {os.strerror(ctypes.get_errno())}")
            finally:
                os.close(handle)
            result.append(work())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]
