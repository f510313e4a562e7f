"""Make one machine's copy of the database anew from the leader's: for a replica that cannot follow any more.

    pyinfra -y hosts/inventory.py deploys/commands/reinit.py --data replica=standby [--data force=1]
    make reinit machine=standby [force=1]

Refused for the leader, without a leader, and for the only copy that is in sync with the leader's (`force=1` does it).
"""

from __future__ import annotations

from pyinfra.context import host

from deploys.commands import cluster as running
from deploys.facts.ask import this_host
from deploys.operations.postgres import reinit
from deploys.selection import a_site, for_people

with for_people():
    wanted = host.data.settings
    machine = a_site(host.data.get("replica"), wanted, "replica", "make reinit machine=standby")
    cluster = running.member(wanted, host.data.machine, host.data.stack)
    running.must_answer(this_host(), cluster)

if cluster and host.name == machine:
    plan = running.plan(cluster, host.data.keyring)
    reinit(name=f"a new copy on {machine}", plan=plan, force=str(host.data.get("force")) == "1", _sudo=True)
