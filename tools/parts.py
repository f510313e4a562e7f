"""The table of what is installed: one line of it is a part, and everything else follows from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tools import versions
from tools.versions import Release


@dataclass(frozen=True)
class GoBuild:
    """One `go build`: the folder of its recipe below tools/go, the package in there, what it sets and writes."""

    recipe: str
    package: str
    output: str
    sets: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """One thing to install. `binary` is its program in bin/, `ask` the words that make it say its version.

    `built` is the version that the recipe builds, `released` the one that the official archive holds; `room` is what
    share of versions.BUILD_GIGABYTES building it takes when those before it are built.
    """

    name: str
    title: str
    binary: str
    ask: tuple[str, ...]
    built: str
    released: str
    release: Callable[[], Release]
    builds: tuple[GoBuild, ...]
    minutes: int
    room: float = 0.5

    @property
    def plugin(self) -> bool:
        """Whether Pulumi runs it, and looks for it in its home."""
        return self.binary.startswith("pulumi-resource-")

    @property
    def recipes(self) -> tuple[str, ...]:
        """The folders below tools/go that it is built from."""
        return tuple(dict.fromkeys(build.recipe for build in self.builds))

    def version(self, way: str) -> str:
        """What this way brings."""
        return self.built if way == "build" else self.released


_ENGINE_VERSION = f"github.com/pulumi/pulumi/sdk/v3/go/common/version.Version={versions.PULUMI}"


def _plugin(name: str, version: str, minutes: int) -> Part:
    binary = f"pulumi-resource-{name}"
    return Part(
        name=name,
        title=f"the {name} plugin",
        binary=binary,
        ask=("-version",),
        built=version,
        released=version,
        release=lambda: versions.plugin_release(name, version),
        builds=(GoBuild(binary, ".", f"bin/{binary}", (f"bastide.invalid/{binary}/provider.Version={version}",)),),
        minutes=minutes,
    )


ENGINE = Part(
    name="pulumi",
    title="the Pulumi engine",
    binary="pulumi",
    ask=("version",),
    built=versions.PULUMI,
    released=versions.PULUMI,
    release=versions.engine_release,
    builds=(
        GoBuild("pulumi", "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi", "bin/pulumi", (_ENGINE_VERSION,)),
        GoBuild(
            "pulumi-language-python",
            "github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python",
            "host/pulumi-language-python",
            (_ENGINE_VERSION,),
        ),
    ),
    minutes=8,
    room=1.0,
)
# the object storage of the local cloud; a program of its own (AGPL-3.0) that nothing of ours is linked with
STORAGE_SERVER = Part(
    name="minio-server",
    title="the local cloud's object storage (MinIO)",
    binary="minio",
    ask=("--version",),
    built=versions.MINIO_SERVER_BUILT,
    released=versions.MINIO_SERVER_RELEASED,
    release=versions.minio_server_release,
    builds=(
        GoBuild(
            "minio",
            "github.com/minio/minio",
            "bin/minio",
            (f"github.com/minio/minio/cmd.ReleaseTag=RELEASE.{versions.MINIO_SERVER_BUILT}",),
        ),
    ),
    minutes=3,
)
PLUGINS = (_plugin("hcloud", versions.HCLOUD, 4), _plugin("minio", versions.MINIO, 2))
# in the order in which they are installed; the engine brings most of the modules that the plugins are built from
PARTS = (ENGINE, *PLUGINS, STORAGE_SERVER)
