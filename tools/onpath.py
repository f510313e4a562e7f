"""A `pulumi` that the user installed already: used when it is new enough, together with the plugins it can fetch."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from bastide.console import run, say
from bastide.errors import CommandFailed
from tools import cache, versions
from tools.parts import Part

# `pulumi plugin install` tries for a while by itself; a closed network must not hold us up for longer than this
_PLUGIN_SECONDS = 90.0
_VERSION_SECONDS = 30.0


def engine() -> Path | None:
    """The first `pulumi` on PATH that is not ours, when it is not older than the pinned one and speaks Python."""
    found = shutil.which("pulumi", path=_foreign_path())
    if not found:
        return None
    pulumi = Path(found)
    try:
        answer = run([pulumi, "version"], env={"PULUMI_SKIP_UPDATE_CHECK": "true"}, timeout=_VERSION_SECONDS).stdout
    except CommandFailed:
        say(f"  {pulumi} does not answer `pulumi version`; not used")
        return None
    if versions.version_of(answer) < versions.version_of(versions.PULUMI):
        say(f"  {pulumi} is {answer.strip()}, older than {versions.PULUMI}; not used")
        return None
    # the host lies beside the engine, or on PATH (a package manager's way)
    if not (pulumi.resolve().parent / "pulumi-language-python").exists() and not shutil.which(
        "pulumi-language-python", path=_foreign_path()
    ):
        say(f"  {pulumi} comes without pulumi-language-python; not used")
        return None
    return pulumi


def fetch_plugin(pulumi: Path, part: Part, into: Path) -> bool:
    """Let that engine fetch a plugin into `into`/bin. Says False when it cannot (no way out of this network)."""
    home = into / "home"
    words = ["plugin", "install", "resource", part.name, f"v{part.released}"]
    env = {"PULUMI_HOME": str(home), "PULUMI_SKIP_UPDATE_CHECK": "true"}
    try:
        run([pulumi, *words], env=env, timeout=_PLUGIN_SECONDS)
    except CommandFailed:
        return False
    binary = home / "plugins" / f"resource-{part.name}-v{part.released}" / part.binary
    if not binary.exists():
        return False
    (into / "bin").mkdir()
    binary.rename(into / "bin" / binary.name)
    shutil.rmtree(home)
    return True


def _foreign_path() -> str:
    """PATH without our own folders: an evaluated `make env` must not make our build look like the user's."""
    own = cache.root().resolve()
    folders = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    return os.pathsep.join(folder for folder in folders if not Path(folder).resolve().is_relative_to(own))
