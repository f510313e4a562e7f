"""Bring the tools into the user's cache: from PATH, from the official archives, or built from source.

Each part of the table (tools/parts.py) comes from the first way that works. A way that cannot be reached gives way to
the next; a file that is not what it should be stops everything.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path

from bastide.console import run, say, step
from bastide.errors import CommandFailed, ToolError
from tools import build, cache, installed, onpath, parts, release, versions
from tools.installed import Tools
from tools.parts import Part


def install() -> Tools:
    """Install what is missing and return what is there. Quick when nothing is missing."""
    tools = installed.current()
    if tools is None:
        with cache.locked():
            tools = installed.current() or _install()
    said = (f"{part.name} {part.version(tools.came[part.name])} ({tools.came[part.name]})" for part in parts.PARTS)
    say(f"tools: {', '.join(said)}; {tools.programs[parts.ENGINE.name]}")
    return tools


def _install() -> Tools:
    came: dict[str, str] = {}
    programs: dict[str, str] = {}
    for part in parts.PARTS:
        # plugins are fetched by the user's own pulumi, when that is the one that will run them
        own = Path(programs[parts.ENGINE.name]) if came.get(parts.ENGINE.name) == "path" else None
        way, program = _bring(part, own)
        came[part.name], programs[part.name] = way, str(program)
    binaries = installed.set_folder() / "bin"
    binaries.mkdir(parents=True, exist_ok=True)
    for link in binaries.iterdir():
        link.unlink()
    for part in parts.PARTS:
        if not part.plugin and came[part.name] != "path":
            for binary in Path(programs[part.name]).parent.iterdir():
                installed.link_to(binary, binaries / binary.name)
    tools = Tools(str(binaries), programs, came)
    ready = installed.set_folder() / "ready.json"
    draft = ready.with_suffix(".draft")
    draft.write_text(json.dumps(asdict(tools), indent=2) + "\n")
    draft.replace(ready)
    return tools


def _bring(part: Part, own_pulumi: Path | None) -> tuple[str, Path]:
    """One part from the first way that works: from where, and its program."""
    for way in installed.ways():
        if part is parts.ENGINE and way == "path":
            if (own := onpath.engine()) is not None:
                return way, own
        elif (way != "path" or (part.plugin and own_pulumi)) and (folder := _part(part, way, own_pulumi)):
            return way, folder / "bin" / part.binary
    raise ToolError(
        f"no way led to {part.title} (tried: {', '.join(installed.ways())})",
        f"install pulumi >= {versions.PULUMI} yourself, or let a build happen: unset {installed.WAYS_VARIABLE}",
    )


def _part(part: Part, way: str, own_pulumi: Path | None) -> Path | None:
    """The folder of one part, from the cache or made now; None when this way cannot be gone from here."""
    recipes = [build.RECIPES / name for name in part.recipes]
    mark = cache.recipe_hash(recipes, *build.FLAGS) if way == "build" else "official"
    folder = cache.root() / "parts" / f"{part.name}-{part.version(way)}-{versions.architecture()}-{mark}"
    if (folder / "bin" / part.binary).exists():
        return folder
    if way == "build":
        cache.require_space(cache.root(), versions.BUILD_GIGABYTES * part.room, "a build from source")
    else:
        cache.require_space(cache.root(), versions.RELEASE_GIGABYTES, "the official archive")
    try:
        with cache.staged(folder) as staging:
            if way == "build":
                build.build(part, staging)
            elif way == "release":
                release.fetch(part, staging)
            else:
                _fetch_plugin(part, own_pulumi, staging)
            _prove(part, way, staging / "bin" / part.binary)
    except release.Unreachable as error:
        say(f"  {error.message}; trying the next way")
        return None
    return folder


def _fetch_plugin(part: Part, pulumi: Path | None, into: Path) -> None:
    assert pulumi
    with step(f"let {pulumi} fetch {part.title}"):
        fetched = onpath.fetch_plugin(pulumi, part, into)
    if not fetched:
        raise release.Unreachable(f"{pulumi} cannot fetch {part.title} from here")


def _prove(part: Part, way: str, binary: Path) -> None:
    """A part counts only when its program runs here and says the pinned version."""
    version = part.version(way)
    try:
        said = run([binary, *part.ask], env={"PULUMI_SKIP_UPDATE_CHECK": "true"}, timeout=60).stdout.strip()
    except CommandFailed as error:
        raise ToolError(f"{binary.name} does not run here: {error.message}", "a bug: report it") from error
    if not re.search(rf"(?<!\d){re.escape(version)}(?![\d.])", said):
        raise ToolError(f"{binary.name} says it is {said!r}, wanted {version}", "a bug: report it")
