"""Which capabilities a run is for, and that each has what a run needs of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bastide.capabilities import ON_MACHINES
from bastide.errors import BastideError
from deploys import modules, selection
from tests.unit.deploys.box import here

SITE = Path(__file__).parents[3] / "deploys/site.py"


@pytest.mark.parametrize(
    ("only", "chosen"),
    [(None, ON_MACHINES), ("ssh", ("ssh",)), ("firewall, base", ("firewall", "base")), (["ssh"], ("ssh",))],
)
def test_selected(only, chosen):
    assert selection.selected(only) == chosen


def test_a_mistyped_capability_is_an_error():
    with pytest.raises(BastideError) as error:
        selection.selected("shh")
    assert (error.value.message, error.value.hint) == (
        "--data only=shh: 'shh' is no capability",
        f"there are {', '.join(ON_MACHINES)}",
    )
    with pytest.raises(selection.NotBegun, match="no capability"), selection.for_people():
        selection.selected("shh")


@pytest.mark.parametrize("word", ON_MACHINES)
def test_a_capability_says_what_it_wants_and_asks_and_is_called(word):
    module = modules.deployed(word)
    assert getattr(module, word).deploy_name == word
    wanted = module.wanted_of(here())
    assert wanted is None or module.fact_request(wanted)
    assert f'"{word}" in only' in SITE.read_text()
