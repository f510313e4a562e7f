"""Runs on the machine: the ssh server."""

from __future__ import annotations

from deploys.remote.facts.common import output


def sshd(asked: None) -> dict[str, list[str]]:
    """Its effective configuration, values by lower-case keyword."""
    del asked
    effective: dict[str, list[str]] = {}
    for line in output("/usr/sbin/sshd", "-T").splitlines():
        key, _, value = line.partition(" ")
        effective.setdefault(key, []).append(value)
    return effective
