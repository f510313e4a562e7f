"""`lab status`: what there is and what runs."""

from __future__ import annotations

import json
from typing import Any

from bastide.console import say
from lab import daemon, kept, registry, words
from lab.machines import ballast, delay, machine, resolver, router, snapshot, trouble, volume_store
from lab.machines.seed import first_address
from lab.machines.store import records
from lab.place import Place, lab_id
from lab.services import archive, name_server, service, sink, storage


def show(name: str, *, as_json: bool) -> int:
    """Print it. Returns 0 when the lab is up, 3 when it is not (as systemctl does)."""
    found = look(name)
    if as_json:
        say(json.dumps(found, indent=1))
    elif not found["up"] and not found["machines"]:
        say(f"lab '{name}' is not up")
    else:
        dead = ", ".join(part for part, works in found["parts"].items() if not works)
        condition = "up" if found["up"] else f"broken ({dead}), `lab up` repairs it"
        say(f"lab '{name}' ({found['id']}): {condition}, API {found['endpoint']}")
        for one in found["machines"]:
            notes = ["disk filled"] if one["filled"] else []
            notes += [f"snapshots: {', '.join(one['snapshots'])}"] if one["snapshots"] else []
            held = [volume for volume in found["volumes"] if volume["machine"] == one["id"]]
            notes += [f"volumes: {', '.join(map(_volume, held))}"] if held else []
            line = (
                f"  {one['name']:<20} {one['state']:<8} {one['address']:<16} {one['address6']:<24} {'; '.join(notes)}"
            )
            say(line.rstrip())
        if loose := [volume for volume in found["volumes"] if volume["machine"] is None]:
            say(f"  volumes in no machine: {', '.join(map(_volume, loose))}")
        for trouble in found["troubles"]:
            say(f"  {trouble}")
        if found["kept"]:
            say("  kept: `down` refuses until `keep off`")
    return 0 if found["up"] else 3


def look(name: str) -> dict[str, Any]:
    """The lab as JSON: name, id, up, endpoint, what of it works, and the machines."""
    here = registry.find(name)
    if here is None:
        return {
            "name": name,
            "id": lab_id(name),
            "up": False,
            "endpoint": "",
            "machines": [],
            "volumes": [],
            "troubles": [],
            "kept": False,
        }
    settings = registry.read_json(here.folder / "lab.json")
    port = settings.get("port", 0)
    parts = {
        "network": router.ready(here),
        "daemon": daemon.running(here),
        "api": bool(port) and daemon.answers(port),
        "delays": delay.running(here),
        "resolver": resolver.running(here),
        "names": service.running(here, name_server.SERVICE),
        "archive": service.running(here, archive.SERVICE),
    }
    if settings.get("storage"):
        parts["storage"] = service.running(here, storage.SERVICE)
    if settings.get("sink"):
        parts["sink"] = service.running(here, sink.SERVICE)
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
                "filled": ballast.filled(record),
                "snapshots": snapshot.tags(record),
            }
        )
    return {
        "name": name,
        "id": here.id,
        "up": all(parts.values()),
        "endpoint": f"http://127.0.0.1:{port}/v1" if port else "",
        "parts": parts,
        "machines": machines,
        "volumes": [
            {"id": volume.spec.id, "size_gb": volume.spec.size_gb, "machine": volume.machine}
            for volume in volume_store.volumes(here)
        ],
        "troubles": troubles(here),
        "kept": kept.kept(here),
    }


def troubles(here: Place) -> list[str]:
    """What is wrong with the lab's lines on purpose, a sentence each."""
    known = set(trouble.cuts(here))
    lines = []
    for cut in sorted(known):
        back = trouble.Cut(cut.target, cut.source)
        source, target = (name.replace(trouble.EVERYBODY, "everything") for name in (cut.source, cut.target))
        if back not in known:
            lines.append(f"cut: {source} -> {target}, one way")
        elif cut.source != trouble.EVERYBODY and (cut < back or cut.target == trouble.EVERYBODY):
            lines.append(f"cut: {source} <-> {target}")
    for one in trouble.delays(here):
        lines.append(f"slow: {one.one} <-> {one.other}, {words.shown(one.seconds, one.loss, one.rate)} each way")
    return lines


def _volume(found: dict[str, Any]) -> str:
    return f"{found['id']} ({found['size_gb']} GB)"
