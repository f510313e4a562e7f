"""Who may do what in the databases."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bastide.controls import count
from bastide.settings import Settings
from tests.verify.findings import judge
from tests.verify.probes import postgres
from tests.verify.probes.postgres import own_of
from tests.verify.probes.postgres_rights import rights_differ, roles_differ
from tests.verify.probes.world import Observation

Note = Callable[[str], None]


@pytest.mark.control("postgres-06")
@pytest.mark.probe(postgres.servers)
def test_roles_are_the_declared(observation: Observation, settings: Settings, note: Note) -> None:
    """The roles that may log in are the declared ones; one is superuser, one replicates, and none is in a group."""
    own = own_of(settings, observation)
    assert settings.postgres
    assert own["rights"], "it does not say who may do what"
    judge(roles_differ(own["rights"]["roles"], settings.postgres, len(settings.sites)))
    note(f"{', '.join(settings.postgres.roles)} beside postgres, replicator and rewinder")


@pytest.mark.control("postgres-06")
@pytest.mark.probe(postgres.servers)
def test_rights_are_the_declared(observation: Observation, settings: Settings, note: Note) -> None:
    """In every declared database, nobody has more or less than what the stack file says, strangers included."""
    own = own_of(settings, observation)
    assert settings.postgres
    assert own["rights"], "it does not say who may do what"
    problems = rights_differ(settings.postgres, own["rights"])
    assert not problems, f"not as declared: {'; '.join(problems)}"
    note(f"{count(len(settings.postgres.databases), 'database')}, nothing to grant or revoke")
