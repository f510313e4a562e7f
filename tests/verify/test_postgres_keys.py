"""What the databases show to prove who they are, whom they trust to vouch for others, and who can read their keys."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from bastide.controls import count
from bastide.controls.postgres import CERTIFICATE_DAYS
from bastide.layout.postgres import POOL_FOLDER
from bastide.machines import Inventory, Machine
from bastide.settings import Settings
from tests.verify.evidence_plugin import not_provable_here
from tests.verify.findings import judge
from tests.verify.probes import cluster, postgres
from tests.verify.probes.postgres import own_of
from tests.verify.probes.world import Observation

Note = Callable[[str], None]


@pytest.mark.control("postgres-08")
@pytest.mark.probe(postgres.servers)
def test_certificates_are_good_for_weeks(
    observation: Observation, settings: Settings, machine: Machine, note: Note
) -> None:
    """What server, Patroni and pool show is signed by the authority that all sites trust, and good for weeks."""
    own = own_of(settings, observation)
    shown = {"server": own["tries"]["right"], "Patroni": own["api"]["read"], "pool": own["tries"]["pool: right"]}
    left, wrong = dict[str, float](), list[str]()
    for what, plate in shown.items():
        if not plate.get("ends"):
            wrong.append(f"{what} shows no certificate of the authority ({plate.get('answer', '')})")
            continue
        left[f"the certificate of {what}"] = (plate["ends"] - observation.at.timestamp()) / 86400
        name = f"{machine.name}-pool" if what == "pool" else machine.name
        if plate["name"] != name:
            wrong.append(f"{what} calls itself {plate['name']}")
        # what a site calls itself tells it from every other one; the pool is where its clients are
        names = {"127.0.0.1", "localhost"} if what == "pool" else {machine.name, settings.mesh[machine.name]}
        if differ := sorted(set(plate["names"]) ^ names):
            wrong.append(f"{what} is also {', '.join(differ)}")
    for path, one in own["certificates"].items():
        if not one["signed"].endswith(": OK"):
            wrong.append(f"{path} is not signed by the authority")
        ends = datetime.strptime(one["ends"].removeprefix("notAfter="), "%Y-%m-%d %H:%M:%SZ").replace(tzinfo=UTC)
        left[path] = (ends - observation.at).total_seconds() / 86400
    wrong += [f"{what} is good for {days:.0f} more days" for what, days in left.items() if days < CERTIFICATE_DAYS]
    judge(wrong)
    note(f"good for {min(left.values()):.0f} days")


@pytest.mark.control("postgres-08")
@pytest.mark.probe(postgres.servers)
def test_the_declared_authorities_are_trusted(
    observation: Observation, settings: Settings, inventory: Inventory, note: Note
) -> None:
    """Who is trusted to vouch for a server of the databases, or for a voter, is this stack's own, and nobody beside."""
    trusts = {path: one["authority"] for path, one in own_of(settings, observation)["certificates"].items()}
    if not inventory.authorities:
        not_provable_here("the inventory does not say whom to trust: `make inventory` writes it anew")
    wanted = {
        path: inventory.authorities["etcd" if path.endswith("etcd-client.crt") else "postgres"] for path in trusts
    }
    judge(
        f"it trusts another authority than this stack's for {path}" for path in trusts if trusts[path] != wanted[path]
    )
    note(f"{count(len({*wanted.values()}), 'authority', 'authorities')}, as the stack's master gives them")


@pytest.mark.control("postgres-08")
@pytest.mark.probe(postgres.servers)
def test_keys_and_passwords_are_closed(observation: Observation, settings: Settings, note: Note) -> None:
    """Nobody but who needs them can read keys and files with passwords: their owner is root or that account."""
    keys = own_of(settings, observation)["keys"]
    assert keys, "there is no file with its key"
    wrong = [f"others can read {path} ({mode})" for path, (mode, _) in keys.items() if int(mode, 8) & 0o077]
    judge([*wrong, *cluster.strangers_own(keys, {f"{POOL_FOLDER}/": "pgbouncer", "": "postgres"})])
    note(", ".join(keys))
