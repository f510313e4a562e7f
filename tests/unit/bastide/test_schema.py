"""The schema of the stack file, for editors: fresh, right about the example, and it knows a wrong file."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from bastide.schema import SCHEMA_PATH, schema_text, stack_file_schema
from bastide.settings import Settings

ROOT = Path(__file__).parents[3]
EXAMPLE = yaml.safe_load((ROOT / "stacks" / "Pulumi.example.yaml").read_text())
SCHEMA = stack_file_schema()


def mistakes(document: Any) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(document)]


def changed(path: str, value: object) -> Any:
    document = copy.deepcopy(EXAMPLE)
    *parents, last = path.split("/")
    here = document
    for part in parents:
        here = here[part]
    here[last] = value
    return document


def test_the_committed_file_is_fresh() -> None:
    assert (ROOT / SCHEMA_PATH).read_text() == schema_text(), "run `python -m bastide schema`"
    jsonschema.Draft202012Validator.check_schema(json.loads(schema_text()))


def test_the_example_fits_and_names_the_schema_for_editors() -> None:
    assert mistakes(EXAMPLE) == []
    first = (ROOT / "stacks" / "Pulumi.example.yaml").read_text().splitlines()[0]
    named = first.partition("$schema=")[2]
    assert (ROOT / "stacks" / named).resolve() == ROOT / SCHEMA_PATH


def test_what_pulumi_writes_fits() -> None:
    document = changed("config/hcloud:token", {"secure": "v1:abc"})
    document["encryptionsalt"] = "v1:salt"
    document["config"]["bastide:secrets"] = {"master": {"v1": {"secure": "v1:x"}, "v2": {"secure": "v1:y"}}}
    assert mistakes(document) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("config/bastide:settings/ssh/prot", 22),
        ("config/bastide:settings/ssh/port", "22"),
        ("config/bastide:settings/ssh/open_to", "everybody"),
        ("config/bastide:settings/servers/primary/role", "boss"),
        ("config/bastide:setings", {}),
        ("config/hcloud:token", "plain"),
        ("config/bastide:secrets", {"master": {"v1": "plain"}}),
        ("confg", {}),
    ],
)
def test_a_wrong_file_does_not(path: str, value: object) -> None:
    assert mistakes(changed(path, value)) != []


def test_every_key_of_the_model_has_its_sentence() -> None:
    definitions = SCHEMA["$defs"]
    assert set(definitions["Settings"]["properties"]) == set(Settings.model_fields)
    silent = [
        f"{area}.{key}"
        for area, schema in definitions.items()
        for key, value in schema.get("properties", {}).items()
        if not value.get("description") and area != "Encrypted"
    ]
    assert silent == []
