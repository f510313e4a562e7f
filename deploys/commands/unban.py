"""Free an address that fail2ban has banned, on every machine or one.

    pyinfra -y hosts/inventory.py deploys/commands/unban.py --data address=203.0.113.9
    make unban address=203.0.113.9 [limit=standby]

For the operator who was banned: see docs/how-to/break-glass.md.
"""

from __future__ import annotations

from pyinfra.context import host

from deploys.facts.ask import ask, this_host
from deploys.facts.fail2ban import FAIL2BAN
from deploys.operations.bans import an_address, bans, unban
from deploys.selection import for_people

with for_people():
    address = an_address(host.data.get("address"))

seen = ask(this_host(), FAIL2BAN.request(None))[FAIL2BAN]
found = [(jail, when) for jail, banned, when in bans(seen) if banned == address]
for jail, when in found:
    host.log(f"{address} was banned by {jail} {when}: freed now")
if found:
    host.log(" next: an operator's? put it into firewall.operators and `make infra deploy`, or it happens again")
elif seen["server"] is None:
    host.log(f"fail2ban does not run here, so {address} is not banned; next: `make deploy only=fail2ban`")
else:
    host.log(
        f"{address} is not banned here; next: if it gets no answer, sshd itself may refuse it for up to 10 minutes,"
    )
    host.log(" or ssh is not open to it: see ssh.open_to and firewall.operators")

unban(name=f"unban {address}", address=address, _sudo=True)
