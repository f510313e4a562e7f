"""The metadata service, as Hetzner's: at 169.254.169.254, and at fe80::a9fe:a9fe of each machine's cable.

Each machine gets its own data, known by its address over IPv4, and by the cable that it asks on over IPv6.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address, ip_network
from typing import Any

from lab.machines import links, seed
from lab.machines.store import Record, records
from lab.place import METADATA, STRANGERS, Place

Otherwise = Callable[[str], Mapping[str, str]]
"""A server's name to the keys that it is told otherwise now than when it was made."""
_PREFIX = "/hetzner/v1"


def serve(here: Place, otherwise: Otherwise) -> tuple[ThreadingHTTPServer, ...]:
    """Serve in threads, from inside the router, whose rules let nothing else in at these addresses."""
    four = links.inside(here.router, lambda: socket.create_server((METADATA, 80), backlog=64))
    # a cable comes and goes with its machine: the socket is for all of them
    six = links.inside(here.router, lambda: socket.create_server(("::", 80), family=socket.AF_INET6, backlog=64))
    servers = tuple(_Server(here, listener, otherwise) for listener in (four, six))
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True, name="metadata").start()
    return servers


def answer(record: Record, path: str, otherwise: Otherwise = lambda name: {}) -> str | None:
    """The text at `path` for this machine; None when there is no such thing."""
    spec = record.spec()
    spec = replace(spec, metadata={**spec.metadata, **otherwise(spec.name)})
    path = path.rstrip("/")
    if record.id >= STRANGERS:
        # another provider's service, which knows nothing of Hetzner's paths nor of its places
        return str(spec.id) if path == "/latest/meta-data/instance-id" else None
    if path == f"{_PREFIX}/metadata":
        return seed.metadata_document(spec)
    if path == f"{_PREFIX}/userdata":
        return spec.user_data or None
    if path == f"{_PREFIX}/metadata/private-networks":
        return seed.private_networks(record.plugs())
    if path == f"{_PREFIX}/metadata/network-config":
        return "\n".join(["version: 1", "config:", *seed.network_config(spec)]) + "\n"
    return seed.metadata_keys(spec).get(path.removeprefix(f"{_PREFIX}/metadata/"))


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, here: Place, listener: socket.socket, otherwise: Otherwise) -> None:
        super().__init__((METADATA, 80), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.here = here
        self.otherwise = otherwise


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 30
    server_version = "lab"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer one request."""
        caller = next(filter(self._asks, records(self.server.here)), None)
        text = answer(caller, self.path, self.server.otherwise) if caller else None
        body = (text if text is not None else "not found").encode()
        self.send_response(200 if text is not None else 404)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _asks(self, record: Record) -> bool:
        peer: tuple[Any, ...] = self.client_address
        address, spec = peer[0], record.spec()
        if ":" not in address:
            return bool(spec.public4 == address)
        if not peer[3]:
            # a machine whose own link-local address is not yet sure to be alone asks from its public one
            return bool(spec.public6) and ip_address(address) in ip_network(spec.public6, strict=False)
        cable: str = links.inside(self.server.here.router, lambda: socket.if_indextoname(peer[3]))
        return record.port == cable

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a request line may carry what a machine was not meant to say."""
