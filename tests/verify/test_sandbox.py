"""What services may do: asked of the kernel for each of their processes, and of systemd for each of their units."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest

from bastide.controls import count
from bastide.layout.sandbox import AS_SHIPPED, OTHER, Sandbox, sandboxes
from bastide.machines import Machine
from bastide.settings import Settings
from tests.verify.findings import judge
from tests.verify.probes import sandbox
from tests.verify.probes.world import Observation

Note = Callable[[str], None]

# linux/capability.h, of those that a table here names
BITS = {"CAP_DAC_READ_SEARCH": 2, "CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}
_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
_FILTERED = "2"  # SECCOMP_MODE_FILTER, proc_pid_status(5)
# what no service of ours has a use for: whoever may do it changes the machine, or other programs while they run
_CHANGES_THE_MACHINE = (
    *("mount", "umount2", "pivot_root", "chroot", "init_module", "finit_module", "delete_module", "kexec_load"),
    *("reboot", "swapon", "settimeofday", "clock_settime", "ptrace", "bpf", "perf_event_open"),
)
# systemd.exec(5): PrivateTmp=; PrivateDevices=, whose folder is read-only itself; ProtectSystem=strict leaves /proc and
# /sys, of which the ProtectKernel...= and ProtectControlGroups= take what changes the machine. The watchdog is a
# device, which Patroni has where the machine has it
_OWN = ("/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/dev/pts", "/dev/hugepages", "/dev/watchdog")
_KERNELS = ("/proc",)
# systemd.resource-control(5), MemoryPressureWatch=: a service is told of it by a file of the kernel's
_PRESSURE = "/memory.pressure"


@pytest.mark.control("sandbox-01")
@pytest.mark.probe(sandbox.services)
def test_no_process_holds_more_than_it_may(
    observation: Observation, settings: Settings, machine: Machine, note: Note
) -> None:
    """Each process of each service: its account, root's rights in every set of them, no new ones, filtered calls."""
    wrong, seen = list[str](), 0
    for one, found in _running(observation, settings, machine):
        seen += len(found["processes"])
        wrong += [f"{one.unit}: {text}" for process in found["processes"] for text in too_much(one, process)]
        wrong += [f"{one.unit} may call {name}" for name in calls(found["calls"])]
        if not found["processes"]:
            wrong.append(f"{one.unit} does not run")
    judge(wrong)
    note(count(seen, "process", "processes"))


@pytest.mark.control("sandbox-02")
@pytest.mark.probe(sandbox.services)
def test_no_process_can_write_elsewhere(
    observation: Observation, settings: Settings, machine: Machine, note: Note
) -> None:
    """Each file system that a process of a service can come into is read-only, but for those that it may write."""
    wrong, seen = list[str](), 0
    for one, found in _running(observation, settings, machine):
        may = (*one.writes, *_OWN)
        for process in found["processes"]:
            seen += 1
            seen_writable = (path for path in process["writable"] if not path.endswith(f"/{one.unit}{_PRESSURE}"))
            others = [path for path in seen_writable if path not in _KERNELS and not below(path, may)]
            if others:
                wrong.append(f"{one.unit}: {process['name']} can write to {', '.join(others)}")
    assert seen, "no service runs"
    judge(wrong)
    note(count(seen, "process", "processes"))


@pytest.mark.control("sandbox-03")
@pytest.mark.probe(sandbox.services)
def test_exposure_is_within_limits(observation: Observation, settings: Settings, machine: Machine, note: Note) -> None:
    """What systemd-analyze says of each unit as systemd has read it, drop-ins of others included."""
    wrong, said = list[str](), list[str]()
    for one, found in _seen(observation, settings, machine):
        wrong += too_open(one.unit, found, one.exposure)
        said.append(f"{one.unit.removesuffix('.service')} {found['exposure']}")
    for unit in AS_SHIPPED:
        found = json.loads(observation.data.text)[unit]
        if found["load"] == "loaded":
            wrong += too_open(unit, found, OTHER)
    judge(wrong)
    note(", ".join(said))


def too_open(unit: str, found: dict[str, Any], most: float) -> list[str]:
    """What is wrong with what systemd says of a unit."""
    if found["load"] != "loaded":
        return [f"{unit} is {found['load'] or 'unknown'}"]
    if not found["exposure"]:
        return [f"systemd does not say how exposed {unit} is"]
    if float(found["exposure"]) > most:
        return [f"{unit} has {found['exposure']} points, at most {most:g} are allowed"]
    return []


def _seen(observation: Observation, settings: Settings, machine: Machine) -> Iterator[tuple[Sandbox, dict[str, Any]]]:
    assert observation.data.text.startswith("{"), "the services could not be looked at"
    found = json.loads(observation.data.text)
    for one in sandboxes(settings, machine.name):
        yield one, found[one.unit]


def _running(
    observation: Observation, settings: Settings, machine: Machine
) -> Iterator[tuple[Sandbox, dict[str, Any]]]:
    return ((one, found) for one, found in _seen(observation, settings, machine) if one.runs)


def too_much(one: Sandbox, process: dict[str, str]) -> Iterator[str]:
    """What a process has that it may not have."""
    may = sum(1 << BITS[name] for name in one.capabilities)
    for name in _SETS:
        if more := int(process[name], 16) & ~may:
            yield f"{process['name']} has {more.bit_count()} of root's rights too many ({name})"
    if process["NoNewPrivs"] != "1":
        yield f"{process['name']} can gain new rights"
    if process["Seccomp"] != _FILTERED:
        yield f"{process['name']} may make any system call"
    if (process["Uid"] == "0") != (one.account == "root"):
        yield f"{process['name']} runs as another account than {one.account}"


def calls(said: str) -> list[str]:
    """Those that change the machine, of what systemd lets a service call: all where it says nothing, or what not."""
    listed = set(said.split())
    refused = (
        {name.removeprefix("~") for name in listed} if said.startswith("~") else set(_CHANGES_THE_MACHINE) - listed
    )
    return [name for name in _CHANGES_THE_MACHINE if name not in refused or not listed]


def below(path: str, folders: tuple[str, ...]) -> bool:
    """Whether a path is one of the folders or lies in one."""
    return any(PurePosixPath(path).is_relative_to(folder) for folder in folders)
