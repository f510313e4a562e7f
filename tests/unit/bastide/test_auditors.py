"""The page of what auditors say is fresh, and nothing is both done and excused."""

from __future__ import annotations

from pathlib import Path

import pytest

from bastide.auditors import DEVIATIONS, auditors_page
from bastide.layout.kernel import FORWARDING, MODULES, MOUNT_OPTIONS, NO_PROGRAMS, SYSCTLS
from bastide.layout.ssh import SAID_TWICE
from bastide.lynis import FINDINGS, excused
from tests.unit.bastide.test_auditors_accounts import DONE, OPERATIONS

DATA = Path(__file__).parent / "data/auditors"
"""Ids of what failed on a deployed standby of 2026-11-28 (commit e5ad9e9)."""
BASE = {
    *("file_groupowner_backup_etc_gshadow", "file_permissions_backup_etc_gshadow"),
    *("file_permissions_backup_etc_shadow", "file_permissions_sshd_config"),
    *("journald_compress", "journald_disable_forward_to_syslog", "journald_storage"),
}
SSHD = {
    "disable_host_auth": "HostbasedAuthentication",
    "sshd_disable_empty_passwords": "PermitEmptyPasswords",
    "sshd_disable_rhosts": "IgnoreRhosts",
    "sshd_disable_root_login": "PermitRootLogin",
    "sshd_do_not_permit_user_env": "PermitUserEnvironment",
    "sshd_enable_warning_banner_net": "Banner",
    "sshd_set_idle_timeout": "ClientAliveInterval",
    "sshd_set_keepalive": "ClientAliveCountMax",
    "sshd_set_login_grace_time": "LoginGraceTime",
    "sshd_set_loglevel_info": "LogLevel",
    "sshd_set_max_auth_tries": "MaxAuthTries",
    "sshd_set_max_sessions": "MaxSessions",
}
KERNEL = {"coredump_disable_backtraces", "coredump_disable_storage", "disable_users_coredumps"}
LYNIS_DONE = {
    *("DEB-0831", "PKGS-7370", "SSH-7408", "USB-1000", "STRG-1846", "NETW-3200", "KRNL-6000"),
    *("FILE-7524", "AUTH-9230", "AUTH-9262", "AUTH-9286", "AUTH-9328", "BANN-7126", "BANN-7130"),
}

PAGE = Path(__file__).parents[3] / "docs/reference/auditors.md"


def test_the_page_is_fresh() -> None:
    assert PAGE.read_text() == auditors_page(), "run `python -m bastide reference`"


def test_a_rule_is_excused_once_with_a_reason() -> None:
    rules = [rule for one in (*DEVIATIONS, *FINDINGS) for rule in one.rules]
    assert len(set(rules)) == len(rules)
    assert all(one.reason.endswith(".") for one in (*DEVIATIONS, *FINDINGS))


def done() -> set[str]:
    """What the tables of the kernel, of sshd and of what every machine has do, by the rules' names."""
    names = {*FORWARDING, *(one.name for one in SYSCTLS)}
    each = {name.replace("*", scope) for name in names for scope in ("all", "default")}
    assert set(SSHD.values()) <= set(SAID_TWICE)
    return {
        *(f"sysctl_{name.replace('.', '_')}" for name in each),
        *(f"kernel_module_{name}_disabled" for name in MODULES),
        *(f"mount_option_{path[1:].replace('/', '_')}_{option}" for path in NO_PROGRAMS for option in MOUNT_OPTIONS),
        *KERNEL,
        *BASE,
        *SSHD,
    }


@pytest.mark.parametrize("auditor", ["anssi", "cis"])
def test_each_rule_that_failed_is_done_or_excused(auditor: str) -> None:
    failed = (DATA / f"{auditor}.txt").read_text().split()
    excuses = {rule for one in DEVIATIONS for rule in one.rules}
    assert sorted(set(failed) - done() - excuses - DONE.keys() - OPERATIONS) == []


def test_each_test_of_lynis_that_suggested_something_is_done_or_excused() -> None:
    tests = {rule.partition(":")[0] for one in FINDINGS for rule in one.rules}
    assert sorted(set((DATA / "lynis.txt").read_text().split()) - tests - LYNIS_DONE) == []


def test_an_excuse_is_of_one_thing_that_a_test_looks_at() -> None:
    assert excused("SSH-7408:Port")
    assert excused("SSH-7408:X11Forwarding") == ""
    assert excused("BOOT-5264:etcd.service")
    assert excused("BOOT-52640") == ""


def test_what_is_excused_is_not_done_and_the_other_way_round() -> None:
    """A value that auditors want otherwise is set otherwise, or not at all."""
    wanted = {"net.ipv4.conf.*.arp_ignore": "2", "kernel.perf_event_paranoid": "2", "kernel.pid_max": "65536"}
    told = {one.name: one.value for one in SYSCTLS}
    assert {name: told[name] for name in wanted.keys() & told} == {"kernel.perf_event_paranoid": "3"}
    values = {rule.removeprefix("sysctl_") for one in DEVIATIONS for rule in one.rules if rule.startswith("sysctl_")}
    assert values - {"reapply_after_network"} == {name.replace("*", "all").replace(".", "_") for name in wanted}
