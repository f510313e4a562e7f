"""`status`: how the machines of a stack are, on one screen, from the secret-free inventory: it needs no passphrase.

One round trip a machine, all side by side. A line that is not well ends with the next step.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bastide.console import run, say
from bastide.errors import BastideError, CommandFailed
from bastide.evidence import digest
from bastide.findings import Finding
from bastide.machines import Inventory, Machine, build_dir, inventory_path, load_inventory
from bastide.provider import state_locks
from bastide.report import Report, make_report
from hosts.transport.ssh import write_ssh_config

WELL, ATTENTION = 0, 2

_NAMED = 6  # sentences that are not proven
_CONNECT_SECONDS = 10
_LOOK_SECONDS = 30.0
_FULL_PERCENT = 85
# ps(1): the age of process 1 is right in a container too, where /proc/uptime is the outer machine's
_LOOK = """
export LC_ALL=C.UTF-8
echo "up_seconds $(ps -o etimes= -p 1 | tr -d ' ')"
echo "reboot $([ -e /run/reboot-required ] && echo yes || echo no)"
echo "failed $(systemctl --failed --plain --no-legend | cut -d ' ' -f 1 | tr '\\n' ' ')"
echo "disk_used $(df --output=pcent / | tail -n 1 | tr -dc 0-9)"
echo "disk_free_mb $(df -BM --output=avail / | tail -n 1 | tr -dc 0-9)"
echo "keyring $(cat /etc/bastide/keyring 2>/dev/null)"
# as any machine of the mesh may ask Patroni; and this voter's own answer, which needs a quorum
patroni=$(sed -n 's/^  connect_address: //p' /etc/patroni/config.yml 2>/dev/null | head -n 1)
get() { curl -sf -m 4 "$@" | tr -d '\\n'; }
[ -z "$patroni" ] || echo "cluster $(get --cacert /etc/bastide/postgres/ca.crt "https://$patroni/cluster")"
voter=$(sed -n 's/^# own: //p' /etc/etcd/root.env 2>/dev/null)
cd /etc/etcd 2>/dev/null
[ -z "$voter" ] || echo "voter $(get --cacert ca.crt --cert server.crt --key server.key "$voter/health")"
echo "revision $(cat /etc/bastide/revision 2>/dev/null)"
"""


@dataclass(frozen=True)
class Seen:
    """How a machine was found. Without an answer only `problem` says something."""

    name: str
    problem: str = ""
    up_seconds: int = 0
    reboot: bool = False
    failed: tuple[str, ...] = ()
    disk_used: int = 0
    disk_free_mb: int = 0
    revision: str = ""
    keyring: str = ""
    patroni: dict[str, Any] | None = None
    """What its Patroni says of the cluster; empty when it says nothing, `None` on a machine without one."""
    voter: bool | None = None
    """Whether its etcd sees a quorum; `None` on a machine without one."""


def show_status(stack: str, root: Path, *, as_json: bool = False) -> int:
    """Print it. Returns 0 when all is well, 2 when a line has a next step. Raises `StackError` without an inventory."""
    inventory = load_inventory(inventory_path(stack, root))
    config = write_ssh_config(inventory, root)
    with ThreadPoolExecutor() as pool:
        head = pool.submit(_head, root)
        seen = list(pool.map(lambda machine: look(machine, config, root), inventory))
    found = [*machine_lines(seen, head.result(), inventory), *cluster_lines(seen), *_proofs(stack, root), *_lock(stack)]
    if as_json:
        lines = [asdict(finding) for finding in found]
        say(json.dumps({"version": 1, "machines": [asdict(one) for one in seen], "lines": lines}, indent=1))
    else:
        say(f"stack {stack} ({inventory.environment}), {datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
        for finding in found:
            say(str(finding))
    return ATTENTION if any(finding.level == "missing" for finding in found) else WELL


def look(machine: Machine, config: Path, root: Path) -> Seen:
    """One round trip to a machine."""
    if not machine.host_key:
        return Seen(machine.name, "has no recorded host key yet")
    words = ["ssh", "-F", str(config), "-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT_SECONDS}"]
    try:
        done = run([*words, machine.name, "sudo -n sh -s"], input=_LOOK, cwd=root, check=False, timeout=_LOOK_SECONDS)
    except CommandFailed as error:
        return Seen(machine.name, error.message)
    if not done.ok:
        return Seen(machine.name, (done.stderr.strip().splitlines() or ["does not answer"])[-1])
    fields = dict(line.partition(" ")[::2] for line in done.stdout.splitlines())
    return Seen(
        machine.name,
        up_seconds=int(fields["up_seconds"] or 0),
        reboot=fields["reboot"] == "yes",
        failed=tuple(fields["failed"].split()),
        disk_used=int(fields["disk_used"] or 0),
        disk_free_mb=int(fields["disk_free_mb"] or 0),
        revision=fields["revision"].strip(),
        keyring=fields["keyring"].strip(),
        patroni=_json(fields["cluster"]) if "cluster" in fields else None,
        voter=_json(fields["voter"]).get("health") == "true" if "voter" in fields else None,
    )


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def machine_lines(seen: list[Seen], head: str, inventory: Inventory) -> Iterator[Finding]:
    """One line a machine. `head` is the commit of this clone, "" when there is none."""
    for one in seen:
        role = f"{one.name} ({inventory[one.name].role}, {inventory[one.name].location})"
        if one.problem:
            log_in = f"`ssh -v -F {build_dir(inventory.stack)}/ssh_config {one.name}`, `make drift`"
            yield Finding("missing", f"{role}: {one.problem}", log_in)
            continue
        facts = f"up {_age(one.up_seconds)}, disk {one.disk_used} % used, {one.disk_free_mb} MB free"
        wrong = list(_wrong(one, head))
        what = ", ".join([facts, *(problem for problem, _ in wrong)] + ([] if wrong else [_deployed(one.revision)]))
        steps = "; ".join(step for _, step in wrong)
        yield Finding("missing" if wrong else "ok", f"{role}: {what}", steps)


def _wrong(one: Seen, head: str) -> Iterator[tuple[str, str]]:
    """What is not well, each with its next step."""
    if one.failed:
        yield f"failed: {', '.join(one.failed)}", f"`systemctl status {one.failed[0]}` on {one.name}"
    if one.reboot:
        yield "a reboot is pending", f"reboot {one.name} when its peers are well"
    if one.disk_used >= _FULL_PERCENT:
        yield "its disk fills up", "`du -xh / | sort -h | tail` there"
    if not one.revision:
        yield "never completely deployed", "`make deploy`"
    elif head and one.revision.partition("+")[0] != head.partition("+")[0]:
        yield f"{_deployed(one.revision)}, this clone is at {head[:10]}", "`make plan`, then `make deploy`"


def cluster_lines(seen: list[Seen]) -> Iterator[Finding]:
    """One line about the database cluster, where there is one: who leads, who follows, how far behind, the voters."""
    sites = [one for one in seen if one.patroni is not None]
    voters = [one for one in seen if one.voter is not None]
    if not sites and not voters:
        return
    said: dict[str, Any] = next((one.patroni for one in sites if one.patroni), {})
    members = said.get("members", [])
    wrong = []
    leader = _leader(said)
    leaders = {one.name: _leader(one.patroni) or "nobody" for one in sites if one.patroni}
    if len(set(leaders.values())) > 1:
        # one that is cut off from the others knows only how things were before
        views = " and ".join(f"{name} says that {whom} does" for name, whom in leaders.items())
        text = f"cluster: the sites do not agree on who leads: {views}"
        yield Finding("missing", text, "`make cluster` in some seconds; if it stays so, who is cut off: `make drift`")
        return
    what = [f"{leader} leads" if leader else "nobody leads"]
    what += [_follower(member) for member in members if member["name"] != leader]
    if not leader:
        wrong.append("`make cluster`, docs/how-to/lose-a-server.md")
    if any(member["name"] != leader and member["state"] != "streaming" for member in members):
        wrong.append("`make cluster`")
    if len(members) < 2 and leader:
        what.append("nobody follows")
        wrong.append("`make drift`, then `make infra deploy` brings a lost machine back")
    if any(member.get("pending_restart") for member in members):
        what.append("a restart is pending")
        wrong.append("`make deploy`")
    if said.get("pause"):
        what.append("PAUSED: nobody takes over when the leader fails")
        wrong.append("`make resume`")
    well = sum(one.voter is True for one in voters)
    what.append(f"{well} voters well")
    if well < len(voters):
        away = ", ".join(one.name for one in voters if not one.voter)
        wrong.append(f"`journalctl -u etcd` on {away}")
    yield Finding("missing" if wrong else "ok", f"cluster: {', '.join(what)}", "; ".join(dict.fromkeys(wrong)))


def _leader(said: dict[str, Any]) -> str:
    return next((m["name"] for m in said.get("members", []) if m["role"] == "leader" and m["state"] == "running"), "")


def _follower(member: dict[str, Any]) -> str:
    role = "follows in sync" if member["role"] == "sync_standby" else "follows"
    if member["state"] != "streaming":
        return f"{member['name']} does not follow ({member['state']})"
    lag = member.get("lag")
    behind = f"{lag // 2**20} MB behind" if isinstance(lag, int) else "lag unknown"
    return f"{member['name']} {role}, {behind}"


def _deployed(revision: str) -> str:
    commit, plus, _ = revision.partition("+")
    return f"deployed from {commit[:10]}{' with uncommitted changes' if plus else ''}"


def _head(root: Path) -> str:
    try:
        return run(["git", "rev-parse", "HEAD"], cwd=root, timeout=10).stdout.strip()
    except CommandFailed:
        return ""


def _proofs(stack: str, root: Path) -> Iterator[Finding]:
    try:
        report = make_report(stack, root)
    except BastideError as error:
        yield Finding("missing", f"proofs: {error.message}", error.hint)
        return
    yield proofs_line(report, datetime.now(UTC))


def proofs_line(report: Report, now: datetime) -> Finding:
    """How much is proven, how long ago, and what is not."""
    rows = report.evidence.rows
    oldest = max(((now - row.at).total_seconds() for row in rows), default=0.0)
    open_ = [verdict.control.id for verdict in report.unproven if verdict.state != "not_provable_here"]
    elsewhere = [verdict.control.id for verdict in report.unproven if verdict.state == "not_provable_here"]
    what = f"proofs: {len(report.proven)} of {len(report.verdicts)} sentences, the oldest {_age(int(oldest))} old"
    what += f", not provable here: {', '.join(elsewhere)}" if elsewhere else ""
    wanted = digest(report.settings)
    if open_ and rows and all(row.settings != wanted for row in rows):
        changed = f"{what}; the stack file was changed since"
        return Finding("missing", changed, "`make plan`, then `make deploy` and `make prove`")
    if open_:
        return Finding("missing", f"{what}, not proven: {_some(open_)}", "`make verify`, it says why")
    return Finding("ok", what)


def _some(ids: list[str]) -> str:
    """The first few: all of them when the settings have changed since would fill the screen."""
    return ", ".join(ids[:_NAMED]) + (f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else "")


def _lock(stack: str) -> Iterator[Finding]:
    """Who holds the state; only a file backend can be asked without its tools."""
    locks = state_locks(stack)
    if locks is None:
        return
    for lock in locks:
        try:
            holder: dict[str, Any] = json.loads(lock.read_text(encoding="utf-8"))
            since = int(time.time() - lock.stat().st_mtime)
        except (OSError, ValueError):
            continue
        who = f"{holder.get('username', '?')} on {holder.get('hostname', '?')} (process {holder.get('pid', '?')})"
        yield Finding(
            "missing", f"state: locked by {who} for {_age(since)}", "wait for it; `make infra` gives up a dead one's"
        )
    if not locks:
        yield Finding("ok", "state: nobody holds it")


def _age(seconds: int) -> str:
    """A span as people say it."""
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"
