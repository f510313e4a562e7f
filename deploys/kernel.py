"""What the kernel refuses: by values of /proc/sys, modules that it does not load, memory of what crashed, and programs
in folders that everybody may write to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from pyinfra.api.deploy import deploy

from bastide.layout.kernel import (
    COREDUMP_FILE,
    LIMITS_FILE,
    MODPROBE_FILE,
    MODULES,
    MOUNT_OPTIONS,
    NO_PROGRAMS,
    SYSCTL_FILE,
    TMP_FILE,
    TMP_UNIT,
    path_of,
    wanted_at,
    wanted_sysctls,
)
from bastide.settings import Settings
from deploys import remote
from deploys.facts.ask import ask, this_host
from deploys.facts.fact import FactRequest, Facts, merged
from deploys.facts.files import FILES
from deploys.facts.sysctls import ADVERTISED, SYSCTLS
from deploys.facts.volumes import MOUNTS
from deploys.here import Here
from deploys.operations.confirmed import confirmed
from deploys.operations.files import File, as_wanted, files, files_request
from deploys.operations.mounts import api_mount, has_options, mount_request
from deploys.operations.packages import packages, packages_request
from deploys.render import render

PACKAGES = ("kmod",)  # modprobe, which a container comes without: that it refuses is seen there, too
_SHM, _TMP = NO_PROGRAMS
_NAME = "kernel"
# a unit that has been reloaded is mounted anew with its options (systemd.mount(5)); what is open there stays open
_TMP_SETTLE = f"systemctl daemon-reload && {{ ! mountpoint -q {_TMP} || systemctl reload {TMP_UNIT}; }}"
# where it lies as long as a change is not confirmed (deploys/remote/change.py)
_MEMORY = f"/var/lib/bastide/guard/{_NAME}/before.json"


@dataclass(frozen=True)
class Wanted:
    """All values by name, in the order in which they are set."""

    sysctls: dict[str, str]

    @property
    def paths(self) -> dict[str, str]:
        """The same by path below /proc/sys."""
        return {path_of(name): value for name, value in self.sysctls.items()}

    @cached_property
    def file(self) -> File:
        """What says them at boot: sysctl.d(5)."""
        values = [(one, value) for name, value in self.sysctls.items() for one in _each(name)]
        return File(SYSCTL_FILE, render("kernel/zz-bastide.conf.j2", values=values))


@deploy("kernel")
def kernel(wanted: Wanted) -> None:
    """Tell the kernel, now and at each boot. Some values decide which packets arrive (rp_filter): they stay only if a
    new login works, and what the kernel had before comes back otherwise."""
    host = this_host()
    packages(name="packages", names=PACKAGES)
    facts = ask(host, SYSCTLS.request(list(wanted.paths)), files_request((wanted.file,)))
    if not as_wanted(wanted.file, facts[FILES][SYSCTL_FILE]) and (left := not_here(facts)):
        host.log(f"kernel: {len(left)} values are not this machine's to set, but its host's or nobody's: {_some(left)}")
    confirmed(
        name="values",
        name_=_NAME,
        wanted=(wanted.file,),
        settle=settle(wanted),
        port=None,
        drift=drift(wanted, facts),
    )
    files(name="modules that are not loaded", name_="modules", wanted=(modprobe_file(),))
    files(name="no memory of crashed processes", name_="cores", wanted=core_files())
    api_mount(name=f"nothing runs from {_SHM}", path=_SHM, options=MOUNT_OPTIONS)
    mounts = ask(host, MOUNTS.request([_TMP]))
    if mounts[MOUNTS][_TMP] is None:
        host.log(
            f"kernel: {_TMP} is no file system of its own: programs run from there until `systemctl unmask"
            f" {TMP_UNIT}` and a reboot"
        )
    files(
        name=f"nothing runs from {_TMP}",
        name_="tmp",
        wanted=tmp_files(),
        settle=_TMP_SETTLE,
        drift="" if mounts[MOUNTS][_TMP] is None or has_options(mounts, _TMP, MOUNT_OPTIONS) else "programs run there",
    )


def wanted_of(here: Here) -> Wanted:
    """What it wants of the stack."""
    return Wanted(wanted_sysctls(here.settings))


def fact_request(wanted: Wanted) -> FactRequest:
    """All that this capability will ask a machine."""
    return merged(
        packages_request(PACKAGES),
        files_request((wanted.file, modprobe_file(), *core_files(), *tmp_files())),
        mount_request(_SHM),
        MOUNTS.request([_TMP]),
        SYSCTLS.request(list(wanted.paths)),
        ADVERTISED.request(None),
    )


def problems(facts: Facts, settings: Settings) -> Iterator[tuple[str, str]]:
    """What forbids a deploy: a machine that would lose its way out by IPv6 when no advertisement is taken any more."""
    wanted = Wanted(wanted_sysctls(settings)).paths
    for interface in facts.get(ADVERTISED) or ():
        if wanted_at(f"net/ipv6/conf/{interface}/accept_ra", wanted) == "0":
            yield (
                f"its kernel has its way out by IPv6 from a router's advertisements ({interface}), which are not taken "
                "any more after this",
                "give it a static address and route there, or say "
                f"net.ipv6.conf.{interface.replace('.', '/')}.accept_ra: 1 in settings.kernel.sysctl",
            )


def drift(wanted: Wanted, facts: Facts) -> str:
    """Which values are not in force although the file may say so; "" for none."""
    paths = wanted.paths
    others = {
        f"{path} is {value}"
        for name in paths
        for path, value in facts[SYSCTLS][name]["values"].items()
        if facts[SYSCTLS][name]["settable"] and wanted_at(path, paths) not in (value, None)
    }
    return _some(sorted(others))


def not_here(facts: Facts) -> list[str]:
    """Values that this machine cannot set: its host does, or the kernel knows no such thing."""
    return sorted(path for path, state in facts[SYSCTLS].items() if not state["settable"])


def settle(wanted: Wanted) -> str:
    """The shell line that has the kernel take them; when it is taken back, the same line restores what was before."""
    script = remote.call("sysctls", "settle", wanted.paths, _MEMORY)[:]  # as it is: nothing in it is secret
    return f"{remote.COMMAND} <<'END_OF_SCRIPT'\n{script}END_OF_SCRIPT\n"


def modprobe_file() -> File:
    """modprobe.d(5)."""
    return File(MODPROBE_FILE, render("kernel/modprobe.conf.j2", modules=MODULES))


def core_files() -> tuple[File, ...]:
    """limits.conf(5) for whoever logs in, coredump.conf(5) for what is installed one day."""
    return (
        File(LIMITS_FILE, render("kernel/limits.conf.j2")),
        File(COREDUMP_FILE, render("kernel/coredump.conf.j2")),
    )


def tmp_files() -> tuple[File, ...]:
    """systemd's own mount with one option more, and apt's programs elsewhere."""
    return (
        File(TMP_FILE, render("kernel/tmp.mount.conf.j2")),
        File("/etc/apt/apt.conf.d/60bastide-tmp", render("kernel/apt.conf.j2")),
    )


def _each(name: str) -> list[str]:
    """A name with `*` is of all, default and each interface."""
    return [name.replace("*", "all"), name.replace("*", "default"), name] if "*" in name else [name]


def _some(words: list[str]) -> str:
    more = f" and {len(words) - 3} more" if len(words) > 3 else ""
    return f"{', '.join(words[:3])}{more}"
