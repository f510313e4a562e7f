"""Runs on the machine: WireGuard. No private key is asked for."""

from __future__ import annotations

import json
import os

from deploys.remote.facts.common import at, output, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deploys.facts.wireguard import Interface, WireguardState


def wireguard(endpoints: list[str]) -> WireguardState:
    """The mesh's interface as it runs, and the packet size of the route to each endpoint."""
    sizes: dict[str, int | None] = {}
    for endpoint in endpoints:
        route = json.loads(output("ip", "-j", "route", "get", endpoint) or "[{}]")[0]
        size = read(f"/sys/class/net/{route.get('dev', '-')}/mtu").strip()
        sizes[endpoint] = int(size) if size else None
    # in a container that of its host, when that has it loaded
    modules = f"/lib/modules/{os.uname().release}"
    known = any("/wireguard.ko" in read(f"{modules}/modules.{kind}") for kind in ("dep", "builtin"))
    return {
        "sizes": sizes,
        "kernel": known or at("/sys/module/wireguard").exists(),
        "running": _interface() if at("/sys/class/net/wg0").exists() else None,
    }


def _interface() -> Interface:
    told = {key: output("wg", "show", "wg0", key).splitlines() for key in ("allowed-ips", "endpoints")}
    allowed, endpoints = (dict(line.split("\t", 1) for line in lines) for lines in told.values())
    addresses = json.loads(output("ip", "-j", "-4", "address", "show", "dev", "wg0") or "[]")
    return {
        "key": output("wg", "show", "wg0", "public-key").strip(),
        "port": int(output("wg", "show", "wg0", "listen-port") or 0),
        "size": int(read("/sys/class/net/wg0/mtu") or 0),
        "addresses": [f"{a['local']}/{a['prefixlen']}" for one in addresses for a in one["addr_info"]],
        "peers": {
            key: {"allowed": sorted(allowed[key].split()), "endpoint": endpoints.get(key, "")} for key in allowed
        },
    }
