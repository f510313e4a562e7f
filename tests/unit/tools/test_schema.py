"""The plugin that we build takes the same resources and inputs as the published SDK sends.

The SDK's files are read, not imported: their constructors say the names, the types and what is required.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tools import build

PLUGINS = ("hcloud", "minio")
_SCHEMAS: dict[str, dict[str, Any]] = {
    name: json.loads((build.RECIPES / f"pulumi-resource-{name}" / "gen" / "schema.json").read_text())
    for name in PLUGINS
}
# the Terraform provider behind our build is newer than the published package in these: more is there, nothing is gone
_NEWER = {"minio"}
# a whole number here, any number there; it is MinIO's own and no part of S3, so nothing of ours sets it
_NEVER_SENT = {"quota"}
_PLAIN = {"string": "str", "integer": "int", "boolean": "bool", "number": "float", "array": "Sequence"}


@cache
def _constructors(plugin: str) -> dict[str, dict[str, dict[str, tuple[str, bool]]]]:
    """file -> class -> input -> (kind, required), of every class of inputs in the SDK."""
    spec = importlib.util.find_spec(f"pulumi_{plugin}")
    assert spec is not None
    assert spec.submodule_search_locations
    found: dict[str, dict[str, dict[str, tuple[str, bool]]]] = {}
    for file in Path(spec.submodule_search_locations[0]).glob("*.py"):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef) and node.name.endswith("Args"):
                found.setdefault(file.stem, {})[node.name] = _inputs(node)
    return found


def _inputs(node: ast.ClassDef) -> dict[str, tuple[str, bool]]:
    init = next(part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__")
    pairs = zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)
    return {word.arg: (_kind(ast.unparse(word.annotation or ast.Constant(""))), value is None) for word, value in pairs}


def _kind(annotation: str) -> str:
    inner = annotation.removeprefix("pulumi.Input[").removeprefix("Optional[").removeprefix("_builtins.")
    return (re.match(r"\w+", inner) or ["object"])[0]


def _wanted(properties: dict[str, Any], required: list[str]) -> dict[str, tuple[str, bool]]:
    return {_snake(name): (_schema_kind(one), name in required) for name, one in properties.items()}


def _schema_kind(one: dict[str, Any]) -> str:
    if "$ref" in one:
        return "object"
    return "Mapping" if one["type"] == "object" else _PLAIN[one["type"]]


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def _fits(plugin: str, sent: dict[str, tuple[str, bool]], taken: dict[str, tuple[str, bool]]) -> bool:
    if plugin not in _NEWER:
        return sent == taken
    sent = {name: kind for name, kind in sent.items() if name not in _NEVER_SENT}
    more = {name: kind for name, kind in taken.items() if name not in sent}
    return sent.items() <= taken.items() and not any(required for _, required in more.values())


def _resources(plugin: str) -> set[str]:
    files = _constructors(plugin)
    return {name for name in files if name not in {"_inputs", "provider"} and not name.startswith("get_")}


@pytest.mark.parametrize("plugin", PLUGINS)
def test_the_sdks_resources_are_ours(plugin: str) -> None:
    ours = {_snake(token.rsplit(":", 1)[1]) for token in _SCHEMAS[plugin]["resources"]}
    assert _resources(plugin) <= ours
    assert plugin in _NEWER or _resources(plugin) == ours


@pytest.mark.parametrize(
    ("plugin", "token"), [(plugin, token) for plugin in PLUGINS for token in sorted(_SCHEMAS[plugin]["resources"])]
)
def test_a_resource_takes_what_the_sdk_sends(plugin: str, token: str) -> None:
    resource = _SCHEMAS[plugin]["resources"][token]
    name = token.rsplit(":", 1)[1]
    if _snake(name) not in _resources(plugin):
        assert plugin in _NEWER
        return
    classes = _constructors(plugin)[_snake(name)]
    # ServerNetworkInitArgs: the plain name is taken by a nested type
    sent = classes.get(f"{name}InitArgs") or classes[f"{name}Args"]
    assert _fits(plugin, sent, _wanted(resource["inputProperties"], resource.get("requiredInputs", [])))


@pytest.mark.parametrize("plugin", PLUGINS)
def test_nested_inputs_are_the_same(plugin: str) -> None:
    classes = _constructors(plugin)["_inputs"]
    compared = 0
    for token, kind in _SCHEMAS[plugin]["types"].items():
        name = token.rsplit(":", 1)[1]
        sent = classes.get(f"{name[0].upper()}{name[1:]}Args")
        if sent is None:
            continue  # a type of outputs
        assert _fits(plugin, sent, _wanted(kind["properties"], kind.get("required", []))), token
        compared += 1
    assert compared == len(classes)


@pytest.mark.parametrize("plugin", PLUGINS)
def test_the_provider_takes_the_same_settings(plugin: str) -> None:
    provider = _SCHEMAS[plugin]["provider"]
    sent = _constructors(plugin)["provider"]["ProviderArgs"]
    assert _fits(plugin, sent, _wanted(provider["inputProperties"], provider.get("requiredInputs", [])))
