"""The page of what auditors say is fresh, and nothing is both done and excused."""

from __future__ import annotations

from pathlib import Path

from bastide.auditors import DEVIATIONS, auditors_page
from bastide.layout.kernel import SYSCTLS

PAGE = Path(__file__).parents[3] / "docs/reference/auditors.md"


def test_the_page_is_fresh() -> None:
    assert PAGE.read_text() == auditors_page(), "run `python -m bastide reference`"


def test_a_rule_is_excused_once_with_a_reason() -> None:
    rules = [rule for one in DEVIATIONS for rule in one.rules]
    assert len(set(rules)) == len(rules)
    assert all(one.reason.endswith(".") for one in DEVIATIONS)


def test_what_is_excused_is_not_done_and_the_other_way_round() -> None:
    """A value that auditors want otherwise is set otherwise, or not at all."""
    wanted = {"net.ipv4.conf.*.arp_ignore": "2", "kernel.perf_event_paranoid": "2", "kernel.pid_max": "65536"}
    told = {one.name: one.value for one in SYSCTLS}
    assert {name: told[name] for name in wanted.keys() & told} == {"kernel.perf_event_paranoid": "3"}
    excused = {rule.removeprefix("sysctl_") for one in DEVIATIONS for rule in one.rules if rule.startswith("sysctl_")}
    assert excused == {name.replace("*", "all").replace(".", "_") for name in wanted}
