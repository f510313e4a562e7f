"""Who decides which database leads."""

from __future__ import annotations

from bastide.controls.model import Control, count, databases, failover
from bastide.machines import Inventory
from bastide.settings import Settings

CONTROLS = (
    Control(
        "etcd-01",
        "Votes",
        "Which database server leads is decided by {voters} in {voter_places}: {quorum} of them have to agree.",
        "No single server can decide by itself, and losing one, with the place it stands in, stops no decision.",
        claims=(28, 94),
        needs=failover,
    ),
    Control(
        "etcd-02",
        "Access to the votes",
        "The voters answer in the mesh only, over TLS 1.2 or newer: by certificate: clients with a password, too.",
        "Whoever could write there could choose which database leads; an application beside it has no way to it.",
        claims=(13, 15, 37),
        needs=databases,
    ),
    Control(
        "etcd-03",
        "Leader of the voters",
        "Among the voters the one at neither site leads, so that losing a site never takes both leaders at once.",
        "Two elections one after the other would take twice as long.",
        roles=("primary", "standby"),
        claims=(94,),
        needs=failover,
    ),
    Control(
        "etcd-04",
        "What the voters keep",
        "What the voters keep lies on {voter_disk}; a snapshot is taken every day and kept for {snapshot_days}.",
        "A full disk takes no vote away, and what the voters know can be brought back.",
        claims=(94,),
        needs=databases,
    ),
    Control(
        "etcd-05",
        "Rights among the votes",
        "Whoever speaks to the voters for the databases reads and writes this stack's keys and no others.",
        "A password that leaks opens no more than it has to.",
        claims=(37,),
        needs=databases,
    ),
    Control(
        "etcd-06",
        "Who administers the votes",
        "A server that only votes is given no password of the voters: it changes neither their users nor their keys.",
        "A voter is trusted with which database leads; breaking into one must open no more than that. Asked with what "
        "lies there for the voters, where nothing else lies; not looked for is a password that somebody hid elsewhere.",
        claims=(37,),
        needs=failover,
    ),
)


def facts(settings: Settings, inventory: Inventory) -> dict[str, str]:
    """What its sentences are filled with. Without databases nothing is proven, and the sentences are not printed."""
    size = settings.etcd.volume_gb
    vote = [machine for machine in inventory if machine.name in settings.etcd_members]
    return {
        "voters": count(len(vote), "voter"),
        "voter_places": count(len({(one.country, one.place.city) for one in vote}), "place"),
        "quorum": str(len(vote) // 2 + 1),
        "voter_disk": f"a volume of {size} GB of its own" if size else "each server's own disk",
        "snapshot_days": count(settings.etcd.snapshot_days, "day"),
    }
