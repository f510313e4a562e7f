"""How file systems are mounted that are there by themselves: options beside those of the system."""

from __future__ import annotations

import shlex

from pyinfra.api.operation import operation

from deploys.facts.ask import ask, forget, this_host
from deploys.facts.fact import FactRequest, Facts, merged
from deploys.facts.volumes import FSTAB, MOUNTS
from deploys.operations.files import Commands


@operation()
def api_mount(path: str, options: tuple[str, ...]) -> Commands:
    """Have a file system that systemd mounts by itself (/dev/shm) carry these options, now and at each boot.

    + path: where it is mounted
    + options: mount(8), each the one that takes something away (noexec); others that it has stay

    No unit can be had for it: its line in /etc/fstab is what systemd-remount-fs.service(8) goes by. No other line there
    is changed, and of this one only what is missing.
    """
    host = this_host()
    facts = ask(host, mount_request(path))
    line = fstab_line(path, options, facts[FSTAB][path])
    if facts[FSTAB][path] == line and has_options(facts, path, options):
        host.noop(f"{path} is mounted with {','.join(options)}")
        return
    fresh = "/etc/fstab.bastide-new"
    others = f"awk '$1 ~ /^#/ || $2 != \"{path}\"' /etc/fstab 2>/dev/null"
    try:
        yield (
            f"{{ {others}; echo {shlex.quote(line)}; }} >{fresh} && chmod 0644 {fresh} && mv -f {fresh} /etc/fstab"
            f" && systemctl daemon-reload && mount -o remount,{','.join(options)} {path}"
        )
    finally:
        forget(host)


def mount_request(path: str) -> FactRequest:
    """What the operation asks."""
    return merged(MOUNTS.request([path]), FSTAB.request([path]))


def has_options(facts: Facts, path: str, options: tuple[str, ...]) -> bool:
    """Whether it is mounted with all of them now."""
    mount = facts[MOUNTS][path]
    return mount is not None and set(options) <= set(mount["options"])


def fstab_line(path: str, options: tuple[str, ...], before: str) -> str:
    """The line as it shall be; `before` is the one that is there, or ""."""
    if not before:
        return f"tmpfs {path} tmpfs {','.join(('rw', *options))} 0 0"
    words = before.split()
    opposite = {option.removeprefix("no") for option in options}
    kept = [option for option in words[3].split(",") if option not in opposite]
    return " ".join([*words[:3], ",".join(dict.fromkeys([*kept, *options])), *words[4:]])
