"""The JSON schema of the whole stack file, made from the model: editors complete keys and show their sentences.

docs/reference/stack-file.schema.json is its output (`python -m bastide schema`). It knows shapes, not rules between
keys: `python -m bastide check FILE` has the last word.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bastide.reference import sentences_of
from bastide.settings import Area, Settings
from bastide.stackfile import SECRETS_KEY, SETTINGS_KEY, known_keys

SCHEMA_PATH = Path("docs/reference/stack-file.schema.json")

_SECURE = {
    "type": "object",
    "properties": {"secure": {"type": "string"}},
    "required": ["secure"],
    "additionalProperties": False,
    "description": "Encrypted; made by `pulumi config set --secret`.",
}
_TOP = {
    "encryptionsalt": "Salt of the stack's passphrase; written by Pulumi. Commit it.",
    "secretsprovider": "Who encrypts the secrets; written by Pulumi.",
    "encryptedkey": "The data key of a secrets provider; written by Pulumi.",
}
_SENTENCES = {
    SETTINGS_KEY: "Everything that is wanted.",
    SECRETS_KEY: "The stack's own secrets, each encrypted.",
    "hcloud:token": "The provider's API token; always a secret.",
    "hcloud:endpoint": "Where the provider's API answers; leave it out for the real Hetzner Cloud.",
    "hcloud:pollInterval": "How often a running action is asked for, 500ms by default.",
}


def stack_file_schema() -> dict[str, Any]:
    """The schema (JSON Schema 2020-12)."""
    model = Settings.model_json_schema()
    definitions: dict[str, Any] = model.pop("$defs", {})
    definitions["Settings"] = model
    for area in _areas(Area):
        if area.__name__ in definitions:
            _describe(definitions[area.__name__], area)
    anything_encrypted = {"anyOf": [{"$ref": "#/$defs/Encrypted"}, {"$ref": "#/$defs/EncryptedTree"}]}
    definitions["Encrypted"] = _SECURE
    definitions["EncryptedTree"] = {"type": "object", "additionalProperties": anything_encrypted}
    config: dict[str, Any] = {key: _value(key) for key in sorted(known_keys())}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Bastide stack file",
        "type": "object",
        "properties": {
            "config": {
                "type": "object",
                "properties": config,
                "patternProperties": {"^pulumi:": {}},
                "required": [SETTINGS_KEY],
                "additionalProperties": False,
            },
            **{key: {"type": "string", "description": sentence} for key, sentence in _TOP.items()},
        },
        "required": ["config"],
        "additionalProperties": False,
        "$defs": definitions,
    }


def schema_text() -> str:
    """The schema as the committed file has it."""
    return json.dumps(stack_file_schema(), indent=1) + "\n"


def _value(key: str) -> dict[str, Any]:
    described = {"description": _SENTENCES[key]} if key in _SENTENCES else {}
    if key == SETTINGS_KEY:
        return {"$ref": "#/$defs/Settings", **described}
    if key == SECRETS_KEY:
        return {"$ref": "#/$defs/EncryptedTree", **described}
    if key == "hcloud:token":
        return {"$ref": "#/$defs/Encrypted", **described}
    # Pulumi takes a number or a truth value for a text, too
    return {"anyOf": [{"type": ["string", "number", "boolean"]}, {"$ref": "#/$defs/Encrypted"}], **described}


def _describe(schema: dict[str, Any], area: type[Area]) -> None:
    """Give each key its sentence. Titles say nothing that the key does not."""
    sentences = sentences_of(area)
    schema.pop("title", None)
    for name, property_schema in schema.get("properties", {}).items():
        property_schema.pop("title", None)
        property_schema["description"] = sentences.get(name, "")


def _areas(base: type[Area]) -> list[type[Area]]:
    return [base, *(found for child in base.__subclasses__() for found in _areas(child))]
