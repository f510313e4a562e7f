"""Bring the tools into the user's cache: from PATH, from the official archives, or built from source.

Two parts, the engine with its Python language host and the hcloud plugin, each from the first way that works. A way
that cannot be reached gives way to the next; a file that is not what it should be stops everything.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from bastide.console import run, say, step
from bastide.errors import CommandFailed, ToolError
from tools import build, cache, installed, onpath, release, versions
from tools.installed import Tools


def install() -> Tools:
    """Install what is missing and return what is there. Quick when nothing is missing."""
    tools = installed.current()
    if tools is None:
        with cache.locked():
            tools = installed.current() or _install()
    say(
        f"tools: pulumi {versions.PULUMI} ({tools.engine_from}: {tools.pulumi}), "
        f"hcloud plugin {versions.HCLOUD} ({tools.plugin_from})"
    )
    return tools


def _install() -> Tools:
    engine_from, engine_folder, pulumi = _engine()
    plugin_from, plugin_folder = _plugin(pulumi if engine_from == "path" else None)
    binaries = installed.set_folder() / "bin"
    binaries.mkdir(parents=True, exist_ok=True)
    for link in binaries.iterdir():
        link.unlink()
    if engine_folder:
        for binary in (engine_folder / "bin").iterdir():
            installed.link_to(binary, binaries / binary.name)
    tools = Tools(
        bin=str(binaries),
        pulumi=str(pulumi),
        plugin=str(plugin_folder / "bin" / "pulumi-resource-hcloud"),
        engine_from=engine_from,
        plugin_from=plugin_from,
    )
    ready = installed.set_folder() / "ready.json"
    draft = ready.with_suffix(".draft")
    draft.write_text(json.dumps(asdict(tools), indent=2) + "\n")
    draft.replace(ready)
    return tools


def _engine() -> tuple[str, Path | None, Path]:
    """The engine: from where, the folder of its part (None for the user's own), the binary."""
    for way in installed.ways():
        if way == "path":
            if (own := onpath.engine()) is not None:
                return way, None, own
            continue
        recipe: Callable[[Path], None] = release.engine if way == "release" else build.engine
        folder = _part("pulumi", versions.PULUMI, way, recipe, "pulumi")
        if folder:
            return way, folder, folder / "bin" / "pulumi"
    raise _nothing("the Pulumi engine")


def _plugin(own_pulumi: Path | None) -> tuple[str, Path]:
    """The hcloud plugin: from where, and the folder of its part."""
    for way in installed.ways():
        if way == "path":
            if own_pulumi is None:
                continue
            recipe: Callable[[Path], None] = partial(_fetch_plugin, own_pulumi)
        else:
            recipe = release.hcloud if way == "release" else build.hcloud
        folder = _part("hcloud", versions.HCLOUD, way, recipe, "pulumi-resource-hcloud")
        if folder:
            return way, folder
    raise _nothing("the hcloud plugin")


def _fetch_plugin(pulumi: Path, into: Path) -> None:
    with step(f"let {pulumi} fetch the hcloud plugin"):
        fetched = onpath.fetch_hcloud(pulumi, into)
    if not fetched:
        raise release.Unreachable(f"{pulumi} cannot fetch the hcloud plugin from here")


def _part(name: str, version: str, way: str, recipe: Callable[[Path], None], binary: str) -> Path | None:
    """One part, from the cache or made now; None when this way cannot be gone from here."""
    mark = cache.recipe_hash(_recipes(name), *build.FLAGS) if way == "build" else "official"
    folder = cache.root() / "parts" / f"{name}-{version}-{versions.architecture()}-{mark}"
    if (folder / "bin" / binary).exists():
        return folder
    if way == "build":
        # the engine comes first and brings the larger half of the modules
        room = versions.BUILD_GIGABYTES / (1 if name == "pulumi" else 2)
        cache.require_space(cache.root(), room, "a build from source")
    else:
        cache.require_space(cache.root(), versions.RELEASE_GIGABYTES, "the official archive")
    try:
        with cache.staged(folder) as staging:
            recipe(staging)
            _prove(staging / "bin" / binary, version)
    except release.Unreachable as error:
        say(f"  {error.message}; trying the next way")
        return None
    return folder


def _prove(binary: Path, version: str) -> None:
    """A part counts only when its program runs here and says the pinned version."""
    words = ["version"] if binary.name == "pulumi" else ["-version"]
    try:
        said = run([binary, *words], env={"PULUMI_SKIP_UPDATE_CHECK": "true"}, timeout=60).stdout.strip()
    except CommandFailed as error:
        raise ToolError(f"{binary.name} does not run here: {error.message}", "a bug: report it") from error
    if versions.version_of(said) != versions.version_of(version):
        raise ToolError(f"{binary.name} says it is {said!r}, wanted {version}", "a bug: report it")


def _recipes(name: str) -> list[Path]:
    folders = ["pulumi", "pulumi-language-python"] if name == "pulumi" else ["pulumi-resource-hcloud"]
    return [build.RECIPES / folder for folder in folders]


def _nothing(what: str) -> ToolError:
    return ToolError(
        f"no way led to {what} (tried: {', '.join(installed.ways())})",
        f"install pulumi >= {versions.PULUMI} yourself, or let a build happen: unset {installed.WAYS_VARIABLE}",
    )
