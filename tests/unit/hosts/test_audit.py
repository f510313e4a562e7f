"""What auditors said on machines, read and judged: scores against goals, findings against their reasons."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bastide.console import Completed
from bastide.errors import BastideError
from bastide.findings import Finding
from bastide.layout.sandbox import ETCD
from bastide.lynis import FINDINGS, GOAL, STOCK
from bastide.settings import Settings
from hosts.commands import audit as command
from hosts.commands.auditing import ask, result
from hosts.commands.auditing.ask import Audit
from hosts.commands.auditing.lynis import CONTAINER, Suggestion, lynis_from
from hosts.commands.auditing.plot import write_plots
from tests.unit.deploys.box import SETTINGS as PLAIN

SETTINGS = Settings.model_validate(
    {**PLAIN.model_dump(), "postgres": {"databases": {"app": {"roles": {"app_owner": "owner"}}}}}
)
REPORT = (Path(__file__).parent / "data/lynis-report.dat").read_text()
"""Of a deployed standby of the local cloud, shortened to the lines that say something."""
CLEAN = Audit("standby", replace(lynis_from(REPORT), index=GOAL, suggestions=()), {ETCD.unit: 1.9}, ())


def said(found: Audit, level: str = "missing") -> list[Finding]:
    return [line for line in result.lines(found, SETTINGS) if line.level == level]


def test_a_report_has_its_index_and_each_suggestion_once() -> None:
    report = lynis_from(REPORT)
    assert report.version == "3.1.4"
    assert report.index > STOCK.lynis
    findings = [one.finding for one in report.suggestions]
    assert len(set(report.suggestions)) == len(findings)
    assert "SSH-7408:MaxSessions" in findings
    assert "SSH-7408" not in findings, "there are details, and they are what counts"
    assert "LOGG-2154" in findings


def test_what_a_containers_host_answers_for_is_named_apart() -> None:
    values = "".join(
        f"details[]=KRNL-6000|sysctl|desc:sysctl key {key};field:{key};prefval:1;value:0;|\n"
        for key in ("kernel.sysrq", "net.ipv4.conf.all.rp_filter")
    )
    report = lynis_from(REPORT + values)
    assert report.hosts == ("KRNL-6000:kernel.sysrq",)
    assert "KRNL-6000:net.ipv4.conf.all.rp_filter" in {one.finding for one in report.suggestions}
    server = lynis_from(REPORT + values + f"{CONTAINER}=none\n")
    assert "KRNL-6000:kernel.sysrq" in {one.finding for one in server.suggestions}
    assert server.hosts == ()


def test_a_report_that_ended_early_is_none() -> None:
    with pytest.raises(BastideError, match="ended early"):
        lynis_from("lynis_version=3.1.4\nhardening_index=\n")


def test_a_machine_within_its_goals_has_no_next_step() -> None:
    assert said(CLEAN) == []
    assert any("stock 9.2, at most 2.5" in line.what for line in said(CLEAN, "ok"))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"lynis": replace(CLEAN.lynis, index=GOAL - 1)}, f"{GOAL - 1} of 100 (stock {STOCK.lynis}, goal {GOAL})"),
        ({"lynis": replace(CLEAN.lynis, suggestions=(Suggestion("NEWS-0001", "Be new"),))}, "NEWS-0001: Be new"),
        ({"exposure": {ETCD.unit: 9.2}}, "etcd.service is exposed by 9.2 of 10 (stock 9.2, at most 2.5)"),
        ({"changed": ("/usr/bin/sudo",)}, "/usr/bin/sudo"),
    ],
)
def test_what_is_not_well_ends_with_a_next_step(change: dict[str, Any], line: str) -> None:
    (found,) = said(replace(CLEAN, **change))
    assert line in found.what
    assert found.next


def test_what_has_a_reason_is_counted_and_no_more() -> None:
    excused = tuple(Suggestion(one.rules[0], "...") for one in FINDINGS)
    found = replace(CLEAN, lynis=replace(CLEAN.lynis, suggestions=excused))
    assert said(found) == []
    assert any(f"{len(FINDINGS)} suggestions with a reason" in line.what for line in said(found, "note"))


def test_a_unit_without_a_limit_is_named_with_the_reason_where_there_is_one() -> None:
    lines = [line.what for line in said(replace(CLEAN, exposure={"ssh.service": 9.6, "smartd.service": 9.5}), "note")]
    assert any("ssh.service is exposed by 9.6 of 10: it starts people's sessions" in line for line in lines)
    assert any("without a limit: smartd.service 9.5" in line for line in lines)


def test_plots_are_plain_pictures(tmp_path: Path) -> None:
    for path in write_plots([CLEAN], SETTINGS, tmp_path):
        text = path.read_text()
        assert "<svg" in text
        assert "<script" not in text
        assert "stock Debian 13" in text


def test_a_machine_without_lists_of_packages_says_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = Completed(100, "", "E: Unable to locate package lynis\n")
    monkeypatch.setattr(ask, "run", lambda *words, **options: failed)
    with pytest.raises(BastideError, match="Unable to locate") as raised:
        ask.audit("standby", Path("ssh_config"), Path())
    assert "apt-get update" in raised.value.hint


def test_one_silent_machine_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "build/unit").mkdir(parents=True)
    monkeypatch.setattr(command, "load_inventory", lambda path: [CLEAN, replace(CLEAN, name="primary")])
    monkeypatch.setattr(command, "read", lambda path: SETTINGS)
    monkeypatch.setattr(command, "write_ssh_config", lambda inventory, root: tmp_path / "ssh_config")

    def answer(name: str, config: Path, root: Path) -> Audit:
        if name == "primary":
            raise BastideError("Lynis did not answer on primary", "look")
        return CLEAN

    monkeypatch.setattr(command, "audit", answer)
    with pytest.raises(BastideError, match="did not answer on primary"):
        command.show_audit("unit", tmp_path)
    assert f"standby: Lynis 3.1.4: {GOAL} of 100" in capsys.readouterr().out
    assert (tmp_path / "build/unit/audit.json").exists()
    assert command.show_audit("unit", tmp_path, "standby") == command.WELL
