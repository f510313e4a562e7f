"""Let Patroni decide again, after `make pause`.

pyinfra -y hosts/inventory.py deploys/commands/resume.py
make resume
"""

from __future__ import annotations

from pyinfra.context import host

from deploys.commands import cluster as running
from deploys.facts.ask import this_host
from deploys.operations.postgres import pause
from deploys.selection import for_people

with for_people():
    cluster = running.member(host.data.settings, host.data.machine, host.data.stack)
    # one that is away is told by etcd when it is back
    answers = cluster is not None and running.answers(this_host(), cluster)

if cluster and answers:
    pause(
        name="decide again",
        plan=running.plan(cluster, host.data.keyring),
        wanted=False,
        _serial=True,
        _sudo=True,
    )
