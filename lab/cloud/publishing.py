"""From the records to the name servers: all zones and reverse names at once, one publication after the other."""

from __future__ import annotations

from lab.cloud.actions import Progress
from lab.cloud.context import Cloud
from lab.cloud.state import Record
from lab.cloud.zone_files import zone_file

_LANE = "zones"


def publish() -> Record:
    """The work of an action that ends when the name servers serve what the records say."""
    return {"verb": "publish_zones", "lane": _LANE}


def publish_soon(cloud: Cloud) -> None:
    """The same beside the action at hand: an address has come or gone, and with it its reverse name."""
    cloud.actions.aside(_LANE, lambda: publish_zones(cloud, {}, lambda percent: None))


def publish_zones(cloud: Cloud, work: Record, progress: Progress) -> None:
    """The verb. It reads the records when it runs: of several orders the last one's state is served."""
    with cloud.state.read() as tables:
        zones = {zone["name"]: zone_file(zone) for zone in tables.zones.values()}
        entries = [entry for ip in tables.primary_ips.values() for entry in ip["dns_ptr"]]
    cloud.machines.publish_zones(zones, {entry["ip"]: entry["dns_ptr"] for entry in entries if entry["dns_ptr"]})
