"""Hand the leadership of the database cluster to another site, without a loss; writes wait for about two seconds.

pyinfra -y hosts/inventory.py deploys/commands/switchover.py [--data to=standby]
make switchover [to=standby]
"""

from __future__ import annotations

from pyinfra.context import host

from deploys.commands import cluster as running
from deploys.facts.ask import this_host
from deploys.operations.postgres import clients_wait, switchover
from deploys.postgres.routing import pause_plan
from deploys.selection import a_site, for_people

with for_people():
    wanted = host.data.settings
    cluster = running.member(wanted, host.data.machine, host.data.stack)
    seen = running.must_answer(this_host(), cluster)
    word = host.data.get("to")
    to = "" if word is None else a_site(word, wanted, "to", "make switchover to=standby")
    running.may_hand_over(seen, to)

if cluster:
    clients_wait(name="clients wait", plan=pause_plan(cluster), before_restart=False, _sudo=True)
    plan = running.plan(cluster, host.data.keyring)
    switchover(name=f"hand over to {to or 'whoever is in sync'}", plan=plan, to=to, _sudo=True)
