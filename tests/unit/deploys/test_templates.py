"""What is written to machines, word for word: tests/unit/deploys/data/rendered.

After an intended change: `UPDATE=1 pytest tests/unit/deploys/test_templates.py`, and read the difference.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from pydantic import SecretBytes, SecretStr

from bastide.cluster import cluster_of
from bastide.console import run
from bastide.layout.alerts import PROGRAM
from bastide.layout.model import OpenPort
from bastide.open_ports import opened
from bastide.secrets import Keyring
from bastide.settings import Settings
from deploys import accounts, base, fail2ban, firewall, kernel, sandbox, ssh, users
from deploys.alerts import deploy as alerts
from deploys.etcd import deploy as etcd
from deploys.etcd import membership
from deploys.operations.files import File
from deploys.postgres import deploy as postgres
from deploys.postgres import patroni, routing
from deploys.render import render
from deploys.restarts import restart_files
from deploys.updates import deploy as updates
from tests.unit.deploys.box import ALERTS, MACHINES, SECRETS, SETTINGS, SOURCE, here

GOLDEN = Path(__file__).parent / "data/rendered"
ANYWHERE = SETTINGS.ssh.model_copy(update={"open_to": "anywhere", "port": 2222})
VPN = SETTINGS.ssh.model_copy(update={"open_to": "vpn"})
DOORS = (*opened(SETTINGS), OpenPort("etcd", 2379, "tcp", "mesh", "etcd's clients"))
V6_ONLY = SETTINGS.firewall.model_copy(update={"operators": ("2001:db8::/48",), "public": ()})
V4_ONLY = tuple(replace(machine, address6="", private_address="") for machine in MACHINES)

UPDATES = SETTINGS.updates.model_copy(update={"sources": {"other": SOURCE}})


KEYRING = Keyring("prod", {"v1": SecretBytes(b"\1" * 32)})
DATABASES = {
    "app": {"roles": {"app_owner": "owner", "app": "writer"}, "extensions": ("pg_trgm",)},
    "App-1.x": {"roles": {"Own.er-1": "owner"}, "connections": 5},
}
CLUSTERED = Settings.model_validate({**SETTINGS.model_dump(), "postgres": {"databases": DATABASES}})


def clustered() -> dict[str, File]:
    """What a site and the witness get of the database cluster; certificates change with time: test_authority.py."""
    primary, _, witness = MACHINES
    found: dict[str, File] = {}
    for machine in (primary, witness):
        members = membership.members_of(CLUSTERED, machine, "prod")
        files = [
            *membership.config_files(members),
            *(file for file in membership.tool_files(members, KEYRING) if file.content is not None),
            *membership.local_access_of(members).files(),
        ]
        upkeep = membership.upkeep_files(CLUSTERED.etcd, members)
        files += [*(file for file in upkeep if file.content is not None), etcd.turn_file(members)]
        found |= {f"{machine.name}_{file.path.strip('/').replace('/', '_')}": file for file in files}
    wanted = cluster_of(CLUSTERED, primary, "prod")
    files = [*patroni.member_files(wanted, KEYRING, patroni.memory_of(wanted, 0)), routing.haproxy_file(wanted)]
    files += [
        patroni.unit_file(),
        routing.router_unit_file(),
        routing.pool_files(wanted, KEYRING)[0],
        *routing.pool_files(wanted, KEYRING)[-2:],  # those in between change with time
        routing.pool_users_file(wanted, KEYRING),
        *postgres.local_access_of(wanted).files(),
        *postgres.package_files(),
        *restart_files(),
    ]
    return found | {file.path.strip("/").replace("/", "_"): file for file in files}


def written() -> dict[str, File]:
    rules = replace(firewall.wanted_of(here()), opened=DOORS)
    config = ssh.config_file(ssh.wanted_of(here()))
    files = (
        config,
        ssh.expected_file(config),
        *users.key_files(SETTINGS.users),
        *accounts.guarded_files(accounts.wanted_of(here()), {}),
        *accounts.shell_files(accounts.wanted_of(here()), {}),
        *accounts.banner_files(accounts.wanted_of(here())),
        *accounts.job_files(accounts.wanted_of(here()), cron=True),
        *firewall.rule_files(rules),
        *fail2ban.jail_files(SETTINGS.fail2ban, fail2ban.spared(fail2ban.wanted_of(here()))),
        *sandbox.sandbox_files(sandbox.wanted_of(here())),
        *base.name_files(MACHINES[0], MACHINES, True),
        *base.locale_files(SETTINGS.base),
        base.journal_file(SETTINGS.base),
        *base.package_files(),
        *base.closed_files(),
        *updates.source_files(UPDATES),
        kernel.wanted_of(here()).file,
        kernel.modprobe_file(),
        *kernel.core_files(),
        *kernel.tmp_files(),
        updates.apt_file(UPDATES),
        *updates.window_files(replace(updates.wanted_of(here()), updates=UPDATES)),
    )
    settings = Settings.model_validate({**CLUSTERED.model_dump(), "alerts": ALERTS})
    told = alerts.program_files(alerts.wanted_of(here(settings=settings, alert_secrets=SECRETS)))
    files += tuple(file for file in told if file.content is not None and not file.path.startswith(PROGRAM))
    named = {file.path.strip("/").replace("/", "_"): file for file in files}
    del named[updates.PROGRAM.strip("/").replace("/", "_")]  # it goes as it stands in deploys/remote
    named["vpn.nft"] = firewall.rule_files(replace(rules, ssh=VPN))[0]
    named["anywhere.nft"] = firewall.rule_files(firewall.Wanted(V6_ONLY, ANYWHERE, SETTINGS.network, V4_ONLY))[0]
    return named | clustered()


@pytest.mark.parametrize("name", sorted(written()))
def test_rendered(name):
    content = written()[name].content
    text = content.get_secret_value() if isinstance(content, SecretStr) else str(content)
    golden = GOLDEN / name
    if os.environ.get("UPDATE"):
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.mark.parametrize(("seconds", "leads_to"), [(30, "uri /replica?lag=16MB\n"), (31, "uri /replica\n")])
def test_a_replica_that_may_wait_for_a_long_read_keeps_its_sessions(seconds, leads_to):
    reads = {"max_standby_streaming_delay_seconds": seconds, "hot_standby_feedback": True}
    wanted = Settings.model_validate(
        {**SETTINGS.model_dump(), "postgres": {"databases": DATABASES, "replica_reads": reads}}
    )
    cluster = cluster_of(wanted, MACHINES[0], "prod")
    assert leads_to in str(routing.haproxy_file(cluster).content)
    parameters = patroni.shared(cluster)["postgresql"]["parameters"]
    assert parameters["max_standby_streaming_delay"] == f"{seconds}s"
    assert parameters["hot_standby_feedback"] == "on"


def test_no_golden_file_is_orphaned():
    assert {path.name for path in GOLDEN.iterdir()} == set(written())


@pytest.mark.parametrize("name", ["etc_bastide_firewall.nft", "anywhere.nft", "vpn.nft"])
def test_the_rules_load(name, tmp_path):
    if not shutil.which("nft") or os.geteuid() != 0:
        pytest.skip("needs nft and root: nft checks rules against the kernel")
    path = tmp_path / "rules.nft"
    path.write_text(str(written()[name].content))
    # a namespace of its own: nothing of this machine's is looked at, and the check can never load anything here
    run(["unshare", "--net", "nft", "-c", "-f", path])


def test_modes_of_what_must_not_be_read_or_changed_by_others():
    files = written()
    assert files["etc_sudoers.d_bastide"].mode == 0o440
    assert files["etc_sudoers.d_bastide"].check.startswith("visudo")
    assert files["etc_ssh_authorized_keys.d_anna"].owner == "root"


def test_undefined_names_are_errors():
    with pytest.raises(UndefinedError):
        render("base/locale.conf.j2")


def test_the_expected_configuration_has_a_line_for_each_account():
    wanted = ssh.effective(ssh.config_file(ssh.wanted_of(here())))
    assert wanted["allowusers"] == ["bastide", "anna", "bruno"]
    assert wanted["persourcepenaltyexemptlist"] == [
        "198.51.100.10/32,2001:db8:ffff::10/128,10.21.0.11/32,10.21.0.12/32,10.21.0.13/32,10.21.0.101/32"
    ]
