"""Images: a Debian 13 like a cloud's stock image, built once for each recipe and shared by all labs.

An image is a list of folders (layers) below which each machine lays its own disk. They are kept in the invoking
user's cache, named by a hash of all that goes in.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bastide.console import run, step
from bastide.errors import CommandFailed, LabError
from lab import owner, registry
from lab.machines import recipe
from lab.upstream import Upstream

_BUILD_SECONDS = 1800.0


@dataclass(frozen=True)
class Image:
    """A ready image: `layers` from the top down, as overlayfs wants its lower directories."""

    name: str
    layers: tuple[Path, ...]


def cache_folder() -> Path:
    """Where the invoking user's images are."""
    return owner.cache_folder() / "images"


def base_key(upstream: Upstream) -> str:
    """The name of the base image of this recipe on this host."""
    return _key("base", recipe.fingerprint(), repr(upstream))


def ensure_base(upstream: Upstream) -> Image:
    """The stock image ("debian-13"). Builds it when this recipe was not built before (about a minute)."""
    return Image("debian-13", (_ensure(base_key(upstream), "base", lambda to: _build_base(to, upstream)),))


def ensure_prober(upstream: Upstream) -> Image:
    """The stock image with the prober's tools on top."""
    base = ensure_base(upstream)
    key = _key("prober", base_key(upstream), *recipe.PROBER_PACKAGES)
    top = _ensure(key, "prober", lambda to: _build_layer(to, base, recipe.PROBER_PACKAGES))
    return Image("prober", (top, *base.layers))


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _ensure(key: str, title: str, build: Callable[[Path], None]) -> Path:
    ready = cache_folder() / f"{title}-{key}" / "root"
    if ready.is_dir():
        return ready
    folder = ready.parent.parent
    owner.make_folders(folder)
    # several labs that start at once need it once: the others wait, and find it
    with registry.locked(folder / f".{title}-{key}.lock"):
        if not ready.is_dir():
            _build(ready, title, build)
    return ready


def _build(ready: Path, title: str, build: Callable[[Path], None]) -> None:
    work = ready.parent.with_name(f".{ready.parent.name}.{os.getpid()}")
    _drop_abandoned(ready.parent.parent)
    work.mkdir(mode=0o700)
    try:
        with step(f"image {title}: building once, later runs take it from {ready.parent.parent}"):
            build(work)
        # 0755 inside a 0700 folder: the files are root's, with setuid programs among them
        work.rename(ready.parent)
    finally:
        if work.exists():
            shutil.rmtree(work)


def _build_base(work: Path, upstream: Upstream) -> None:
    root = work / "root"
    try:
        run(recipe.mmdebstrap_argv(root, upstream), timeout=_BUILD_SECONDS, log=work / "build.log")
    except CommandFailed as error:
        raise LabError(
            f"the base image could not be built: {error.message}",
            f"is {upstream.mirror} reachable from here? then run the same command again",
        ) from error
    recipe.finish(root, upstream)


def _build_layer(work: Path, base: Image, packages: tuple[str, ...]) -> None:
    """Install packages on top of an image. All mounts live in a mount namespace of their own and end with it."""
    for name in ("root", "merged", "overlay"):
        (work / name).mkdir()
    lower = ":".join(str(path) for path in base.layers)
    script = "\n".join(
        [
            "set -eu",
            'cd "$1"',
            f'mount -t overlay layer -o "lowerdir={lower},upperdir=$1/root,workdir=$1/overlay" merged',
            "mount -t proc proc merged/proc",
            "cp --remove-destination /etc/resolv.conf merged/etc/resolv.conf",
            # services of a package must not start in a build
            "printf '#!/bin/sh\\nexit 101\\n' >merged/usr/sbin/policy-rc.d; chmod 755 merged/usr/sbin/policy-rc.d",
            "export DEBIAN_FRONTEND=noninteractive",
            "chroot merged apt-get -qq update",
            'shift; chroot merged apt-get -qq -y -o Dpkg::Use-Pty=0 install --no-install-recommends "$@"',
            "chroot merged apt-get clean; rm -rf merged/var/lib/apt/lists; mkdir -p merged/var/lib/apt/lists/partial",
            f"rm -f merged/usr/sbin/policy-rc.d merged/etc/ssh/ssh_host_*; printf '%s' '{recipe.RESOLV_CONF}' "
            ">merged/etc/resolv.conf",
        ]
    )
    run(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh", work, *packages],
        timeout=_BUILD_SECONDS,
        log=work / "build.log",
        hint="run the same command again; the log is gone with the half-built layer",
    )
    for name in ("merged", "overlay"):
        shutil.rmtree(work / name)


def _drop_abandoned(folder: Path) -> None:
    """Remove half-built images of builders that are gone (they were killed)."""
    for path in folder.glob(".*.*"):
        builder = path.name.rsplit(".", 1)[-1]
        if builder.isdigit() and not Path(f"/proc/{builder}").exists():
            shutil.rmtree(path)
