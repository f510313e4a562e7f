"""Runs on the machine: groups."""

from __future__ import annotations

import grp


def groups(names: list[str]) -> dict[str, list[str] | None]:
    """The members of each group; `None` for one that does not exist."""
    there = {group.gr_name: sorted(group.gr_mem) for group in grp.getgrall()}
    return {name: there.get(name) for name in names}
