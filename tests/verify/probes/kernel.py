"""What a kernel says of itself, what it will be told at the next boot, and what it does with modules and crashes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from bastide.layout.kernel import MODULES, NO_PROGRAMS, SYSCTL_UNIT, TMP_UNIT, path_of, wanted_at, wanted_sysctls
from bastide.settings import Settings
from tests.verify.probes.batch import command
from tests.verify.probes.scripts import script
from tests.verify.probes.world import Output

values = command(
    "kernelvalues",
    lambda world, machine: script({"paths": [*paths(world.settings)], "unit": SYSCTL_UNIT}, "kernel_seen"),
    shows="sysctl -a; /usr/lib/systemd/systemd-sysctl --cat-config",
)
modules = command(
    "kernelmodules",
    "systemd-detect-virt --container; "
    f"for name in {' '.join(MODULES)}; do echo \"= $name $(modprobe -n -v $name 2>&1 | tr '\\n' ' ')\"; done; "
    "cut -d' ' -f1 /proc/modules | sed 's/^/+ /'",
    shows=f"modprobe -n -v {MODULES[0]} (and each other); cat /proc/modules",
)
# Sessions by PAM as at a login, of somebody without rights and of root, whom `*` does not name. Begun by systemd: the
# session at hand has its limits already, and hands them on.
_LIMIT = "systemd-run -q --pipe --wait --collect su -s /bin/sh -c 'ulimit -Hc' $name"
cores = command(
    "kernelcores",
    f'for name in nobody root; do echo "= $name $({_LIMIT} 2>&1)"; done; '
    "systemd-analyze cat-config systemd/coredump.conf 2>&1 | grep -v '^#'",
    shows="su -s /bin/sh -c 'ulimit -Hc' nobody; systemd-analyze cat-config systemd/coredump.conf",
)
# a program of the system's is laid there and started; then what the next boot goes by
_TRIED = """echo "= $path $(findmnt -nro OPTIONS --mountpoint $path)"
file=$(mktemp -p $path .bastide-check.XXXXXX) && cp /bin/true $file && chmod 0755 $file
[ -s "$file" ] || echo "? $path"
if "$file" 2>/dev/null; then echo "+ $path"; fi; rm -f "$file\""""
mounts = command(
    "kernelmounts",
    f"for path in {' '.join(NO_PROGRAMS)}; do\n{_TRIED}\ndone\n"
    'echo "> /dev/shm $(findmnt -snro OPTIONS /dev/shm)"\n'
    f'echo "> /tmp $(systemctl cat {TMP_UNIT} | sed -n s/^Options=//p | tail -n 1)"\n'
    f'echo "! $(systemctl show -P UnitFileState {TMP_UNIT})"',
    shows=f"cp /bin/true /tmp/x; /tmp/x; findmnt /dev/shm /tmp; findmnt -s /dev/shm; systemctl cat {TMP_UNIT}",
)


@dataclass(frozen=True)
class Seen:
    """What `kernel_seen.py` found, by paths below /proc/sys. `next_boot`: what the files of sysctl.d(5) give then."""

    values: dict[str, str]
    missing: tuple[str, ...]
    container: bool
    next_boot: dict[str, str]
    unit: str


def seen(output: Output) -> Seen:
    """The probe's answer."""
    found: dict[str, Any] = json.loads(output.text)
    return Seen(
        found["values"],
        tuple(found["missing"]),
        found["container"] != "none",
        at_boot(found["files"], _all(found)),
        found["unit"],
    )


def paths(settings: Settings) -> dict[str, str]:
    """What is declared, by path."""
    return {path_of(name): value for name, value in wanted_sysctls(settings).items()}


def wrong_now(found: Seen, wanted: dict[str, str]) -> list[str]:
    """What the kernel says otherwise now."""
    return [
        f"{path} is {value} instead of {expected}"
        for path, value in found.values.items()
        if (expected := wanted_at(path, wanted)) not in (value, None)
    ]


def wrong_at_boot(found: Seen, wanted: dict[str, str]) -> list[str]:
    """What the files give otherwise at the next boot, or not at all."""
    # masked, or somebody else's unit in its place
    wrong = [] if found.unit == "loaded" else [f"{SYSCTL_UNIT} is {found.unit}: nothing is set at the next boot"]
    # what the kernel does not know today a newer one may know
    for path in (*found.values, *(one for one in found.missing if "*" not in one)):
        expected, will_be = wanted_at(path, wanted), found.next_boot.get(path)
        if expected not in (will_be, None):
            wrong.append(f"{path} will be {will_be or 'unset'} after a reboot instead of {expected}")
    return wrong


def at_boot(files: str, there: Iterable[str]) -> dict[str, str]:
    """What sysctl.d(5) makes of all files in their order, for these paths: the last word counts, and what
    is named itself is spared by every glob."""
    named: dict[str, str] = {}
    globs: dict[str, str] = {}
    spared: set[str] = set()
    for line in files.splitlines():
        if not line.strip() or line.lstrip()[0] in "#;":
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        path = _path(name.removeprefix("-"))
        if not equals:
            spared.add(path)
        else:
            kind = globs if any(sign in path for sign in "*?[") else named
            kind.pop(path, None)  # said again, it comes later than what was said meanwhile
            kind[path] = " ".join(value.split())
    found = {}
    for path in there:
        for pattern, value in globs.items():
            if _matches(path, pattern) and path not in spared:
                found[path] = value
        if path in named:
            found[path] = named[path]
    return found


def _all(found: dict[str, Any]) -> list[str]:
    return [*found["values"], *found["missing"]]


def _path(name: str) -> str:
    """sysctl.d(5): with a dot as the first separator dots and slashes change places."""
    first = next((sign for sign in name if sign in "./"), "/")
    return path_of(name) if first == "." else name.lstrip("/")


def _matches(path: str, pattern: str) -> bool:
    """glob(7): no sign stands for a slash."""
    parts, patterns = path.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))
