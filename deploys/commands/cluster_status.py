"""Say how the database cluster is: who leads, who follows and how closely, slots, etcd members; changes nothing.

pyinfra --dry hosts/inventory.py deploys/commands/cluster_status.py
make cluster
"""

from __future__ import annotations

from pyinfra.context import host

from deploys.commands import cluster as running
from deploys.facts.ask import ask, this_host
from deploys.facts.fact import Facts
from deploys.selection import for_people

with for_people():
    request = running.fact_request(host.data.settings, host.data.machine, host.data.stack)
    facts = ask(this_host(), request) if request else Facts({})

for line in running.lines(host.data.machine.name, facts):
    host.log(line)
