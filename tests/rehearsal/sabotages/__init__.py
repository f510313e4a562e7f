"""The wrong ways to do it, a table a capability: what a hurried person, a package or an attacker leaves behind.

Each has to turn its control red. A sabotage breaks one machine by a shell script that runs as root inside it, past ssh
and past every deploy, and puts back what it changed. `{person}` and the like are filled from the settings.
"""

from __future__ import annotations

from bastide.capabilities import parts
from tests.rehearsal.sabotages.model import Sabotage

__all__ = ["NOT_IN_THE_LAB", "SABOTAGES", "Sabotage"]

# Controls that no container can prove, so that none can be broken here either.
NOT_IN_THE_LAB = {"base-01": "a container has no clock of its own; breaking it would break the host's"}

SABOTAGES: tuple[Sabotage, ...] = tuple(one for module in parts(__name__).values() for one in module.SABOTAGES)
