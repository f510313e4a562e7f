"""The metadata service at 169.254.169.254, as Hetzner's: each machine gets its own data, known by its address."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from lab.machines import links, seed
from lab.machines.store import Record, records
from lab.place import METADATA, STRANGERS, Place

_PREFIX = "/hetzner/v1"


def serve(here: Place) -> ThreadingHTTPServer:
    """Serve in a thread, from inside the router."""
    listener = links.inside(here.router, lambda: socket.create_server((METADATA, 80), backlog=64))
    server = _Server(here, listener)
    threading.Thread(target=server.serve_forever, daemon=True, name="metadata").start()
    return server


def answer(record: Record, path: str) -> str | None:
    """The text at `path` for this machine; None when there is no such thing."""
    spec = record.spec()
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

    def __init__(self, here: Place, listener: socket.socket) -> None:
        super().__init__((METADATA, 80), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.here = here


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 30
    server_version = "lab"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer one request."""
        address = self.client_address[0]
        caller = next((one for one in records(self.server.here) if one.spec().public4 == address), None)
        text = answer(caller, self.path) if caller else None
        body = (text if text is not None else "not found").encode()
        self.send_response(200 if text is not None else 404)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a request line may carry what a machine was not meant to say."""
