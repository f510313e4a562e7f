"""The example names every key of the model with a sentence, and the sentence is the model's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bastide.reference import areas_of, reference_page
from bastide.settings import Settings
from bastide.stackfile import load

ROOT = Path(__file__).parents[2]
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


def test_every_key_of_the_model_stands_in_the_example() -> None:
    present = {
        re.sub(r"\.(servers|people|buckets)\.[a-z-]+", r".\1.*", key.replace(".zones.example.eu", ".zones.*"))
        for key in keys_of(load(EXAMPLE)["config"]["bastide:settings"])
    }
    wanted = {f".{field.path}" for field in areas_of(Settings) if not field.path.startswith(SHOWN_IN_A_COMMENT)}
    assert wanted - present == set()


def test_every_key_has_the_models_sentence_above_it() -> None:
    text = EXAMPLE.read_text()
    for field in areas_of(Settings):
        assert field.sentence, f"{field.path} has no sentence in the model"
        if not field.path.startswith(SHOWN_IN_A_COMMENT):
            assert f"# {field.sentence}" in text, f"{field.path}: the example does not say: {field.sentence}"


def test_the_reference_page_is_fresh() -> None:
    page = ROOT / "docs" / "reference" / "settings.md"
    assert page.read_text() == reference_page(), "run `python -m bastide reference`"
