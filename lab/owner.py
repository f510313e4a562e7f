"""Who called: the user behind sudo. What the lab leaves outside of its own state belongs to them, in their folders."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

# what a root process of the lab needs of the caller's environment; nothing else crosses over, secrets least of all
ENVIRONMENT = ("XDG_CACHE_HOME", "BASTIDE_LAB", "BASTIDE_LAB_MIRROR", "SUDO_UID", "SUDO_GID", "TERM", "LANG", "HOME")


def kept_environment() -> list[str]:
    """The caller's variables that go on to root's processes, as NAME=VALUE."""
    kept = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    if os.geteuid() != 0:
        # the call goes through sudo now: its own word for the caller does not pass a clean environment
        kept |= {"SUDO_UID": str(os.getuid()), "SUDO_GID": str(os.getgid())}
    return [f"{name}={value}" for name, value in kept.items()]


def cache_folder() -> Path:
    """The invoking user's cache folder of this project, also when sudo made us root."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    # the XDG base directory specification says to ignore relative paths
    if given.startswith("/"):
        return Path(given) / "bastide"
    user = os.environ.get("SUDO_UID", "")
    home = Path(pwd.getpwuid(int(user)).pw_dir) if user.isdigit() else Path.home()
    return home / ".cache" / "bastide"


def give(path: Path) -> None:
    """Hand a file or folder to the user behind sudo, a link itself and not its target; nothing to do without sudo."""
    user, group = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if os.geteuid() == 0 and user.isdigit() and group.isdigit():
        os.chown(path, int(user), int(group), follow_symlinks=False)


def make_folders(folder: Path) -> None:
    """Make a folder and its parents, all of them the user's."""
    for path in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        path.mkdir(mode=0o755)
        give(path)
