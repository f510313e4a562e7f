"""The one registry of capabilities: the word that names each everywhere, its heading, and its place on the page.

The word is `settings.<word>`, `bastide/controls/<word>.py`, `bastide/layout/<word>.py`, `deploys/<word>` or
`stacks/<word>.py`, `templates/<word>/`, `tests/verify/test_<word>.py` and `tests/rehearsal/sabotages/<word>.py`.
Whatever lists capabilities takes them from here; a test finds files without a word, and words without their files.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Literal

Where = Literal["machines", "provider"]


@dataclass(frozen=True)
class Capability:
    """One thing that the platform does. `made`: where (a deploy changes machines, a component asks the provider).

    `settings`: whether the stack file has a section of its own for it.
    """

    word: str
    heading: str
    made: Where
    settings: bool = True


# in the order of the page: what a customer asks first
CAPABILITIES: tuple[Capability, ...] = (
    # where servers stand is what the section `servers` says
    Capability("site", "Where the servers stand", "provider", settings=False),
    Capability("users", "Who can log in", "machines"),
    Capability("ssh", "How they log in", "machines"),
    Capability("accounts", "What accounts may do", "machines"),
    Capability("firewall", "What can be reached", "machines"),
    Capability("fail2ban", "Who is turned away", "machines"),
    Capability("kernel", "What the kernel refuses", "machines"),
    Capability("wireguard", "How the servers talk to each other", "machines"),
    Capability("etcd", "Who decides which database leads", "machines"),
    Capability("postgres", "How the databases are kept", "machines"),
    Capability("dns", "Which names lead here", "provider"),
    Capability("updates", "How the machines are kept up to date", "machines"),
    # what a service may is no setting
    Capability("sandbox", "What a service may do", "machines", settings=False),
    Capability("alerts", "Who hears of what goes wrong", "machines"),
    Capability("base", "How the machines are kept", "machines"),
    Capability("storage", "What is kept outside of them", "provider"),
)

WORDS: tuple[str, ...] = tuple(one.word for one in CAPABILITIES)
ON_MACHINES: tuple[str, ...] = tuple(one.word for one in CAPABILITIES if one.made == "machines")
"""Those that `deploys/site.py` calls, and `--data only=` names."""


@cache
def parts(package: str) -> dict[str, ModuleType]:
    """The modules of a package that are named after capabilities, by word in the order of the page.

    Raises `ModuleNotFoundError` when there is no such package.
    """
    names = {word: f"{package}.{word}" for word in WORDS}
    return {word: importlib.import_module(name) for word, name in names.items() if importlib.util.find_spec(name)}
