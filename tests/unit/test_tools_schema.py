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

_SCHEMA = json.loads((build.RECIPES / "pulumi-resource-hcloud" / "gen" / "schema.json").read_text())
_PLAIN = {"string": "str", "integer": "int", "boolean": "bool", "number": "float", "array": "Sequence"}


@cache
def _constructors() -> dict[str, dict[str, dict[str, tuple[str, bool]]]]:
    """file -> class -> input -> (kind, required), of every class of inputs in the SDK."""
    spec = importlib.util.find_spec("pulumi_hcloud")
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


def test_the_sdk_has_exactly_our_resources() -> None:
    ours = {_snake(token.rsplit(":", 1)[1]) for token in _SCHEMA["resources"]}
    files = _constructors()
    assert ours == {name for name in files if name not in {"_inputs", "provider"} and not name.startswith("get_")}


@pytest.mark.parametrize("token", sorted(_SCHEMA["resources"]))
def test_a_resource_takes_what_the_sdk_sends(token: str) -> None:
    resource = _SCHEMA["resources"][token]
    name = token.rsplit(":", 1)[1]
    classes = _constructors()[_snake(name)]
    # ServerNetworkInitArgs: the plain name is taken by a nested type
    sent = classes.get(f"{name}InitArgs") or classes[f"{name}Args"]
    assert sent == _wanted(resource["inputProperties"], resource.get("requiredInputs", []))


def test_nested_inputs_are_the_same() -> None:
    classes = _constructors()["_inputs"]
    compared = 0
    for token, kind in _SCHEMA["types"].items():
        name = token.rsplit(":", 1)[1]
        sent = classes.get(f"{name[0].upper()}{name[1:]}Args")
        if sent is None:
            continue  # a type of outputs
        assert sent == _wanted(kind["properties"], kind.get("required", [])), token
        compared += 1
    assert compared == len(classes)


def test_the_provider_takes_the_same_settings() -> None:
    sent = _constructors()["provider"]["ProviderArgs"]
    assert sent == _wanted(_SCHEMA["provider"]["inputProperties"], _SCHEMA["provider"].get("requiredInputs", []))
