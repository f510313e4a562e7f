"""Starting programs that outlive the one who starts them: supervisors, the daemon, dnsmasq."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bastide.console import run
from lab import owner, place

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# enter the control groups, let go of the starter's outputs, become the program
_SCRIPT = """\
log=$1; shift
while [ "$1" != -- ]; do echo 0 >"$1" || exit 1; shift; done; shift
umask 077; exec </dev/null >>"$log" 2>&1; umask 022
exec "$@"
"""


def spawn(argv: Sequence[str], *, procs: Sequence[Path] = (), log: Path = Path(os.devnull), netns: str = "") -> None:
    """Start `argv` in a session of its own and return at once.

    - `procs` are the `cgroup.procs` files of the groups it enters first.
    - `log` takes both outputs (made 0600, appended to).
    - `netns` is the name of a network namespace to run it in.
    """
    inner = ["nsenter", f"--net=/run/netns/{netns}", *argv] if netns else list(argv)
    # setsid forks: the program is nobody's child then, and nobody has to reap it
    shell = ["sh", "-c", _SCRIPT, "sh", str(log), *map(str, procs), "--", *inner]
    run(["setsid", "--fork", *shell], cwd="/", timeout=30)


def python(module: str, *words: str) -> list[str]:
    """The command that runs a module of this checkout, with a clean environment.

    In a checkout that belongs to a user, root leaves no compiled files. No code is taken from the working directory.
    """
    options = ["-P"] if place.CHECKOUT.stat().st_uid == 0 else ["-P", "-B"]
    clean = ["env", "--ignore-environment", *owner.kept_environment(), f"PATH={PATH}", f"PYTHONPATH={place.CHECKOUT}"]
    return [*clean, sys.executable, *options, "-m", module, *words]
