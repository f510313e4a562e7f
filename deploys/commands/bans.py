"""Say whom fail2ban has banned, on each machine; changes nothing.

pyinfra --dry hosts/inventory.py deploys/commands/bans.py
make bans [limit=standby]
"""

from __future__ import annotations

from pyinfra.context import host

from deploys.facts.ask import ask, this_host
from deploys.facts.fail2ban import FAIL2BAN
from deploys.operations.bans import bans

seen = ask(this_host(), FAIL2BAN.request(None))[FAIL2BAN]
found = bans(seen)
for jail, address, when in sorted(found):
    host.log(f"{jail}: {address} {when}")
if seen["server"] is None:
    host.log("fail2ban does not run here; next: `make deploy only=fail2ban`")
elif not found:
    host.log("nobody is banned")
