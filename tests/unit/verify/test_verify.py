"""The checks' own tools: what rules let in, what an outcome is worth, and that this machine is never the one judged."""

from __future__ import annotations

import json
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bastide.console import run
from tests.unit.bastide.proofs import inventory, with_existing
from tests.unit.deploys.box import SETTINGS
from tests.verify import test_fail2ban as checked_fail2ban
from tests.verify import test_firewall as checked_firewall
from tests.verify import test_site as checked_site
from tests.verify import test_ssh as checked_ssh
from tests.verify import test_users as checked_users
from tests.verify.evidence_plugin import BROKEN, _verdict
from tests.verify.probes import nft
from tests.verify.probes.batch import _KEYS, effective
from tests.verify.probes.fail2ban import Dropped
from tests.verify.probes.jails import state_command
from tests.verify.probes.reach import Scan
from tests.verify.probes.world import NotSeen, Output, Sight, World, now

ROOT = Path(__file__).parents[3]


def _ruleset(*rules: list[dict[str, Any]], family: str = "inet", policy: str = "drop", hook: str = "input") -> str:
    chain = {"family": family, "table": "t", "name": "c", "hook": hook, "policy": policy, "type": "filter", "prio": 0}
    items = [{"rule": {"family": family, "table": "t", "chain": "c", "expr": rule}} for rule in rules]
    return json.dumps({"nftables": [{"metainfo": {}}, {"chain": chain}, *items]})


def _match(left: dict[str, Any], right: object) -> dict[str, Any]:
    return {"match": {"op": "==", "left": left, "right": right}}


MEMBERS = ("10.21.0.11", "10.21.0.12", "10.21.0.13", "10.21.0.101")
ACCEPT: dict[str, Any] = {"accept": None}
DROP: dict[str, Any] = {"drop": None}
LOOPBACK = [_match({"meta": {"key": "iif"}}, "lo"), ACCEPT]
SSH = [_match({"payload": {"protocol": "tcp", "field": "dport"}}, 22), ACCEPT]
ALL_SIX = [_match({"meta": {"key": "nfproto"}}, "ipv6"), ACCEPT]
PINGS_OF_PEERS = [
    _match({"payload": {"protocol": "ip", "field": "saddr"}}, "@peers4"),
    _match({"payload": {"protocol": "icmp", "field": "type"}}, "echo-request"),
    ACCEPT,
]
ANYWHERE = [
    _match({"payload": {"protocol": "ip", "field": "saddr"}}, {"prefix": {"addr": "0.0.0.0", "len": 0}}),
    ACCEPT,
]


@pytest.mark.parametrize(
    ("text", "four", "six"),
    [
        (_ruleset(LOOPBACK, SSH), True, True),
        (_ruleset(SSH, policy="accept"), False, False),
        (_ruleset(SSH, [DROP], policy="accept"), True, True),
        (_ruleset(SSH, family="ip"), True, False),
        (_ruleset(SSH, family="ip6"), False, True),
        (_ruleset(SSH, hook="forward"), False, False),
    ],
)
def test_default_deny_is_seen_for_each_family(text: str, four: bool, six: bool) -> None:
    chains = nft.parse(text)
    assert nft.drops_by_default(chains, "input", "ip") is four
    assert nft.drops_by_default(chains, "input", "ip6") is six


@pytest.mark.parametrize(
    ("rule", "four", "six"),
    [
        (SSH, False, False),
        (LOOPBACK, False, False),
        ([ACCEPT], True, True),
        (ALL_SIX, False, True),
        (ANYWHERE, True, False),
        ([_match({"meta": {"key": "l4proto"}}, "tcp"), ACCEPT], True, True),
        ([_match({"meta": {"key": "iifname"}}, "eth0"), ACCEPT], True, True),
        ([_match({"ct": {"key": "state"}}, ["established", "new"]), ACCEPT], True, True),
        ([_match({"ct": {"key": "state"}}, ["established", "related"]), ACCEPT], False, False),
        ([_match({"payload": {"protocol": "tcp", "field": "dport"}}, {"range": [1, 65535]}), ACCEPT], True, True),
        (
            [{"match": {"op": "!=", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 22}}, ACCEPT],
            True,
            True,
        ),
        ([{"jump": {"target": "open"}}], True, True),
        ([{"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": [["new", {"accept": None}]]}}}], True, True),
        ([_match({"payload": {"protocol": "icmpv6", "field": "type"}}, "echo-request"), ACCEPT], False, False),
        (PINGS_OF_PEERS, False, False),
    ],
)
def test_a_rule_that_lets_everything_in_is_a_door(rule: list[dict[str, Any]], four: bool, six: bool) -> None:
    chains = nft.parse(_ruleset(LOOPBACK, rule))
    assert nft.open_doors(chains, "input", "ip") is four
    assert nft.open_doors(chains, "input", "ip6") is six


def test_a_second_chain_that_drops_still_counts() -> None:
    one = json.loads(_ruleset([ACCEPT]))["nftables"]
    two = json.loads(_ruleset(SSH).replace('"t"', '"u"'))["nftables"]
    chains = nft.parse(json.dumps({"nftables": [*one, *two]}))
    assert not nft.open_doors(chains, "input", "ip")


def test_a_dropped_address_is_found() -> None:
    rule = [_match({"payload": {"protocol": "ip", "field": "daddr"}}, "169.254.169.254"), DROP]
    chains = nft.parse(_ruleset(rule, hook="forward"))
    assert nft.drops_address(chains, "forward", "169.254.169.254")
    assert not nft.drops_address(chains, "input", "169.254.169.254")


def test_no_rules_are_a_failure_and_no_crash() -> None:
    with pytest.raises(AssertionError, match="nft says nothing"):
        nft.parse("sh: nft: not found")


def test_sshds_answers_are_kept_apart() -> None:
    text = "# root 192.0.2.1\npermitrootlogin no\nhostkey a\nhostkey b\n# anna 192.0.2.1\npermitrootlogin yes\n"
    answers = effective(Output(0, text))
    assert answers[("root", "192.0.2.1")] == {"permitrootlogin": "no", "hostkey": "a b"}
    assert answers[("anna", "192.0.2.1")]["permitrootlogin"] == "yes"


def _sight(text: str) -> Sight:
    return Sight("command", Output(0, text), now(), 0.1)


def test_a_server_that_does_not_tell_its_settings_proves_nothing() -> None:
    """`sshd -T` fails on a broken file while the running server goes on with the old one."""
    silent = _sight("# root 192.0.2.1\n/etc/ssh/sshd_config: line 1: Bad configuration option\n")
    with pytest.raises(AssertionError, match="passwordauthentication is not told"):
        checked_ssh.test_effective_methods(silent, note=print)
    with pytest.raises(AssertionError, match="is not told"):
        checked_users.test_no_other_door(silent, note=print)


@pytest.mark.parametrize("name", ["test_no_account_has_a_password", "test_no_back_way_to_root"])
def test_a_machine_that_says_nothing_proves_nothing(name: str) -> None:
    with pytest.raises(AssertionError):
        getattr(checked_users, name)(_sight(""), note=print)


def test_an_account_without_a_shell_has_one() -> None:
    """passwd(5): an empty shell is /bin/sh."""
    lines = "root:x:0:0::/root:/bin/bash\nbastide:x:1:1::/:/bin/bash\nanna:x:2:2::/:/bin/bash\nbruno:x:3:3::/:/bin/bash"
    checked_users.test_only_declared_accounts_have_a_shell(_sight(lines), SETTINGS, note=print)
    with pytest.raises(AssertionError, match="not declared: mallory"):
        checked_users.test_only_declared_accounts_have_a_shell(
            _sight(f"{lines}\nmallory:x:4:4::/home/mallory:"), SETTINGS, note=print
        )


def test_a_first_group_counts_as_any_other() -> None:
    checked_users.test_no_back_way_to_root(_sight("root root\nanna anna\n"), note=print)
    with pytest.raises(AssertionError, match="members: disk: anna"):
        checked_users.test_no_back_way_to_root(_sight("root root\nanna disk\n"), note=print)


def test_a_key_hides_in_no_option() -> None:
    declared = SETTINGS.users.people["bruno"].keys[0]
    line = f'bruno command="echo {declared} " ssh-ed25519 AAAAother x'
    assert checked_users._keys(_sight(line)) == {"bruno": {"ssh-ed25519 AAAAother"}}


def test_a_key_hides_behind_no_unended_line(tmp_path: Path) -> None:
    """Each account's key file is read as one of lines, whatever its last byte is."""
    (tmp_path / "root").write_text("one")
    (tmp_path / "daemon").write_text("two\n")
    fake = f"printf 'authorizedkeysfile {tmp_path}/%%u\\n'"
    script = _KEYS.replace("@EFFECTIVE@", fake).replace("{ sshd -T;", "{")
    assert set(run(["sh", "-c", script]).stdout.splitlines()) == {"root one", "daemon two"}


def test_a_scan_that_was_given_up_proves_nothing() -> None:
    world: Any = type("World", (), {"inventory": type("Inventory", (), {"prober": None})})
    whole = {"tcp": 1003, "udp": 14, "alive": True}
    checked_firewall._judge(Scan(**whole, heard={}), SETTINGS, world, print)
    with pytest.raises(AssertionError, match="did not come to its end"):
        checked_firewall._judge(Scan(0, 0, True, {}), SETTINGS, world, print)


def test_what_is_only_declared_of_a_machine_is_no_proof() -> None:
    theirs, standby, *_ = with_existing(inventory()).machines
    for answer in ("eu-central\nfsn1-dc14", "not found\nnot found", ""):
        with pytest.raises(pytest.skip.Exception, match="that it stands in Gravelines, France, is a declaration"):
            checked_site.test_stands_where_it_was_ordered(_sight(answer), theirs, print)
    with pytest.raises(AssertionError, match="does not say where"):
        checked_site.test_stands_where_it_was_ordered(_sight("not found"), standby, print)


def test_a_silent_metadata_service_proves_nothing() -> None:
    theirs, standby, *_ = with_existing(inventory()).machines

    def sight(**codes: int) -> Sight:
        data = {name.replace("_", " "): Output(code, "404" if code == 0 else "") for name, code in codes.items()}
        return Sight("# look", data, now(), 0)

    check = checked_firewall.test_metadata_answers_root_only
    with pytest.raises(pytest.skip.Exception, match="no metadata service answers on a machine of OVH"):
        check(sight(root=28, nobody=7, any_number=7), theirs, print)
    with pytest.raises(AssertionError, match="silence proves nothing"):
        check(sight(root=28, nobody=7, any_number=7), standby, print)
    with pytest.raises(AssertionError, match="an account without rights gets an answer"):
        check(sight(root=0, nobody=7, any_number=0), theirs, print)
    check(sight(root=0, nobody=7, any_number=7), theirs, print)


def test_a_neighbour_knocks_past_the_providers_firewall() -> None:
    """Over the public address it would be that firewall which refuses."""
    machines = with_existing(inventory())
    primary, standby, witness = machines.machines
    world = World("unit", SETTINGS, machines, Path("none"))
    assert [world.sibling(one) for one in machines] == [standby, witness, standby]
    alone = World("unit", SETTINGS, replace(machines, machines=(primary, standby)), Path("none"))
    assert [alone.sibling(one) for one in (primary, standby)] == [standby, None]
    with pytest.raises(pytest.skip.Exception, match="alone in its private network"):
        checked_firewall.test_neighbour_reaches_nothing_undeclared(
            Sight("# look", None, now(), 0), SETTINGS, standby, alone, print
        )


def _report(outcome: str, error: BaseException | None, *, xfail: bool = False) -> tuple[str, str]:
    def phase() -> None:
        if error:
            raise error

    call = pytest.CallInfo.from_call(phase, "call")
    report = pytest.TestReport("n", ("f", 0, "d"), {}, outcome, None, "call")
    if xfail:
        report.wasxfail = "known"
    return _verdict(report, call)


def test_only_a_plain_pass_is_a_proof() -> None:
    assert _report("passed", None) == ("proven", "")
    assert _report("passed", None, xfail=True)[0] == "failed"
    assert _report("skipped", pytest.skip.Exception("not provable here: no prober")) == (
        "not_provable_here",
        "no prober",
    )
    assert _report("failed", AssertionError("it is open\nassert 'a whole file'")) == ("failed", "it is open")
    assert _report("failed", NotSeen("standby does not answer over ssh")) == (
        "failed",
        "standby does not answer over ssh",
    )
    assert _report("failed", KeyError("x")) == ("failed", f"{BROKEN}KeyError: 'x'")


def test_without_an_inventory_nothing_is_checked() -> None:
    """Bare pytest must never judge the machine it runs on."""
    env = {**os.environ, "BASTIDE_STACK": "no-such-stack"}
    done = run([sys.executable, "-m", "pytest", "tests/verify", "-q"], cwd=ROOT, env=env, check=False)
    assert done.returncode != 0
    assert "build/no-such-stack/inventory.json does not exist" in done.stderr
    assert "make inventory" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def _bans(**changed: object) -> Sight:
    jail: dict[str, Any] = {
        "ignoreip": ["127.0.0.0/8", "::1", "198.51.100.10", "2001:db8:ffff::10", "10.20.0.0/16", *MEMBERS],
        **{"maxretry": 5, "findtime": 3600, "bantime": 3600, "bantime.increment": True, "bantime.maxtime": 604800},
        **{"banned": 0, "not_dropped": 0, "not_kept": 0, "drops": ["ip", "ip6"], "test": []},
    }
    server = {"dbfile": "/var/lib/x", "dbpurgeage": 2592000, "filesystem": "ext2/ext3", "boot": "enabled"}
    return _sight(json.dumps({**server, "flusher": "masked", "jails": {"sshd": jail | changed}}))


def test_a_server_that_bans_as_declared_is_proven() -> None:
    checked_fail2ban.test_limits_in_force(_bans(), SETTINGS, note=print)
    checked_fail2ban.test_every_packet_is_dropped(_bans(), note=print)
    checked_fail2ban.test_bans_outlive_a_restart(_bans(), SETTINGS, note=print)


def test_a_server_that_bans_otherwise_is_seen() -> None:
    with pytest.raises(AssertionError, match="bans for 60 s only"):
        checked_fail2ban.test_limits_in_force(_bans(bantime=60), SETTINGS, note=print)
    with pytest.raises(AssertionError, match="no rule drops all"):
        checked_fail2ban.test_every_packet_is_dropped(_bans(drops=["ip"]), note=print)
    with pytest.raises(AssertionError, match="2 of 3 banned are not in the database"):
        checked_fail2ban.test_bans_outlive_a_restart(_bans(banned=3, not_kept=2), SETTINGS, note=print)
    with pytest.raises(AssertionError, match="fail2ban does not answer"):
        checked_fail2ban.test_limits_in_force(_sight("null"), SETTINGS, note=print)


def test_a_whole_world_that_is_spared_is_seen() -> None:
    nobody: Any = ()
    with pytest.raises(AssertionError, match=r"spares without being told to: 0\.0\.0\.0/1"):
        checked_fail2ban.test_operators_and_servers_are_spared(
            _bans(ignoreip=["0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1"]), SETTINGS, nobody, note=print
        )
    checked_fail2ban.test_operators_and_servers_are_spared(_bans(), SETTINGS, nobody, note=print)


def test_silence_of_an_address_that_was_silent_before_proves_nothing() -> None:
    silent = Sight("c", Dropped(0, *({"ping": False, "port": "not asked"},) * 3), now(), 0.1)
    with pytest.raises(AssertionError, match="silence proves nothing"):
        checked_fail2ban.test_a_banned_address_gets_no_answer(silent, note=print)


def test_the_script_that_reads_bans_is_python() -> None:
    words = shlex.split(state_command("192.0.2.1"))
    assert words[:3] == ["python3", "-I", "-c"]
    compile(words[3], "state", "exec")
