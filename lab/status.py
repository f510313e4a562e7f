"""`lab status`: what there is and what runs."""

from __future__ import annotations

import json
from typing import Any

from bastide.console import say
from lab import daemon, registry
from lab.machines import machine, router
from lab.machines.seed import first_address
from lab.machines.store import records
from lab.parties import party, storage
from lab.place import lab_id


def show(name: str, *, as_json: bool) -> int:
    """Print it. Returns 0 when the lab is up, 3 when it is not (as systemctl does)."""
    found = look(name)
    if as_json:
        say(json.dumps(found, indent=1))
    elif not found["up"] and not found["machines"]:
        say(f"lab '{name}' is not up")
    else:
        condition = "up" if found["up"] else "broken, `lab up` repairs it"
        say(f"lab '{name}' ({found['id']}): {condition}, API {found['endpoint']}")
        for one in found["machines"]:
            say(f"  {one['name']:<20} {one['state']:<8} {one['address']:<16} {one['address6']}")
    return 0 if found["up"] else 3


def look(name: str) -> dict[str, Any]:
    """The lab as JSON: name, id, up, endpoint, what of it works, and the machines."""
    here = registry.find(name)
    if here is None:
        return {"name": name, "id": lab_id(name), "up": False, "endpoint": "", "machines": []}
    settings = registry.read_json(here.folder / "lab.json")
    port = settings.get("port", 0)
    parts = {
        "network": router.ready(here),
        "daemon": daemon.running(here),
        "api": bool(port) and daemon.answers(port),
    }
    if settings.get("storage"):
        parts["storage"] = party.running(here, storage.PARTY)
    machines = []
    for record in records(here):
        spec = record.spec()
        machines.append(
            {
                "id": record.id,
                "name": spec.name,
                "state": "running" if machine.running(record) else "off",
                "address": spec.public4,
                "address6": first_address(spec.public6) if spec.public6 else "",
            }
        )
    return {
        "name": name,
        "id": here.id,
        "up": all(parts.values()),
        "endpoint": f"http://127.0.0.1:{port}/v1" if port else "",
        "parts": parts,
        "machines": machines,
    }
