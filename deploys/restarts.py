"""What packages may not restart: what clusters stand on waits for its turn, a deploy's or the night's.

A package that is upgraded or installed again restarts what it brings, also when unattended-upgrades does that on the
server that leads. Debian's way to say no is policy-rc.d; it is asked for every service, and says no for these alone.
"""

from __future__ import annotations

from bastide.layout.updates import NEEDRESTART, POLICY, ROLLED
from deploys.operations.files import File, files
from deploys.render import render

# One that somebody else put there says things of its own, which would be lost. The new file's path follows.
_NOT_OURS = (
    f'[ ! -e {POLICY} ] || grep -q "Written by Bastide" {POLICY} || {{ '
    f'echo "{POLICY} is of somebody else, and decides what packages may restart; next: move it away, then again" >&2; '
    "exit 1; }; :"
)


def restart_files() -> tuple[File, ...]:
    """policy-rc.d, and the same for needrestart, which asks nobody (it reads the file only where it is installed)."""
    return (
        File(POLICY, render("restarts/policy-rc.d.j2", units=ROLLED), mode=0o755, check=_NOT_OURS),
        File(NEEDRESTART, render("restarts/needrestart.conf.j2", units=ROLLED)),
    )


def no_restarts() -> None:
    """Set it up, as part of a deploy: before the packages, which it keeps from starting what is started later."""
    files(name="no restarts by packages", name_="restarts", wanted=restart_files())
