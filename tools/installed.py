"""What is installed of the tools: asked by every command, so quick and without the means to install."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from bastide.errors import ToolError
from tools import build, cache, parts, versions

WAYS = ("path", "release", "build")
WAYS_VARIABLE = "BASTIDE_TOOLS_FROM"
_INSTALL_HINT = "run `make setup` (or `python3 -m tools install`)"


@dataclass(frozen=True)
class Tools:
    """What is installed. `bin` goes on PATH; `programs` and `came` say where each part's program lies and whence."""

    bin: str
    programs: dict[str, str]
    came: dict[str, str]

    @property
    def built_here(self) -> bool:
        """Whether something that Pulumi runs is our own build, which it must not try to complete by downloads."""
        return any(self.came[part.name] == "build" for part in (parts.ENGINE, *parts.PLUGINS))

    @property
    def usable(self) -> bool:
        """Whether every part has its program, and in a way that may be gone."""
        return all(
            os.access(self.programs.get(part.name, ""), os.X_OK) and self.came.get(part.name) in ways()
            for part in parts.PARTS
        )


def current() -> Tools | None:
    """The tools of this version of the project, or None when they are not (all) there."""
    try:
        tools = Tools(**json.loads((set_folder() / "ready.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return tools if tools.usable else None


def require() -> Tools:
    """The installed tools. Raises `ToolError` when they are not there."""
    tools = current()
    if tools is None:
        raise ToolError("Pulumi and its plugins are not installed", _INSTALL_HINT)
    return tools


def link_plugins(pulumi_home: Path) -> None:
    """Link the plugins where Pulumi looks for them, so that nothing is downloaded and nothing is warned about.

    `pulumi_home` is a PULUMI_HOME; plugins lie in plugins/<kind>-<name>-v<version>/ in there.
    """
    tools = require()
    for part in parts.PLUGINS:
        # both ways bring the same version: it is that of the SDK
        link = pulumi_home / "plugins" / f"resource-{part.name}-v{part.built}" / part.binary
        link.parent.mkdir(parents=True, exist_ok=True)
        link_to(Path(tools.programs[part.name]), link)


def set_folder() -> Path:
    """Where the links and the record of this version set lie; changes with the pins and the recipes."""
    words = [*(part.built + part.released for part in parts.PARTS), versions.architecture(), *build.FLAGS]
    return cache.root() / "sets" / cache.recipe_hash([build.RECIPES], *words)


def ways() -> tuple[str, ...]:
    """The ways that may be gone, in their order (all of WAYS, unless the user has named some)."""
    chosen = tuple(os.environ.get(WAYS_VARIABLE, "").replace(",", " ").split()) or WAYS
    if unknown := set(chosen) - set(WAYS):
        raise ToolError(f"{WAYS_VARIABLE} names {', '.join(sorted(unknown))}", f"it takes some of: {', '.join(WAYS)}")
    return chosen


def link_to(target: Path, link: Path) -> None:
    """Make `link` point at `target`, in one step and whatever was there."""
    if link.is_symlink() and link.readlink() == target:
        return
    draft = link.with_name(f".{link.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    draft.symlink_to(target)
    if link.is_dir() and not link.is_symlink():
        shutil.rmtree(link)
    draft.replace(link)
