"""What the kernel is told: what counts as drift, what a container cannot set, and the way back."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bastide.settings import Settings
from deploys import kernel
from deploys.facts.fact import Facts
from deploys.remote import sysctls as setting
from deploys.remote.facts import common
from deploys.remote.facts import sysctls as facts
from tests.unit.deploys.box import SETTINGS, here

CONF = "net/ipv4/conf"
WANTED = kernel.Wanted({"net.ipv4.conf.*.rp_filter": "1", "net.ipv4.conf.eth1.rp_filter": "2", "kernel.sysrq": "0"})


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """/proc/sys of a machine with two interfaces, of which kernel.* is another one's."""
    monkeypatch.setattr(common, "ROOT", tmp_path)
    values = {f"{CONF}/{name}/rp_filter": "0" for name in ("all", "default", "eth0", "eth1")}
    for path, value in {**values, "kernel/sysrq": "438", "net/ipv4/ip_local_port_range": "32768\t60999"}.items():
        file = tmp_path / "proc/sys" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")
    real = os.statvfs
    monkeypatch.setattr(
        os,
        "statvfs",
        lambda path: SimpleNamespace(f_flag=os.ST_RDONLY) if "kernel/" in str(path) else real(path),
    )
    return tmp_path / "proc/sys"


def now(proc: Path) -> dict[str, str]:
    return {str(file.relative_to(proc)): file.read_text().strip() for file in proc.rglob("*") if file.is_file()}


def asked() -> Facts:
    return Facts(json.loads(json.dumps({"sysctls": facts.sysctls(list(WANTED.paths))})))


def test_what_differs_is_drift_and_what_is_the_hosts_is_not(proc: Path) -> None:
    assert kernel.drift(WANTED, asked()) == (
        f"{CONF}/all/rp_filter is 0, {CONF}/default/rp_filter is 0, {CONF}/eth0/rp_filter is 0 and 1 more"
    )
    assert kernel.not_here(asked()) == ["kernel/sysrq"]
    setting.settle(WANTED.paths, "/none/before.json")
    assert kernel.drift(WANTED, asked()) == ""


def test_values_are_set_where_they_can_be_and_an_interface_by_its_own_name(proc: Path, tmp_path: Path) -> None:
    (tmp_path / "guard").mkdir()
    before = now(proc)
    setting.settle({**WANTED.paths, "net/ipv4/ip_local_port_range": "32768 65535", "net/no/such": "1"}, "/guard/b")
    assert now(proc) == {
        **{f"{CONF}/{name}/rp_filter": "1" for name in ("all", "default", "eth0")},
        f"{CONF}/eth1/rp_filter": "2",
        "kernel/sysrq": "438",
        "net/ipv4/ip_local_port_range": "32768 65535",
    }
    # the change was not confirmed: the same call puts back what was
    setting.settle({**WANTED.paths, "net/ipv4/ip_local_port_range": "32768 65535"}, "/guard/b")
    assert now(proc) == {**before, "net/ipv4/ip_local_port_range": "32768 60999"}


def test_what_the_kernel_refuses_is_an_error_with_its_name(
    proc: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write = Path.write_text

    def refuse(path: Path, text: str) -> Any:
        if path.match("eth1/rp_filter"):
            raise PermissionError(1, "Operation not permitted")
        return write(path, text)

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(SystemExit):
        setting.settle(WANTED.paths, "/none/before.json")
    assert f"{CONF}/eth1/rp_filter stays 0 (Operation not permitted)" in capsys.readouterr().err


def test_advertised_ways_out_are_found(proc: Path) -> None:
    table = proc.parent / "net/ipv6_route"
    table.parent.mkdir()
    zero = "0" * 32
    ends = f"{zero} 00 fe80{'0' * 27}1 00000400 00000001 00000000"
    table.write_text(
        f"{zero} 00 {ends} 00450003     eth0\n"  # of an advertisement
        f"{zero} 00 {ends} 00000003     eth1\n"  # given
        f"20010db8{'0' * 24} 40 {ends} 00440001     eth2\n"  # no way out
    )
    assert facts.advertised(None) == ["eth0"]


def test_a_machine_that_would_lose_ipv6_is_refused_unless_the_stack_file_says_so() -> None:
    seen = Facts({"advertised": ["eth0"]})
    ((what, next_step),) = kernel.problems(seen, SETTINGS)
    assert "(eth0)" in what
    assert "net.ipv6.conf.eth0.accept_ra: 1" in next_step
    for name in ("net.ipv6.conf.*.accept_ra", "net.ipv6.conf.eth0.accept_ra"):
        allowed = Settings.model_validate({**SETTINGS.model_dump(), "kernel": {"sysctl": {name: 1}}})
        assert list(kernel.problems(seen, allowed)) == []
    assert list(kernel.problems(Facts({}), SETTINGS)) == []


def test_what_the_stack_file_says_wins() -> None:
    said = {"net.ipv4.conf.*.rp_filter": 2, "vm.swappiness": 10}
    settings = Settings.model_validate({**SETTINGS.model_dump(), "kernel": {"sysctl": said}})
    text = str(kernel.wanted_of(here(settings=settings)).file.content)
    assert "net.ipv4.conf.all.rp_filter = 2\n" in text
    assert "net.ipv4.conf.*.rp_filter = 2\n" in text
    assert "vm.swappiness = 10\n" in text
    assert ".rp_filter = 1" not in text


def test_the_way_back_is_in_the_folder_of_the_change() -> None:
    line = kernel.settle(replace(WANTED))
    assert line.startswith("python3 -I -S - <<'END_OF_SCRIPT'\n")
    assert line.endswith("\nEND_OF_SCRIPT\n")
    assert "/var/lib/bastide/guard/kernel/before.json" in line
