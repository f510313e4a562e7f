"""The lab's daemon: the Hetzner Cloud API on loopback, the metadata service and the proxy to the package mirrors.

It holds no state of its own and may be killed at any time: machines run on, `lab up` starts it again.
"""

from __future__ import annotations

import http.client
import logging
import socket
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from bastide.console import tail_of
from bastide.errors import LabError
from lab import admin_token, registry
from lab.machines import metadata, proxy
from lab.machines.cgroups import open_tree
from lab.machines.driver import Driver
from lab.machines.spawn import python, spawn
from lab.place import Place
from lab.services import sink

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from lab.cloud.faults import Faults

_GROUP = "daemon"
_START_SECONDS = 30.0


def serve(name: str) -> int:
    """Be the daemon of the lab `name`, which was made by `up`. Returns when it is told to stop (SIGTERM)."""
    here = registry.find(name)
    settings = registry.read_json(here.folder / "lab.json") if here else {}
    if here is None or not settings:
        raise LabError(f"there is no lab '{name}'", "make it with `python -m lab up`")
    # imported here: `up` uses this module, too, and has no use for a web server
    import uvicorn

    from lab.cloud.faults import Faults

    faults = Faults()
    listener = bind(settings["port"])
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    proxy.serve(here)
    metadata.serve(here, faults.metadata)
    app = _app(here, settings, faults)
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="auto", timeout_graceful_shutdown=5)
    uvicorn.Server(config).run(sockets=[listener])
    return 0


def ensure(here: Place, *, restart: bool) -> bool:
    """Start the daemon when it does not run or does not answer, or when `restart`. Returns whether it was started.

    Does not wait for it: see `wait`.
    """
    tree = open_tree(here.cgroup)
    port = registry.read_json(here.folder / "lab.json")["port"]
    if not restart and tree.populated(_GROUP) and answers(port):
        return False
    tree.kill(_GROUP)
    tree.make_fresh(_GROUP)
    log = here.folder / "daemon.log"
    spawn(python("lab", "--name", here.name, "daemon"), procs=tree.procs(_GROUP), log=log)
    return True


def wait(here: Place) -> None:
    """Wait until the API answers. Raises `LabError` with the end of its log when it does not."""
    tree = open_tree(here.cgroup)
    port = registry.read_json(here.folder / "lab.json")["port"]
    began = time.monotonic()
    while not answers(port):
        waited = time.monotonic() - began
        if waited > _START_SECONDS or (waited > 1 and not tree.populated(_GROUP)):
            log = here.folder / "daemon.log"
            raise LabError(f"the lab's API does not come up:\n{tail_of(log.read_text())}", f"the whole log: {log}")
        time.sleep(0.02)


def running(here: Place) -> bool:
    """Does the daemon's process live?"""
    return open_tree(here.cgroup, make=False).populated(_GROUP)


def answers(port: int) -> bool:
    """Does something speak HTTP there?"""
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        connection.request("GET", "/v1/")
        connection.getresponse().read()
        connection.close()
    except (OSError, http.client.HTTPException):
        return False
    return True


def bind(port: int) -> socket.socket:
    """Take the API's port. Raises `LabError` when it belongs to somebody else."""
    try:
        return socket.create_server(("127.0.0.1", port), backlog=128)
    except OSError as error:
        raise LabError(
            f"port {port} on 127.0.0.1 cannot be had: {error.strerror}",
            f"see who has it with `ss -ltnp sport = {port}`, end that program or choose another port with --port",
        ) from error


def _app(here: Place, settings: dict[str, Any], faults: Faults) -> Starlette:
    from lab.cloud.app import create_app

    admin = admin_token.digest(here)
    taker = partial(sink.ask, here) if settings.get("sink") else None
    state = here.folder / "cloud.json"
    return create_app(state, settings["token_sha256"], Driver(here), admin_sha256=admin, sink=taker, faults=faults)
