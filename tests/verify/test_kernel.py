"""What the kernel refuses: by its own word, by the files that it will be told from, and by what it does when asked."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from bastide.layout.kernel import (
    MODULES,
    MOUNT_OPTIONS,
    NO_PROGRAMS,
    TMP_UNIT,
    path_of,
    per_machine,
    wanted_at,
    wanted_sysctls,
)
from bastide.settings import Settings
from tests.verify.evidence_plugin import not_provable_here
from tests.verify.findings import judge
from tests.verify.probes import kernel
from tests.verify.probes.kernel import Seen
from tests.verify.probes.world import Observation

_IPV6 = "net/ipv6/"


@pytest.mark.control("kernel-01")
@pytest.mark.probe(kernel.values)
def test_network_values_are_in_force(observation: Observation, settings: Settings, note: Callable[[str], None]) -> None:
    """The kernel itself names the declared values, for all, default and each interface."""
    # of a machine without IPv6 (ipv6.disable=1): where there is none, nothing is taken
    _judge_now(observation, _part(settings, of_machine=True), note, may_miss=_IPV6)


@pytest.mark.control("kernel-01")
@pytest.mark.probe(kernel.values)
def test_network_values_come_back(observation: Observation, settings: Settings, note: Callable[[str], None]) -> None:
    """What is read at boot, all files in their order, gives the same."""
    _judge_at_boot(observation, _part(settings, of_machine=True), note)


@pytest.mark.control("kernel-02")
@pytest.mark.probe(kernel.values)
def test_other_values_are_in_force(observation: Observation, settings: Settings, note: Callable[[str], None]) -> None:
    """The kernel itself names the declared values."""
    if kernel.seen(observation.data).container:
        not_provable_here("the machine is a container: these values are of the kernel of the machine that it runs on")
    _judge_now(observation, _part(settings, of_machine=False), note)


@pytest.mark.control("kernel-02")
@pytest.mark.probe(kernel.values)
def test_other_values_come_back(observation: Observation, settings: Settings, note: Callable[[str], None]) -> None:
    """What is read at boot, all files in their order, gives the same."""
    _judge_at_boot(observation, _part(settings, of_machine=False), note)


@pytest.mark.control("kernel-03")
@pytest.mark.probe(kernel.modules)
def test_modules_are_refused(observation: Observation, note: Callable[[str], None]) -> None:
    """Asked for each of them, modprobe would run /bin/false; none is loaded."""
    container, *lines = observation.data.text.splitlines()
    answers = dict(line[2:].partition(" ")[::2] for line in lines if line.startswith("= "))
    wrong = [
        f"modprobe would answer {name} with: {said or 'nothing'}"
        for name in MODULES
        if (said := answers.get(name, "").strip()) != "install /bin/false"
    ]
    note(f"{len(answers) - len(wrong)} of {len(MODULES)} answered by /bin/false")
    if container == "none":
        # modprobe(8) takes - and _ for the same
        loaded = {line[2:].replace("_", "-") for line in lines if line.startswith("+ ")}
        wrong += [f"{name} is loaded" for name in MODULES if name.replace("_", "-") in loaded]
        note(f"{len(loaded)} modules are loaded")
    judge(wrong)


@pytest.mark.control("kernel-04")
@pytest.mark.probe(kernel.cores)
def test_no_core_dump_is_kept(observation: Observation, note: Callable[[str], None]) -> None:
    """A session may write no core dump and cannot raise that limit; systemd-coredump would store none."""
    limits = dict(re.findall(r"^= (\S+) (.*)$", observation.data.text, re.MULTILINE))
    note(", ".join(f"{name}: at most {limit} blocks" for name, limit in limits.items()))
    wrong = [f"a process of {name} may leave {limit or '?'} blocks" for name, limit in limits.items() if limit != "0"]
    wrong += [] if len(limits) == 2 else ["not every session was looked at"]
    kept = dict(re.findall(r"^(Storage|ProcessSizeMax)=(.*)$", observation.data.text, re.MULTILINE))
    note(", ".join(f"{key}={value}" for key, value in kept.items()))
    if kept.get("Storage") != "none":
        wrong.append(f"systemd-coredump would store: {kept.get('Storage', 'external')}")
    judge(wrong)


@pytest.mark.control("kernel-05")
@pytest.mark.probe(kernel.mounts)
def test_nothing_runs_there(observation: Observation, note: Callable[[str], None]) -> None:
    """A program that is laid there does not start, and another one's rights or a device would not count there."""
    lines = observation.data.text.splitlines()
    wrong = [f"a program runs from {line[2:]}" for line in lines if line.startswith("+ ")]
    wrong += [f"no program could be laid into {line[2:]}" for line in lines if line.startswith("? ")]
    judge([*wrong, *_without(lines, "= ", "is mounted", note)])


@pytest.mark.control("kernel-05")
@pytest.mark.probe(kernel.mounts)
def test_nothing_runs_there_after_a_reboot(observation: Observation, note: Callable[[str], None]) -> None:
    """/etc/fstab and systemd's unit give the same options at the next boot."""
    lines = observation.data.text.splitlines()
    states = [line[2:] for line in lines if line.startswith("! ")]
    wrong = [] if states == ["static"] else [f"{TMP_UNIT} is {', '.join(states) or 'not there'}"]
    judge([*wrong, *_without(lines, "> ", "will be mounted", note)])


def _part(settings: Settings, *, of_machine: bool) -> dict[str, str]:
    chosen = {name: value for name, value in wanted_sysctls(settings).items() if per_machine(name) == of_machine}
    return {path_of(name): value for name, value in chosen.items()}


def _said(seen: Seen, wanted: dict[str, str]) -> str:
    looked = sum(wanted_at(path, wanted) is not None for path in seen.values)
    return f"{looked} values of {len(wanted)} settings"


def _judge_now(
    observation: Observation, wanted: dict[str, str], note: Callable[[str], None], may_miss: str | None = None
) -> None:
    """`may_miss`: the beginning of paths that a kernel may lack."""
    seen = kernel.seen(observation.data)
    note(_said(seen, wanted))
    known = [path for path in seen.missing if path in wanted and not (may_miss and path.startswith(may_miss))]
    judge([*kernel.wrong_now(seen, wanted), *(f"there is no {path}" for path in known)])


def _judge_at_boot(observation: Observation, wanted: dict[str, str], note: Callable[[str], None]) -> None:
    seen = kernel.seen(observation.data)
    note(_said(seen, wanted))
    judge(kernel.wrong_at_boot(seen, wanted))


def _without(lines: list[str], mark: str, verb: str, note: Callable[[str], None]) -> list[str]:
    """What is mounted there without one of the options."""
    found = dict(line[2:].partition(" ")[::2] for line in lines if line.startswith(mark))
    note("; ".join(f"{path} {options}" for path, options in found.items()))
    return [
        f"{path} {verb} without {option}"
        for path in NO_PROGRAMS
        for option in MOUNT_OPTIONS
        if option not in found.get(path, "").split(",")
    ]
