"""The ssh server."""

from __future__ import annotations

from deploys.facts.fact import Fact
from deploys.remote.facts import sshd as on_machine

SSHD = Fact(on_machine.sshd)
"""Its effective configuration: values by lower-case keyword."""
