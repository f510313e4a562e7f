"""Runs on the machine: symbolic links."""

from __future__ import annotations

from deploys.remote.facts.common import at


def links(paths: list[str]) -> dict[str, str]:
    """Where symbolic links point to; "" for what is none."""
    return {path: str(at(path).readlink()) if at(path).is_symlink() else "" for path in paths}
