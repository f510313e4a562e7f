"""Shells of accounts that are the system's."""

from __future__ import annotations

from deploys.facts.fact import Fact
from deploys.remote.facts import shells as on_machine

FALSE_SHELLS = Fact(on_machine.false_shells)
"""Names of accounts of the system that let nobody in by false(1)."""
