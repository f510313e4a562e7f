"""Makes hetzner-cloud-openapi.json small: `python tests/cloud/data/strip.py PUBLISHED.json`.

Takes the published description (docs.hetzner.cloud/cloud.spec.json) and leaves out what only people read:
descriptions, summaries, examples, tags, code samples. Schemas, parameters and statuses stay as they are.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

_FOR_PEOPLE = {"description", "summary", "example", "examples", "externalDocs", "tags", "operationId", "title"}
_TARGET = Path(__file__).with_name("hetzner-cloud-openapi.json")


def stripped(value: Any, names: bool = False) -> Any:
    """`value` without texts for people. With `names` the keys are property names and stay ("description" is one)."""
    if isinstance(value, list):
        return [stripped(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: stripped(item, names=key in ("properties", "schemas", "paths") and not names)
        for key, item in value.items()
        if names or (key not in _FOR_PEOPLE and not key.startswith("x-"))
    }


if __name__ == "__main__":
    published = json.loads(Path(sys.argv[1]).read_text())
    small = stripped(published)
    small["info"]["title"] = published["info"]["title"]
    _TARGET.write_text(json.dumps(small, indent=1) + "\n")
