"""After a start: bring the machine side to what the records say, and go on with what was interrupted.

Machines that nobody ordered go away. Machines that should exist and do not are made again, and started if they were
running when last seen; the same holds for volumes. Of those that exist, firewalls, interfaces and volumes are set once
more (all idempotent); their power is left alone: one that was switched off or has crashed stays so.
"""

from __future__ import annotations

import logging

from lab.cloud import work
from lab.cloud.context import Cloud
from lab.cloud.lanes import Job
from lab.cloud.publishing import publish_soon
from lab.cloud.state import Record
from lab.cloud.volume_work import attach_volume, converge_volumes, server_volumes

log = logging.getLogger("lab.cloud")


def converge(cloud: Cloud) -> None:
    """Queue all of it in the lanes of the machines, in front of everything that comes in later, and return."""
    existing = cloud.machines.machine_ids()
    with cloud.state.read() as tables:
        servers = {key: dict(server) for key, server in tables.servers.items()}
    converge_volumes(cloud)
    for key in existing - servers.keys():
        log.warning("machine %s belongs to no server: it is removed", key)
        cloud.actions.aside(f"server:{key}", _remover(cloud, key))
    for key, server in servers.items():
        if server["made"]:
            cloud.actions.aside(f"server:{key}", _mender(cloud, server, key in existing))
    publish_soon(cloud)
    resumed = cloud.actions.resume()
    if resumed:
        log.warning("going on with interrupted actions: %s", resumed)


def _remover(cloud: Cloud, key: int) -> Job:
    def job() -> None:
        with cloud.machine(key):
            cloud.machines.delete(key)

    return job


def _mender(cloud: Cloud, server: Record, exists: bool) -> Job:
    key = server["id"]
    plain = {"server": key, "servers": [key]}

    def job() -> None:
        if not exists:
            log.warning("the machine of server '%s' is gone: it is made again", server["name"])
            work.create(cloud, plain, _silent)
        else:
            work.push_firewalls(cloud, plain, _silent)
        for volume in server_volumes(cloud, key):
            attach_volume(cloud, {**plain, "volume": volume}, _silent)
        for nic in server["private_net"]:
            work.attach(cloud, {**plain, "network": nic["network"]}, _silent)
        if not exists and server["power"] == "running" and not server["dark"]:
            work.start(cloud, plain, _silent)

    return job


def _silent(percent: int) -> None:
    """Nobody watches the progress of this."""
