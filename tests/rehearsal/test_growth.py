"""A company that begins with one server and its database: a standby and a witness come, and go again, by an edit each.

Nothing of it makes the database anew, and nobody who writes meanwhile loses a row that was acknowledged.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from bastide.stackfile import dump, load
from tests.rehearsal.acknowledged import Writers
from tests.rehearsal.stack import Rehearsal

LAB = "growth"
pytestmark = pytest.mark.full("growth")

ALL = ("primary", "standby", "witness")


@pytest.fixture(scope="module")
def alone(fresh: Rehearsal) -> Rehearsal:
    """One server with a database, proven."""
    fresh.make("lab")
    _servers(fresh, "primary")
    fresh.make("up", timeout=900)
    return fresh


def test_one_server_becomes_three_and_one_again(alone: Rehearsal) -> None:
    sentences = [_proven(alone)]
    assert {"postgres-02", "ssh-01"} <= sentences[0]
    assert "postgres-07" not in sentences[0], "a sentence on who takes over, with nobody to do so"
    began = _identity(alone)
    for names in (ALL[:2], ALL, ALL[:2], ALL[:1]):
        with Writers(alone).writing("primary"):
            _servers(alone, *names)
            alone.make("up", timeout=900)
        written = Writers(alone)  # by who is there now
        written.begun["primary"] = 1
        told = written.told()
        assert told.of("primary")
        assert written.missing(told) == [], names
        sentences.append(_proven(alone))
        assert _identity(alone) == began, "the database was made anew, or somebody took over"
        assert alone.dry() == {}, names
    assert "postgres-07" in sentences[2], "three servers, and not a word on who takes over"
    assert sentences[4] == sentences[0]
    assert sentences[3] == sentences[1]


def _servers(stack: Rehearsal, *names: str) -> None:
    """The stack file with these servers of the example's."""
    document = load(stack.file)
    settings: dict[str, Any] = document["config"]["bastide:settings"]
    known = load(stack.root / "stacks" / "Pulumi.example.yaml")["config"]["bastide:settings"]["servers"]
    settings["servers"] = {name: settings["servers"].get(name, known[name]) for name in names}
    settings["protection"] = False  # a server that is named no more may be deleted
    stack.file.write_text(dump(document))


def _proven(stack: Rehearsal) -> set[str]:
    """The controls that are proven on every machine; none may have failed."""
    rows = json.loads((stack.build / "evidence.json").read_text())["rows"]
    failed = {row["control"] for row in rows if row["outcome"] == "failed"}
    assert not failed, failed
    return {row["control"] for row in rows if row["outcome"] == "proven"}


def _identity(stack: Rehearsal) -> str:
    """Which database it is, and how often somebody took over."""
    query = "select system_identifier, timeline_id from pg_control_system(), pg_control_checkpoint()"
    return stack.exec("primary", f"runuser -u postgres -- psql -XAtqc '{query}'").stdout.strip()
