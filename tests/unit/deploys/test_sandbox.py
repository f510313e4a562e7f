"""Each service of ours is in a sandbox, or stands where it says why it is not."""

from __future__ import annotations

import pytest

from bastide.layout.sandbox import ETCD, FAIL2BAN, PATRONI, WITHOUT, Sandbox, sandboxes
from deploys.render import render
from tests.unit.deploys.test_templates import CLUSTERED, written

# these take nothing away: who reads what a service writes, and how it hears that it may not
_NO_LIMITS = {"UMask", "SystemCallErrorNumber"}
# a list of its own, without the line for /run
_OWN_LIST = ("bastide-alerts-cluster@.service",)
_COMPILES = {"MemoryDenyWriteExecute"}


def _names(text: str) -> set[str]:
    return {line.partition("=")[0] for line in text.splitlines() if "=" in line and not line.startswith("#")}


def _services() -> dict[str, str]:
    """Units, and drop-ins to units, by the unit's name."""
    found = {}
    for file in written().values():
        unit = file.path.removeprefix("/etc/systemd/system/").removesuffix(".d/bastide.conf")
        if file.path.startswith("/etc/systemd/system/") and unit.endswith(".service"):
            found[unit] = str(file.content)
    return found


@pytest.mark.parametrize("unit", sorted(_services()))
def test_a_service_is_in_a_sandbox_or_says_why_not(unit: str) -> None:
    limits = _names(render("sandbox/service.j2", sandbox=Sandbox(unit, unit))) - _NO_LIMITS
    missing = limits - _names(_services()[unit]) - ({"ReadOnlyPaths"} if unit in _OWN_LIST else set())
    missing -= _COMPILES if unit == PATRONI.unit else set()
    assert bool(missing) == (unit in WITHOUT), missing


def test_what_has_no_sandbox_is_there_at_all() -> None:
    assert set(WITHOUT) <= set(_services())


def test_a_sandbox_says_what_its_service_may() -> None:
    lines = render("sandbox/service.j2", sandbox=ETCD).splitlines()
    assert {"CapabilityBoundingSet=", "ReadWritePaths=/var/lib/etcd", "NoNewPrivileges=yes"} <= set(lines)
    lines = render("sandbox/service.j2", sandbox=FAIL2BAN).splitlines()
    assert "CapabilityBoundingSet=CAP_NET_ADMIN" in lines
    assert "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK" in lines


def test_a_machine_has_those_of_its_own() -> None:
    what = {name: [one.unit.removesuffix(".service") for one in sandboxes(CLUSTERED, name)] for name in CLUSTERED.mesh}
    assert what["primary"] == [
        *("etcd", "bastide-etcd-keep", "bastide-etcd-lead", "patroni", "haproxy", "pgbouncer", "fail2ban"),
        "dpkg-db-backup",
    ]
    assert what["witness"] == ["etcd", "fail2ban", "dpkg-db-backup"]


def test_postgresql_alone_may_compile_queries() -> None:
    assert "MemoryDenyWriteExecute" in render("sandbox/service.j2", sandbox=ETCD)
    assert "MemoryDenyWriteExecute" not in render("sandbox/service.j2", sandbox=PATRONI)
