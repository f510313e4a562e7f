"""Runs on the machine as root: says who deploys to it (`bastide.hold`, which commands of hosts/ send, too)."""

from __future__ import annotations

from bastide.hold import hold, release

__all__ = ["hold", "release"]
