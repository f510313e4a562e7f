"""How a machine is, asked in one round trip over ssh; it needs no passphrase."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bastide.console import run
from bastide.errors import CommandFailed
from bastide.layout.etcd import READ_OWN_ENDPOINT
from bastide.layout.updates import TURNS
from bastide.machines import Inventory, Machine
from hosts.transport.ssh_config import write_ssh_config

_CONNECT_SECONDS = 10
_PROBE_SECONDS = 30.0
# ps(1): the age of process 1 is right in a container too, where /proc/uptime is the outer machine's
_PROBE = """
export LC_ALL=C.UTF-8
echo "up_seconds $(ps -o etimes= -p 1 | tr -d ' ')"
echo "reboot $([ -e /run/reboot-required ] && echo yes || echo no)"
echo "failed $(systemctl --failed --plain --no-legend | cut -d ' ' -f 1 | tr '\\n' ' ')"
echo "disk_used $(df --output=pcent / | tail -n 1 | tr -dc 0-9)"
echo "disk_free_mb $(df -BM --output=avail / | tail -n 1 | tr -dc 0-9)"
echo "keyring $(cat /etc/bastide/keyring 2>/dev/null)"
# as any machine of the mesh may ask Patroni; and this etcd member's own answer, which needs a quorum
patroni=$(sed -n 's/^  connect_address: //p' /etc/patroni/config.yml 2>/dev/null | head -n 1)
get() { curl -sf -m 4 "$@" | tr -d '\\n'; }
[ -z "$patroni" ] || echo "cluster $(get --cacert /etc/bastide/postgres/ca.crt "https://$patroni/cluster")"
member=$({READ_OWN_ENDPOINT})
cd /etc/etcd 2>/dev/null
[ -z "$member" ] || echo "voter $(get --cacert ca.crt --cert server.crt --key server.key "$member/health")"
# the first of its certificates that ends; nothing renews them but a deploy
for file in /etc/bastide/*/*.crt /etc/etcd/*.crt /etc/pgbouncer/*.crt; do
    [ -e "$file" ] && date -d "$(openssl x509 -noout -enddate -in "$file" | cut -d= -f2)" +%s
done 2>/dev/null | sort -n | head -n 1 | sed 's/^/certificates /'
# what runs an earlier program than the installed one, and waits for its machine's turn or a deploy
echo "outdated $(for one in {TURNS}/*; do [ -x "$one" ] && "$one" look 2>/dev/null; done | tr '\\n' ' ')"
echo "revision $(cat /etc/bastide/revision 2>/dev/null)"
""".replace("{READ_OWN_ENDPOINT}", READ_OWN_ENDPOINT).replace("{TURNS}", TURNS)


@dataclass(frozen=True)
class Observation:
    """How a machine was found. Without an answer only `problem` says something."""

    name: str
    problem: str = ""
    up_seconds: int = 0
    reboot: bool = False
    outdated: tuple[str, ...] = ()
    """Services that run an earlier program than the installed one, and are restarted by turns alone."""
    failed: tuple[str, ...] = ()
    disk_used: int = 0
    disk_free_mb: int = 0
    revision: str = ""
    keyring: str = ""
    certificate_days: int | None = None
    """For how many more days all of its certificates are good; `None` on a machine without one."""
    patroni: dict[str, Any] | None = None
    """What its Patroni says of the cluster; empty when it says nothing, `None` on a machine without one."""
    voter: bool | None = None
    """Whether its etcd sees a quorum; `None` on a machine without one."""


def observe_all(inventory: Inventory, root: Path) -> list[Observation]:
    """Ask all machines side by side, in the inventory's order."""
    config = write_ssh_config(inventory, root)
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda machine: observe(machine, config, root), inventory))


def observe(machine: Machine, config: Path, root: Path) -> Observation:
    """Ask a machine. `config` is the stack's ssh_config."""
    if not machine.host_key:
        return Observation(machine.name, "has no recorded host key yet")
    words = ["ssh", "-F", str(config), "-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT_SECONDS}"]
    try:
        done = run([*words, machine.name, "sudo -n sh -s"], input=_PROBE, cwd=root, check=False, timeout=_PROBE_SECONDS)
    except CommandFailed as error:
        return Observation(machine.name, error.message)
    if not done.ok:
        return Observation(machine.name, (done.stderr.strip().splitlines() or ["does not answer"])[-1])
    fields = dict(line.partition(" ")[::2] for line in done.stdout.splitlines())
    return Observation(
        machine.name,
        up_seconds=int(fields["up_seconds"] or 0),
        reboot=fields["reboot"] == "yes",
        outdated=tuple(fields["outdated"].split()),
        failed=tuple(fields["failed"].split()),
        disk_used=int(fields["disk_used"] or 0),
        disk_free_mb=int(fields["disk_free_mb"] or 0),
        revision=fields["revision"].strip(),
        keyring=fields["keyring"].strip(),
        certificate_days=_days_until(fields["certificates"]) if "certificates" in fields else None,
        patroni=_json(fields["cluster"]) if "cluster" in fields else None,
        voter=_json(fields["voter"]).get("health") == "true" if "voter" in fields else None,
    )


def _days_until(text: str) -> int:
    return int(int(text) - time.time()) // 86400


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
