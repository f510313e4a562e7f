"""Say how the database cluster is: who leads, who follows and how closely, slots, voters; changes nothing.

pyinfra --dry hosts/inventory.py deploys/cluster_status.py
make cluster
"""

from __future__ import annotations

from pyinfra.context import host

from deploys import day_two
from deploys.facts.machine import ask, this_host
from deploys.selection import for_people

with for_people():
    question = day_two.question(host.data.settings, host.data.machine, host.data.stack)
    seen = ask(this_host(), **question) if question else {}

for line in day_two.lines(host.data.machine.name, seen):
    host.log(line)
