"""Which of what runs is another program than the installed one."""

from __future__ import annotations

from deploys.facts.fact import Fact
from deploys.remote.facts import programs as on_machine

OUTDATED = Fact(on_machine.outdated)
"""By unit why it has to be restarted to run what is installed, as it may; "" where it does, or does not run."""
SANDBOX = on_machine.SANDBOX
