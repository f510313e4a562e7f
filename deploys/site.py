"""The platform: every capability in its order.

    pyinfra hosts/inventory.py deploys/site.py                            everything
    pyinfra --limit standby hosts/inventory.py deploys/site.py            one machine or group
    pyinfra --data only=ssh,firewall hosts/inventory.py deploys/site.py   some capabilities
    pyinfra --dry --diff hosts/inventory.py deploys/site.py               what would change

The other files of this folder only define functions: run alone they do nothing, use `--data only=`.
Add `--fail-percent 0`, so that no host goes on when another has failed (`make deploy` does).

One call a line, and no loop over capabilities: pyinfra knows an operation by the lines it was called from.
"""

from __future__ import annotations

from pyinfra.context import host

from bastide.cluster import cluster_of
from bastide.mesh import mesh_of
from bastide.open_ports import opened
from bastide.settings import Settings
from deploys.base import base
from deploys.etcd.deploy import etcd, no_vote
from deploys.etcd.membership import members_of
from deploys.facts.ask import this_host
from deploys.fail2ban import fail2ban
from deploys.firewall import firewall
from deploys.operations.confirmed import address_in_use
from deploys.operations.files import files
from deploys.operations.hold import hold
from deploys.operations.phase import phase
from deploys.operations.revision import keyring_file, revision_file
from deploys.postgres.data_guard import begins, without_data
from deploys.postgres.deploy import postgres
from deploys.preflight import all_facts, preflight
from deploys.selection import adopted, fact_requests, for_people, selected
from deploys.ssh import ssh
from deploys.updates.deploy import plan_of, updates
from deploys.users import users
from deploys.wireguard import plan_of as mesh_plan
from deploys.wireguard import wireguard

with for_people():
    only = selected(host.data.get("only"))
    wanted: Settings = host.data.settings
    adopted(host.data.get("adopt"), wanted)
    fitness = preflight(this_host(), wanted, fact_requests(only))
    mesh = mesh_of(wanted)
    way = None
    if "wireguard" in only:
        here = (host.data.machine, host.data.machines, host.data.keyring)
        way = mesh_plan(wanted, *here, all_facts(this_host()), address_in_use(this_host()))

# before the first change on any machine: nobody else may be at it
hold(name="no other deploy")

# first: packages and names that everything else may need
if "base" in only:
    base(wanted=wanted.base, machine=host.data.machine, machines=host.data.machines, fitness=fitness, _sudo=True)

# before ssh: it will read only the key files, and let in only the accounts, that this makes
if "users" in only:
    users(wanted=wanted.users, _sudo=True)

# before ssh and firewall: they may leave no other way in, and try it; others of what follows talk over it
if way:
    wireguard(plan=way, _sudo=True)

# before the firewall: a new ssh port is let in and tried here, then the firewall closes the old one
if "ssh" in only:
    ssh(wanted=wanted.ssh, users=wanted.users, firewall=wanted.firewall, mesh=mesh, _sudo=True)

# last of what can lock out: it is loaded when the way in that it must leave open has been proven
if "firewall" in only:
    firewall(
        wanted=wanted.firewall,
        ssh=wanted.ssh,
        network=wanted.network,
        machines=host.data.machines,
        mesh=mesh,
        opened=opened(wanted),
        _sudo=True,
    )

# after ssh: it reads what sshd logs of failed logins, and only with LogLevel VERBOSE does that say enough
if "fail2ban" in only:
    fail2ban(
        wanted=wanted.fail2ban,
        firewall=wanted.firewall,
        network=wanted.network,
        machines=host.data.machines,
        mesh=mesh,
        _sudo=True,
    )

# after the firewall and the mesh, which its parts speak over, and before what is decided by it
members = members_of(wanted, host.data.machine, host.data.stack)
whole = set(wanted.servers) <= set(all_facts(this_host()))
if "etcd" in only and members.votes:
    etcd(
        wanted=wanted.etcd,
        members=members,
        keyring=host.data.keyring,
        begins=begins(all_facts(this_host()), wanted.etcd_members),
        awaited=without_data(all_facts(this_host()), wanted.etcd_members),
        whole=whole,
        _sudo=True,
    )
if "etcd" in only and wanted.etcd_members:
    phase(name="the members are settled")
if "etcd" in only and wanted.etcd_members and not members.votes:
    no_vote(members=members, witness=next(iter(wanted.by_role("witness"))), whole=whole, _sudo=True)
if "postgres" in only and wanted.postgres:
    # the first to start makes the cluster when there is none, or the one whose data are said to be the cluster's
    first = (host.data.get("adopt") or "primary") in (host.name, host.data.machine.role)
    postgres(
        wanted=cluster_of(wanted, host.data.machine, host.data.stack, first=first),
        keyring=host.data.keyring,
        _sudo=True,
    )

# the way in is proven by now: this only says when packages change and when a machine may reboot
if "updates" in only:
    updates(wanted=wanted.updates, plan=plan_of(wanted, host.data.machine, host.data.machines), _sudo=True)

# what follows needs all machines to be hardened, not only this one
phase(name="every machine is hardened")

# last: it says what a machine was completely deployed from, which it was not while a key of the mesh waits for others
if only == selected(None):
    record = (revision_file(),) if way and way.held_back else (revision_file(), keyring_file(host.data.keyring))
    files(name="revision", name_="revision", wanted=record, _sudo=True)
