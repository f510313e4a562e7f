"""Say how the database cluster is: who leads, who follows and how closely, slots, etcd members; changes nothing.

pyinfra --dry hosts/inventory.py deploys/commands/cluster_status.py
make cluster
"""

from __future__ import annotations

from pyinfra.context import host

from deploys.commands import cluster as running
from deploys.facts.machine import ask, this_host
from deploys.selection import for_people

with for_people():
    question = running.question(host.data.settings, host.data.machine, host.data.stack)
    seen = ask(this_host(), **question) if question else {}

for line in running.lines(host.data.machine.name, seen):
    host.log(line)
