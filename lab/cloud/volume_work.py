"""What actions on volumes do on the machine side; see `work.py`, whose verbs these are too."""

from __future__ import annotations

import logging
from collections.abc import Callable

from bastide.errors import LabError
from lab.cloud.actions import Progress
from lab.cloud.context import Cloud
from lab.cloud.specs import volume_spec
from lab.cloud.state import Record

log = logging.getLogger("lab.cloud")


def create_volume(cloud: Cloud, work: Record, progress: Progress) -> None:
    """Make it, empty."""
    record = _volume(cloud, work["volume"])
    cloud.machines.create_volume(volume_spec(record))
    _note(cloud, work["volume"], made=True)


def delete_volume(cloud: Cloud, work: Record, progress: Progress) -> None:
    """Remove what is gone from the records."""
    cloud.machines.delete_volume(work["volume"])


def attach_volume(cloud: Cloud, work: Record, progress: Progress) -> None:
    """Plug it in; when that fails and it was not there before (`new`), it is not attached."""
    key, server = work["volume"], work["server"]
    with cloud.machine(server):
        if (record := _find(cloud, key)) is None or record["server"] != server:
            return  # deleted or detached since
        try:
            with cloud.state.read() as tables:
                made = tables.servers.get(server, {}).get("made", False)
            if not (record["made"] and made):
                raise LabError(f"volume {key} cannot be attached to server {server}: one of them was not made")
            cloud.machines.attach_volume(key, server)
        except Exception:
            if work.get("new"):
                _note(cloud, key, server=None)
            raise


def detach_volume(cloud: Cloud, work: Record, progress: Progress) -> None:
    """Pull it out."""
    with cloud.machine(work["server"]):
        cloud.machines.detach_volume(work["volume"])
        _note(cloud, work["volume"], server=None)


def resize_volume(cloud: Cloud, work: Record, progress: Progress) -> None:
    """Make it bigger."""
    with cloud.machine(work["server"]):
        cloud.machines.resize_volume(work["volume"], work["size"])
        _note(cloud, work["volume"], size=work["size"])


VERBS: dict[str, Callable[[Cloud, Record, Progress], None]] = {
    "create_volume": create_volume,
    "delete_volume": delete_volume,
    "attach_volume": attach_volume,
    "detach_volume": detach_volume,
    "resize_volume": resize_volume,
}


def converge_volumes(cloud: Cloud) -> None:
    """After a start: remove what nobody ordered, and make again, empty, what has gone missing."""
    existing = cloud.machines.volume_ids()
    with cloud.state.read() as tables:
        wanted = {key: dict(record) for key, record in tables.volumes.items()}
    for key in existing - wanted.keys():
        log.warning("volume %s belongs to nobody: it is removed", key)
        cloud.actions.aside(f"volume:{key}", _remover(cloud, key))
    for key, record in wanted.items():
        if record["made"] and key not in existing:
            log.warning("volume '%s' is gone: it is made again, empty", record["name"])
            lane = f"volume:{key}" if record["server"] is None else f"server:{record['server']}"
            cloud.actions.aside(lane, _maker(cloud, record))


def server_volumes(cloud: Cloud, server: int) -> list[int]:
    """The ids of the volumes that a server has."""
    with cloud.state.read() as tables:
        return [key for key, record in tables.volumes.items() if record["server"] == server and record["made"]]


def _remover(cloud: Cloud, key: int) -> Callable[[], None]:
    return lambda: cloud.machines.delete_volume(key)


def _maker(cloud: Cloud, record: Record) -> Callable[[], None]:
    return lambda: cloud.machines.create_volume(volume_spec(record))


def _volume(cloud: Cloud, key: int) -> Record:
    if (record := _find(cloud, key)) is None:
        raise LabError(f"volume {key} is gone")
    return record


def _find(cloud: Cloud, key: int) -> Record | None:
    with cloud.state.read() as tables:
        return dict(tables.volumes[key]) if key in tables.volumes else None


def _note(cloud: Cloud, key: int, **changes: object) -> None:
    with cloud.state.change() as tables:
        if key in tables.volumes:
            tables.volumes[key].update(changes)
