"""The checks' own tools: what rules let in, what an outcome is worth, and that this machine is never the one judged."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from bastide.console import run
from tests.verify import nft
from tests.verify.evidence_plugin import BROKEN, _verdict
from tests.verify.inside import effective
from tests.verify.world import NotSeen, Output

ROOT = Path(__file__).parents[2]


def _ruleset(*rules: list[dict[str, Any]], family: str = "inet", policy: str = "drop", hook: str = "input") -> str:
    chain = {"family": family, "table": "t", "name": "c", "hook": hook, "policy": policy, "type": "filter", "prio": 0}
    items = [{"rule": {"family": family, "table": "t", "chain": "c", "expr": rule}} for rule in rules]
    return json.dumps({"nftables": [{"metainfo": {}}, {"chain": chain}, *items]})


def _match(left: dict[str, Any], right: object) -> dict[str, Any]:
    return {"match": {"op": "==", "left": left, "right": right}}


ACCEPT: dict[str, Any] = {"accept": None}
DROP: dict[str, Any] = {"drop": None}
LOOPBACK = [_match({"meta": {"key": "iif"}}, "lo"), ACCEPT]
SSH = [_match({"payload": {"protocol": "tcp", "field": "dport"}}, 22), ACCEPT]
ALL_SIX = [_match({"meta": {"key": "nfproto"}}, "ipv6"), ACCEPT]
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
        (ANYWHERE, True, True),
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
