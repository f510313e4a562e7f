"""The example names every key of the model with a sentence, and the sentence is the model's own."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from bastide.reference import areas_of, reference_page
from bastide.settings import ExistingServer, Settings
from bastide.stackfile import load, parse

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "stacks" / "Pulumi.example.yaml"


# lists and mappings that are empty in the example: it says what may stand in them in a comment
SHOWN_IN_A_COMMENT = ("firewall.public.", "updates.sources.")


def keys_of(data: Any, path: str = "") -> Iterator[str]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from [f"{path}.{key}", *keys_of(value, f"{path}.{key}")]
    elif isinstance(data, list):
        for item in data:
            yield from keys_of(item, path)


def existing() -> Any:
    """The form of a server that somebody else made, which stands in the example as a comment."""
    lines = EXAMPLE.read_text().splitlines()
    start = next(n for n, line in enumerate(lines) if "# A server that somebody else made" in line) + 1
    block = itertools.takewhile(lambda line: line.startswith("      #"), lines[start:])
    return YAML().load("\n".join(line[8:] for line in block))


def test_every_key_of_the_model_stands_in_the_example() -> None:
    settings = load(EXAMPLE)["config"]["bastide:settings"]
    present = {
        re.sub(
            r"\.(servers|people|buckets|administrators|databases)\.[a-z-]+",
            r".\1.*",
            key.replace(".zones.example.eu", ".zones.*"),
        )
        for key in [*keys_of(settings), *keys_of({"servers": existing()})]
    }
    wanted = {f".{field.path}" for field in areas_of(Settings) if not field.path.startswith(SHOWN_IN_A_COMMENT)}
    assert wanted - present == set()


def test_every_key_has_the_models_sentence_above_it() -> None:
    text = EXAMPLE.read_text()
    for field in areas_of(Settings):
        assert field.sentence, f"{field.path} has no sentence in the model"
        if not field.path.startswith(SHOWN_IN_A_COMMENT):
            assert f"# {field.sentence}" in text, f"{field.path}: the example does not say: {field.sentence}"


def test_the_form_in_the_comment_is_a_valid_one() -> None:
    settings = load(EXAMPLE)["config"]["bastide:settings"]
    settings["servers"].update(existing())
    found = parse(settings, "file")
    assert set(found.existing) == {"primary"}
    assert set(existing()["primary"]) == set(ExistingServer.model_fields)


def test_the_reference_page_is_fresh() -> None:
    page = ROOT / "docs" / "reference" / "settings.md"
    assert page.read_text() == reference_page(), "run `python -m bastide reference`"
