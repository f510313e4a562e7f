"""What accounts may do: tried with one that no machine has, and seen in modes and groups of those that it has."""

from __future__ import annotations

from dataclasses import dataclass

from bastide.console import Completed
from bastide.layout.accounts import BANNERS, MODES, SU_GROUP, SUDO_LOG
from bastide.machines import Machine
from tests.verify.probes.batch import command
from tests.verify.probes.engine import probe
from tests.verify.probes.listed import listed
from tests.verify.probes.scripts import script
from tests.verify.probes.users import NO_SHELL
from tests.verify.probes.world import Output, World

seen = command(
    "accountsseen",
    script(
        {"paths": sorted(MODES), "group": SU_GROUP, "closed": NO_SHELL, "banners": BANNERS},
        "accounts_seen",
    ),
    shows=f"stat -c '%a %U %n' /home/* /home/*/.[a-z]* /etc/crontab /etc/cron.*; getent group {SU_GROUP}",
)
_tried = listed(
    "accountstried",
    lambda world, machine: script(
        {
            "tries": world.settings.accounts.password_tries,
            "length": world.settings.accounts.password_length,
            "group": SU_GROUP,
            "log": SUDO_LOG,
            "programs": sorted(
                {world.settings.users.automation.name}
                | ({world.settings.users.verification.name} if world.settings.users.verification else set())
            ),
            "jobs": list(world.settings.accounts.jobs),
        },
        "pam",
        "accounts_tried",
    ),
)


@probe()
def tried(world: World, machine: Machine) -> tuple[str, Output]:
    """What an account was let do that lives in a mount namespace with copies of /etc and of homes."""
    return "# unshare -m, with a copy of /etc: su, sudo, passwd, crontab, bash as an account of its own", _tried.run(
        world, machine
    )


@dataclass(frozen=True)
class Greeted:
    """A login, with what the server said before it; whether it opens a session at all."""

    login: Completed
    session: bool


@probe()
def greeted(world: World, machine: Machine) -> tuple[str, Greeted]:
    """What ssh shows before it asks for a key, and the mask of a session."""
    login = world.login(machine.name, command="umask")
    return f"ssh -v {machine.name} umask", Greeted(login, not world.gated)
