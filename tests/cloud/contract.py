"""The published description, with what has changed since laid over it, as a judge of answers.

OpenAPI 3.0 schemas are JSON Schema draft "Wright-00", which has draft 4's vocabulary, plus `nullable`; that one is
translated. Objects are closed while judging: a property that the API sends and the description does not know is an
error too.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft4Validator  # type: ignore[import-untyped]

DATA = Path(__file__).with_name("data")
_COMBINED = ("allOf", "anyOf", "oneOf", "$ref")


class NotAsPublished(AssertionError):
    """An answer that the description does not allow."""


class Contract:
    """The description with the overlay. `operations` are all (method, path) pairs, `seen` those judged so far."""

    def __init__(self) -> None:
        self.description = json.loads((DATA / "hetzner-cloud-openapi.json").read_text())
        for entry in json.loads((DATA / "overlay.json").read_text()):
            for change in entry["changes"]:
                _apply(self.description, change)
        self.components = {"schemas": _draft4(self.description["components"]["schemas"], names=True)}
        self.seen: set[tuple[str, str, int]] = set()
        self._paths = [
            (re.compile(re.sub(r"\{[^}]*\}", "[^/]+", path) + "$"), path, item)
            # fixed words win over placeholders: /servers/actions before /servers/{id}
            for path, item in sorted(self.description["paths"].items(), key=lambda pair: pair[0].count("{"))
        ]

    def judge(self, method: str, path: str, status: int, body: bytes) -> None:
        """Raise `NotAsPublished` when this answer to METHOD /path (below /v1) is not what the description says."""
        operation, template = self._operation(method, path)
        what = f"{method} {path} -> {status}"
        if operation is None:
            # a page that does not exist has no answer of its own in the description; errors look the same everywhere
            if status < 400:
                raise NotAsPublished(f"{what}: the description has no such operation")
            schema: Any = {"$ref": "#/components/schemas/error_response"}
        else:
            responses = operation["responses"]
            known = next((key for key in (str(status), f"{status // 100}xx") if key in responses), None)
            if known is None:
                raise NotAsPublished(f"{what}: the description only knows {sorted(responses)}")
            content = responses[known].get("content", {})
            if not content:
                if body:
                    raise NotAsPublished(f"{what}: the answer must be empty")
                self.seen.add((method, template, status))
                return
            schema = content["application/json"]["schema"]
        errors = self._errors(json.dumps(schema, sort_keys=True), json.loads(body))
        if errors:
            raise NotAsPublished(f"{what}:\n" + "\n".join(errors))
        self.seen.add((method, template, status))

    def _operation(self, method: str, path: str) -> tuple[Any, str]:
        for pattern, template, item in self._paths:
            if pattern.match(path) and method.lower() in item:
                return item[method.lower()], template
        return None, path

    def _errors(self, schema: str, value: Any) -> list[str]:
        return [
            f"  {'.'.join(map(str, error.absolute_path)) or 'answer'}: {error.message[:300]}"
            for error in self._validator(schema).iter_errors(value)
        ]

    @cache  # noqa: B019 (one contract lives as long as the tests)
    def _validator(self, schema: str) -> Any:
        root = {"components": self.components, "allOf": [_draft4(json.loads(schema))]}
        return Draft4Validator(root, format_checker=Draft4Validator.FORMAT_CHECKER)


def _draft4(schema: Any, names: bool = False) -> Any:
    """An OpenAPI 3.0 schema as JSON Schema draft 4; with `names` a dict of schemas by name."""
    if isinstance(schema, list):
        return [_draft4(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if names:
        return {name: _draft4(item) for name, item in schema.items()}
    plain = {key: _draft4(value, names=key == "properties") for key, value in schema.items() if key != "nullable"}
    if "properties" in plain and not any(key in plain for key in _COMBINED):
        plain.setdefault("additionalProperties", False)
    return {"anyOf": [{"type": "null"}, plain]} if schema.get("nullable") else plain


def _apply(document: Any, change: dict[str, Any]) -> None:
    """Apply one change of the overlay: {"set": pointer, "to": value} or {"drop": pointer} (pointers: RFC 6901)."""
    pointer = change.get("set") or change["drop"]
    *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    grandparent: Any = None
    parent = document
    for part in parents:
        grandparent, parent = parent, parent[part]
    if "set" in change:
        parent[last] = change["to"]
        return
    del parent[last]
    if parents[-1] == "properties" and last in grandparent.get("required", []):
        grandparent["required"].remove(last)
