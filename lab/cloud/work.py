"""What actions do on the machine side: the only place that asks the machines to change.

Each verb reads the records when it runs, so that the newest order wins, and may be run again from its beginning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from bastide.errors import LabError
from lab.cloud.actions import Progress, Verb
from lab.cloud.context import Cloud
from lab.cloud.firewall_targets import rules_of
from lab.cloud.publishing import publish_soon, publish_zones
from lab.cloud.specs import machine_spec, private_nic, public_addresses
from lab.cloud.state import Record
from lab.cloud.volume_work import VERBS as VOLUME_VERBS


def verbs(cloud: Cloud) -> dict[str, Verb]:
    """All verbs, ready to be run."""

    def bound(verb: Callable[[Cloud, Record, Progress], None]) -> Verb:
        def run(work: Record, progress: Progress) -> None:
            server = _find(cloud, work.get("server", 0))
            fault = cloud.faults.take_action(work["command"], server["name"] if server else "")
            goes_on = replace(cloud, machines=fault.strike(cloud.machines, progress)) if fault else cloud
            verb(goes_on, work, progress)

        return run

    named = {
        "create": create,
        "start": start,
        "stop": stop,
        "restart": restart,
        "shutdown": shutdown,
        "reboot": reboot,
        "rebuild": rebuild,
        "change_type": change_type,
        "delete": delete,
        "set_public": set_public,
        "attach": attach,
        "detach": detach,
        "replug": replug,
        "delete_network": delete_network,
        "push_firewalls": push_firewalls,
        "publish_zones": publish_zones,
        **VOLUME_VERBS,
    }
    return {name: bound(verb) for name, verb in named.items()}


def create(cloud: Cloud, work: Record, progress: Progress) -> None:
    """Make the machine and put its firewalls in place; it is not started."""
    key = work["server"]
    with cloud.machine(key):
        cloud.machines.create(machine_spec(cloud, _server(cloud, key)))
        progress(70)
        _push(cloud, key)
        _note(cloud, key, made=True)


def start(cloud: Cloud, work: Record, progress: Progress) -> None:
    """Switch on; the firewalls hold before the first packet."""
    key = work["server"]
    server = _server(cloud, key)
    if not server["made"]:
        raise LabError(f"server '{server['name']}' cannot start: it was not made", "delete it and create it again")
    how = cloud.faults.take_boot(server["name"])
    if how == "error":
        raise LabError(f"server '{server['name']}' did not come up (a fault that was asked for)")
    with cloud.machine(key):
        if how != "silent":
            _push(cloud, key)
            progress(30)
            cloud.machines.start(key)
            cloud.downtime.on(key)
        _note(cloud, key, power="off" if how else "running", dark=bool(how))


def stop(cloud: Cloud, work: Record, progress: Progress) -> None:
    """Pull the plug."""
    key = work["server"]
    with cloud.machine(key):
        cloud.downtime.off(key)
        cloud.machines.power_cut(key)
        _note(cloud, key, power="off", dark=False)


def restart(cloud: Cloud, work: Record, progress: Progress) -> None:
    """Pull the plug and put it in again."""
    stop(cloud, work, progress)
    progress(40)
    start(cloud, work, lambda percent: None)


def shutdown(cloud: Cloud, work: Record, progress: Progress) -> None:
    """Ask the machine's system to power off."""
    with cloud.machine(work["server"]):
        cloud.downtime.off(work["server"])
        cloud.machines.shutdown(work["server"])


def reboot(cloud: Cloud, work: Record, progress: Progress) -> None:
    """Ask the machine's system to reboot."""
    with cloud.machine(work["server"]):
        cloud.machines.reboot(work["server"])


def rebuild(cloud: Cloud, work: Record, progress: Progress) -> None:
    """Power off, a new disk, power on."""
    key = work["server"]
    stop(cloud, work, progress)
    progress(20)
    with cloud.machine(key):
        cloud.machines.rebuild(machine_spec(cloud, _server(cloud, key)))
        progress(60)
        _note(cloud, key, made=True)
    start(cloud, work, lambda percent: None)


def change_type(cloud: Cloud, work: Record, progress: Progress) -> None:
    """Let the machine be of another type from its next start on; it stays off."""
    key = work["server"]
    with cloud.machine(key):
        server = {**_server(cloud, key), "server_type": work["server_type"], "disk_gb": work["disk_gb"]}
        progress(20)
        cloud.machines.grow_disk(key, work["disk_gb"])
        progress(60)
        cloud.machines.create(machine_spec(cloud, server))
        _note(cloud, key, server_type=work["server_type"], disk_gb=work["disk_gb"])


def delete(cloud: Cloud, work: Record, progress: Progress) -> None:
    """Remove the machine, then its record and what goes with it; volumes stay, primary IPs unless auto_delete."""
    key = work["server"]
    with cloud.machine(key):
        cloud.downtime.off(key)
        cloud.machines.delete(key)
    with cloud.state.change() as tables:
        if key not in tables.servers:
            return
        del tables.servers[key]
        for firewall in tables.firewalls.values():
            firewall["servers"] = [server for server in firewall["servers"] if server != key]
        for volume in tables.volumes.values():
            if volume["server"] == key:
                volume["server"] = None
        for ip in [ip for ip in tables.primary_ips.values() if ip["assignee"] == key]:
            ip["assignee"] = None
            if ip["auto_delete"]:
                del tables.primary_ips[ip["id"]]
    publish_soon(cloud)


def set_public(cloud: Cloud, work: Record, progress: Progress) -> None:
    """Give the machine the public addresses of the records, for its next start."""
    key = work["server"]
    with cloud.machine(key):
        with cloud.state.read() as tables:
            addresses = public_addresses(tables, tables.servers[key])
        cloud.machines.set_public(key, *addresses)
        _push(cloud, key)


def attach(cloud: Cloud, work: Record, progress: Progress) -> None:
    """Plug the machine into a network; when that fails and it was not in it before (`new`), it is not attached."""
    key, network = work["server"], work["network"]
    with cloud.machine(key):
        with cloud.state.read() as tables:
            nic = private_nic(tables, key, network)
        if nic is None:
            return  # detached or deleted since
        try:
            if not _server(cloud, key)["made"]:
                raise LabError(f"server {key} cannot be attached: it was not made")
            cloud.machines.attach(key, nic)
        except Exception:
            if work.get("new"):
                _forget_nic(cloud, key, network)
            raise


def detach(cloud: Cloud, work: Record, progress: Progress) -> None:
    """Unplug the machine from a network."""
    key, network = work["server"], work["network"]
    with cloud.machine(key):
        cloud.machines.detach(key, network)
        _forget_nic(cloud, key, network)


def replug(cloud: Cloud, work: Record, progress: Progress) -> None:
    """Tell all machines in a network of its new range."""
    with cloud.state.read() as tables:
        keys = list(tables.servers)
    for key in keys:
        attach(cloud, {"server": key, "network": work["network"]}, progress)


def delete_network(cloud: Cloud, work: Record, progress: Progress) -> None:
    """Unplug all machines from a network that is gone from the records, and remove it."""
    for key in work["servers"]:
        with cloud.machine(key):
            cloud.machines.detach(key, work["network"])
    cloud.machines.delete_network(work["network"])


def push_firewalls(cloud: Cloud, work: Record, progress: Progress) -> None:
    """Enforce the firewalls of the records on these machines."""
    for key in work["servers"]:
        with cloud.machine(key):
            # one that is still to be made gets them then
            if (server := _find(cloud, key)) and server["made"]:
                _push(cloud, key)


def _push(cloud: Cloud, key: int) -> None:
    """Enforce what the records say now. The machine's lock is held, so that an older order cannot come after."""
    with cloud.state.read() as tables:
        server = tables.servers.get(key)
        rules = rules_of(tables, server) if server else None
    if server:
        cloud.machines.set_firewall(key, rules)


def _forget_nic(cloud: Cloud, key: int, network: int) -> None:
    with cloud.state.change() as tables:
        if server := tables.servers.get(key):
            server["private_net"] = [nic for nic in server["private_net"] if nic["network"] != network]


def _server(cloud: Cloud, key: int) -> Record:
    if (server := _find(cloud, key)) is None:
        raise LabError(f"server {key} is gone")
    return server


def _find(cloud: Cloud, key: int) -> Record | None:
    with cloud.state.read() as tables:
        return dict(tables.servers[key]) if key in tables.servers else None


def _note(cloud: Cloud, key: int, **changes: object) -> None:
    with cloud.state.change() as tables:
        if key in tables.servers:
            tables.servers[key].update(changes)
