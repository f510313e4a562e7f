"""`settings.kernel`: what the kernel is told otherwise than by the table of bastide/layout/kernel.py."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from bastide.settings.common import Area

# what /proc/sys has (linux: Documentation/admin-guide/sysctl/index.rst, and user.rst)
_FAMILIES = ("abi", "debug", "dev", "fs", "kernel", "net", "user", "vm")
_NAME = re.compile(r"[a-z]+(\.[A-Za-z0-9_/*-]+)+")
_OF_INTERFACES = re.compile(r"(net\.ipv[46]\.conf)\.([^.]+)\.([a-z0-9_]+)")


def _name(value: str) -> str:
    """As sysctl.d(5) has it: dots between the parts, a slash for a dot in an interface's name."""
    family, _, _ = value.partition(".")
    if not _NAME.fullmatch(value):
        raise ValueError("must be a name like net.ipv4.tcp_syncookies (`sysctl -a` prints them all)")
    if family not in _FAMILIES:
        raise ValueError(f"must begin with one of {', '.join(_FAMILIES)} (`sysctl -a` prints them all)")
    found = _OF_INTERFACES.fullmatch(value)
    if found and found[2] in ("all", "default"):
        raise ValueError(f"say {found[1]}.*.{found[3]}: it is for all, default and each interface")
    if "*" in value and not (found and found[2] == "*"):
        raise ValueError("may have * in the place of an interface only, like net.ipv4.conf.*.rp_filter")
    return value


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _value(value: str) -> str:
    if not re.fullmatch(r"[!-~]+( [!-~]+)*", value):
        raise ValueError("must be a number, or words on one line with single spaces between")
    return value


SysctlName = Annotated[str, AfterValidator(_name)]
SysctlValue = Annotated[
    str, BeforeValidator(_as_text), AfterValidator(_value), WithJsonSchema({"type": ["integer", "string"]})
]


class Kernel(Area):
    """Values by name. What is said here is also what is checked, and what the page says of it is what is checked."""

    sysctl: dict[SysctlName, SysctlValue] = Field(default_factory=dict)
    """Values that win over the platform's table (bastide/layout/kernel.py), by name; * stands for every interface."""
