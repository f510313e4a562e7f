"""What lies open in homes."""

from __future__ import annotations

from deploys.facts.fact import Fact
from deploys.remote.facts import homes as on_machine

HOMES = Fact(on_machine.homes)
"""Paths of homes, and of files in them that a shell reads at its start, that others may read or write; by accounts."""
