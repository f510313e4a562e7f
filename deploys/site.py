"""The platform: every capability in its order.

    pyinfra hosts/inventory.py deploys/site.py                            everything
    pyinfra --limit standby hosts/inventory.py deploys/site.py            one machine or group
    pyinfra --data only=ssh,firewall hosts/inventory.py deploys/site.py   some capabilities
    pyinfra --dry --diff hosts/inventory.py deploys/site.py               what would change

The other files of this folder only define functions: run alone they do nothing, use `--data only=`.
Add `--fail-percent 0`, so that no host goes on when another has failed (`make deploy` does).

One call a line, and no loop over capabilities: pyinfra knows an operation by the lines it was called from. A capability
says by itself what it wants of the stack (`wanted_of`), and here only what else it must know of this run.
"""

from __future__ import annotations

from pyinfra.context import host

from deploys import accounts, base, checks, fail2ban, firewall, kernel, sandbox, ssh, users
from deploys.alerts import deploy as alerts
from deploys.etcd import deploy as etcd
from deploys.etcd.beginning import beginning_of
from deploys.facts.ask import this_host
from deploys.here import here_of
from deploys.operations.confirmed import address_in_use
from deploys.operations.files import files
from deploys.operations.hold import hold
from deploys.operations.phase import phase
from deploys.operations.revision import record_files
from deploys.postgres import deploy as postgres
from deploys.preflight import all_facts, preflight
from deploys.selection import adopted, fact_requests, for_people, selected
from deploys.updates import deploy as updates
from deploys.wireguard import deploy as wireguard
from deploys.wireguard.plan import plan_of

with for_people():
    only = selected(host.data.get("only"))
    adopted(host.data.get("adopt"), host.data.settings)
    here = here_of(this_host())
    fitness = preflight(this_host(), here, fact_requests(only))
    seen = all_facts(this_host())
    may_run = checks.listed_on(here)
    mesh = plan_of(wireguard.wanted_of(here), seen, address_in_use(this_host())) if "wireguard" in only else None

# before the first change on any machine: nobody else may be at it
hold(name="no other deploy")

# first: packages and names that everything else may need
if "base" in only:
    base.base(wanted=base.wanted_of(here), fitness=fitness, _sudo=True)

# before users: what accounts are made with; what sudo and PAM do is proven by the way in that there is now
if "accounts" in only:
    accounts.accounts(wanted=accounts.wanted_of(here), _sudo=True)

# before ssh: it will read only the key files, and let in only the accounts, that this makes
if "users" in only:
    users.users(wanted=users.wanted_of(here), _sudo=True)

# before ssh and firewall: they may leave no other way in, and try it; others of what follows talk over it
if mesh:
    wireguard.wireguard(plan=mesh, _sudo=True)

# before the firewall: a new ssh port is let in and tried here, then the firewall closes the old one
if "ssh" in only:
    ssh.ssh(wanted=ssh.wanted_of(here), _sudo=True)

# last of what can lock out: it is loaded when the way in that it must leave open has been proven
if "firewall" in only:
    firewall.firewall(wanted=firewall.wanted_of(here), _sudo=True)

# after ssh: it reads what sshd logs of failed logins, and only with LogLevel VERBOSE does that say enough
if "fail2ban" in only:
    fail2ban.fail2ban(wanted=fail2ban.wanted_of(here), _sudo=True)

# after the mesh and all other ways in: it is tried that each packet still comes by the way that answers go
if "kernel" in only:
    kernel.kernel(wanted=kernel.wanted_of(here), _sudo=True)

# after the firewall and the mesh, which its members speak over
if "etcd" in only and (members := etcd.wanted_of(here)):
    etcd.etcd(wanted=members, beginning=beginning_of(here.settings, seen), _sudo=True)

# after etcd, by which it is decided who leads
if "postgres" in only and (cluster := postgres.wanted_of(here)):
    postgres.postgres(wanted=cluster, _sudo=True)

# the way in is proven by now: this only says when packages change and when a machine may reboot
if "updates" in only:
    updates.updates(wanted=updates.wanted_of(here), _sudo=True)

# what belongs to no capability: the others see to their own services
if "sandbox" in only:
    sandbox.sandbox(wanted=sandbox.wanted_of(here), _sudo=True)

# after all that it looks at: what is not there yet is nothing to tell
if "alerts" in only:
    alerts.alerts(wanted=alerts.wanted_of(here), _sudo=True)

# after all that writes them: an account that is changed leaves a list of accounts, apt its history
if "base" in only:
    base.closed(_sudo=True)

# always: any setting may change what checks run as root. After all that may be refused and taken back: it would be the
# list of settings that are not in force. Until there is a list the account of the checks runs nothing
checks.checks(listed=may_run, _sudo=True)

# what follows needs all machines to be hardened, not only this one
phase(name="every machine is hardened")

# last: it says what a machine was completely deployed from, which it was not while a key of the mesh waits for others
if only == selected(None):
    whole = not (mesh and mesh.held_back)
    files(name="revision", name_="revision", wanted=record_files(here.keyring, whole=whole), _sudo=True)
