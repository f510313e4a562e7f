"""What is too much for a service, of what a machine says."""

from __future__ import annotations

from typing import Any

import pytest

from bastide.layout.sandbox import AS_SHIPPED, DEBIANS_WITHOUT, ETCD, FAIL2BAN, WITHOUT, sandboxes
from tests.unit.bastide.proofs import SETTINGS
from tests.verify.probes.remote.sandboxes import exposure
from tests.verify.test_sandbox import BITS, below, calls, too_much, too_open

_NONE, _NET_ADMIN, _ALL = "0" * 16, "0000000000001000", "000001ffffffffff"


def _process(**changed: str) -> dict[str, Any]:
    sets = dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), _NONE)
    return {"name": "etcd", "NoNewPrivs": "1", "Seccomp": "2", "Uid": "105", **sets, **changed}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, []),
        ({"CapBnd": _NET_ADMIN}, ["etcd has 1 of root's rights too many (CapBnd)"]),
        ({"CapBnd": _ALL}, ["etcd has 41 of root's rights too many (CapBnd)"]),
        ({"NoNewPrivs": "0"}, ["etcd can gain new rights"]),
        ({"Seccomp": "0"}, ["etcd may make any system call"]),
        ({"Uid": "0"}, ["etcd runs as another account than etcd"]),
    ],
)
def test_what_a_process_has_too_much(changed: dict[str, str], says: list[str]) -> None:
    assert list(too_much(ETCD, _process(**changed))) == says


def test_what_a_service_may_is_not_too_much() -> None:
    assert list(too_much(FAIL2BAN, _process(Uid="0", CapBnd=_NET_ADMIN, CapEff=_NET_ADMIN))) == []


@pytest.mark.parametrize(
    ("said", "some"),
    [("read write", []), ("read mount", ["mount"]), ("~mount", ["umount2"]), ("", ["mount", "ptrace"])],
)
def test_calls_that_change_the_machine(said: str, some: list[str]) -> None:
    found = calls(said)
    assert set(some) <= set(found)
    assert bool(found) == bool(some)


def test_folders() -> None:
    assert below("/var/lib/etcd/bastide", ("/var/lib/etcd",))
    assert not below("/var/lib/etcdother", ("/var/lib/etcd",))


def test_exposure() -> None:
    assert exposure("x\n\n\u2192 Overall exposure level for etcd.service: 1.3 OK :-)\n") == "1.3"
    assert exposure("Unit etcd.service not found.") == ""


def test_each_right_of_the_table_is_known_and_nobody_stands_in_both_tables() -> None:
    found = [one for name in SETTINGS.servers for one in sandboxes(SETTINGS, name)]
    assert {right for one in found for right in one.capabilities} <= set(BITS)
    listed = [*{one.unit for one in found}, *WITHOUT, *DEBIANS_WITHOUT, *AS_SHIPPED]
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({"load": "loaded", "exposure": "2.5"}, []),
        ({"load": "loaded", "exposure": "2.6"}, ["x.service has 2.6 points, at most 2.5 are allowed"]),
        ({"load": "loaded", "exposure": ""}, ["systemd does not say how exposed x.service is"]),
        ({"load": "masked", "exposure": ""}, ["x.service is masked"]),
    ],
)
def test_what_is_too_open(found: dict[str, str], says: list[str]) -> None:
    assert too_open("x.service", found, 2.5) == says
