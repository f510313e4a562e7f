"""What the files of sysctl.d(5) give at the next boot, and what is found wrong now and then."""

from __future__ import annotations

import json

import pytest

from bastide.layout.kernel import SYSCTLS, path_of, per_machine, wanted_at, wanted_sysctls
from tests.unit.bastide.proofs import SETTINGS
from tests.verify.probes.kernel import at_boot, seen, wrong_at_boot, wrong_now
from tests.verify.probes.world import Output

ETH0, LO = "net/ipv4/conf/eth0/rp_filter", "net/ipv4/conf/lo/rp_filter"
VLAN = "net/ipv4/conf/eth0.100/rp_filter"
THERE = dict.fromkeys((ETH0, LO, VLAN, "kernel/sysrq"), "0")


@pytest.mark.parametrize(
    ("files", "path", "value"),
    [
        ("kernel.sysrq = 1", "kernel/sysrq", "1"),
        ("# a comment = 1\n; another = 2\n\nkernel/sysrq=0", "kernel/sysrq", "0"),
        ("kernel.sysrq = 1\nkernel.sysrq = 0", "kernel/sysrq", "0"),
        ("-kernel.sysrq = 1", "kernel/sysrq", "1"),
        ("net.ipv4.conf.*.rp_filter = 1", ETH0, "1"),
        ("net.ipv4.conf.*.rp_filter = 1", VLAN, "1"),
        ("net.ipv4.*.rp_filter = 1", ETH0, None),
        # what is named itself counts, wherever it stands
        ("net.ipv4.conf.eth0.rp_filter = 2\nnet.ipv4.conf.*.rp_filter = 1", ETH0, "2"),
        ("net.ipv4.conf.eth0/100.rp_filter = 2", VLAN, "2"),
        ("net/ipv4/conf/eth0.100/rp_filter = 2", VLAN, "2"),
        # a glob said again, and another glob after it
        ("net.ipv4.conf.*.rp_filter = 1\nnet.ipv4.conf.e*.rp_filter = 2", ETH0, "2"),
        ("net.ipv4.conf.e*.rp_filter = 2\nnet.ipv4.conf.*.rp_filter = 0\nnet.ipv4.conf.*.rp_filter = 1", ETH0, "1"),
        ("-net.ipv4.conf.lo.rp_filter\nnet.ipv4.conf.*.rp_filter = 1", LO, None),
        ("net.ipv4.conf.lo.rp_filter\t=  1 ", LO, "1"),
    ],
)
def test_the_next_boot(files: str, path: str, value: str | None) -> None:
    assert at_boot(files, THERE).get(path) == value


def test_all_that_is_wrong_is_named() -> None:
    found = seen(
        Output(
            0,
            json.dumps(
                {"values": {ETH0: "1", LO: "2", "kernel/sysrq": "1"}, "missing": ["kernel/yama/ptrace_scope"]}
                | {"container": "none", "files": "net.ipv4.conf.eth0.rp_filter = 0\nkernel.sysrq=0", "unit": "masked"}
            ),
        )
    )
    wanted = {"net/ipv4/conf/*/rp_filter": "1", "kernel/sysrq": "0", "kernel/yama/ptrace_scope": "1"}
    assert wrong_now(found, wanted) == [f"{LO} is 2 instead of 1", "kernel/sysrq is 1 instead of 0"]
    assert wrong_at_boot(found, wanted) == [
        "systemd-sysctl.service is masked: nothing is set at the next boot",
        f"{ETH0} will be 0 after a reboot instead of 1",
        f"{LO} will be unset after a reboot instead of 1",
        "kernel/yama/ptrace_scope will be unset after a reboot instead of 1",
    ]


def test_a_value_has_one_place_in_the_table_and_a_source() -> None:
    assert len({one.name for one in SYSCTLS}) == len(SYSCTLS)
    assert all(one.source for one in SYSCTLS)
    wanted = wanted_sysctls(SETTINGS)
    assert [name for name in wanted if "forwarding" in name or "ip_forward" in name] == list(wanted)[:3]
    assert {per_machine(name) for name in wanted} == {True, False}


def test_what_is_named_itself_wins_over_all_interfaces() -> None:
    wanted = {path_of("net.ipv4.conf.*.rp_filter"): "1", path_of("net.ipv4.conf.eth0/100.rp_filter"): "2"}
    assert (wanted_at(VLAN, wanted), wanted_at(ETH0, wanted), wanted_at("kernel/sysrq", wanted)) == ("2", "1", None)
