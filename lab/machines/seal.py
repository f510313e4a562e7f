"""The seal: nothing of a lab reaches the host or the outside, from before the first machine starts.

Three layers that each hold alone: the router has no route out at all, the router's own rules drop what goes to the
uplink (`firewall.py`), and the host drops what comes from it (here). Packages come in through `proxy.py`.
"""

from __future__ import annotations

from bastide.console import run
from lab.machines.links import has_table, nft
from lab.place import OPERATOR4, OPERATOR6, Place


def host_rules(here: Place) -> str:
    """The rule file of the host's side (a table of the lab's own, priority before everybody else's)."""
    table, uplink = f"inet {here.host_table}", here.uplink
    return f"""\
table {table}
delete table {table}
table {table} {{
  chain input {{
    type filter hook input priority filter - 10; policy accept;
    iifname != "{uplink}" accept
    ct state established,related accept
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
    drop
  }}
  chain forward {{
    type filter hook forward priority filter - 10; policy accept;
    iifname "{uplink}" drop
    oifname "{uplink}" drop
  }}
  chain operator {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname "{uplink}" snat ip to {OPERATOR4}
    oifname "{uplink}" snat ip6 to {OPERATOR6}
  }}
}}
"""


def close(here: Place) -> None:
    """Load the host's side."""
    nft(host_rules(here))


def closed(here: Place) -> bool:
    """Is the host's side loaded?"""
    return has_table(here.host_table)


def remove(here: Place) -> None:
    """Take the host's side away. Only when nothing of the lab runs any more."""
    run(["nft", "delete", "table", "inet", here.host_table], check=False)
