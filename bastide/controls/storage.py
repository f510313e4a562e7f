"""What is kept outside of the servers.

A bucket is no machine, and evidence is about a control on a machine: the primary stands for the stack here.
"""

from __future__ import annotations

from bastide.controls.model import Control, buckets, count, join
from bastide.machines import Inventory
from bastide.settings import Settings

CONTROLS = (
    Control(
        "storage-01",
        "Buckets and strangers",
        "Nobody without a key can list, read, write or delete anything in {buckets} of object storage.",
        "A bucket that was opened by mistake is how most stored data gets out. Tried, and its policy and access list "
        "read; a single object that somebody opened by an access list of its own is not looked for.",
        roles=("primary",),
        claims=(15,),
        needs=buckets,
    ),
    Control(
        "storage-02",
        "Object lock",
        "What is written to {locked} is locked for {lock_days}: deleting it before is refused.",
        "Neither a mistake nor a stolen key without special rights removes what was kept for a bad day. Who writes may "
        "ask for less time for what he writes himself.",
        roles=("primary",),
        claims=(122,),
        needs=buckets,
    ),
    Control(
        "storage-03",
        "Older versions",
        "What is deleted or overwritten in {versioned} can be read again as an older version for {kept}.",
        "A deletion by mistake can be taken back.",
        roles=("primary",),
        claims=(122,),
        needs=buckets,
    ),
)


def facts(settings: Settings, inventory: Inventory) -> dict[str, str]:
    """What its sentences are filled with."""
    buckets = settings.storage.buckets if settings.storage else {}
    locked = [bucket for bucket in buckets.values() if bucket.lock_days]
    versioned = [bucket for bucket in buckets.values() if bucket.versioning]
    kept = [bucket.expire_old_days for bucket in versioned if bucket.expire_old_days]
    return {
        "buckets": count(len(buckets), "bucket"),
        "locked": count(len(locked), "bucket"),
        "lock_days": join(f"{days} days" for days in sorted({bucket.lock_days or 0 for bucket in locked})) or "0 days",
        "versioned": count(len(versioned), "bucket"),
        "kept": f"at least {min(kept)} days" if kept else "good",
    }
