"""What its machine's turn at night means for the databases: the program that does it, and what that must know."""

from __future__ import annotations

import json

from pydantic import SecretStr

from bastide.cluster import Cluster
from bastide.layout.postgres import DATA, FOLDER
from bastide.layout.updates import TURNS
from bastide.secrets import Keyring
from deploys import remote
from deploys.operations.files import File
from deploys.postgres.patroni import rest_plan
from deploys.postgres.routing import pause_plan

_PLAN = f"{FOLDER}/turn.json"


def turn_files(wanted: Cluster, keyring: Keyring) -> tuple[File, ...]:
    """The program, which is the deploy's own, and the password of Patroni's API, for root alone."""
    pool = {**pause_plan(wanted), "leader": wanted.me.name}
    plan = {**rest_plan(wanted, keyring), "data": DATA, "pool": pool}
    about = "Written by Bastide (deploys/postgres): what its machine's turn means for the databases"
    return (
        File(_PLAN, SecretStr(json.dumps(plan)), mode=0o600),
        File(f"{TURNS}/20-postgres", remote.program("turn", "turn", _PLAN, about=about), mode=0o755),
    )
