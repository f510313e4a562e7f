"""`lab up`: makes or repairs everything a lab is made of. A second run finds it all in place and changes nothing."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bastide.console import say, step
from bastide.errors import LabError
from lab import daemon, doctor, owner, registry
from lab.machines import delay, machine, prober, resolver, router
from lab.machines.driver import Driver
from lab.machines.store import Record, records
from lab.place import OPERATOR4, OPERATOR6, PROBER, Place
from lab.services import archive, name_server, service, sink, storage
from lab.services.storage import Wanted
from lab.upstream import read_upstream

_PROBER_SECONDS = 60.0


@dataclass(frozen=True)
class Order:
    """What `up` is asked for: the API's port and token, the operator's public key, and where to write the answer.

    `storage` asks for object storage, `sink` for what takes mail and webhooks, too.
    """

    port: int
    token: str
    authorized_key: str
    info: Path
    storage: Wanted | None = None
    sink: sink.Wanted | None = None


def up(name: str, order: Order) -> None:
    """Bring the lab up. Raises `LabError` when this machine lacks something, before anything is made."""
    _check(order)
    began = time.monotonic()
    doctor.require()
    upstream = read_upstream()
    with registry.alone(name):
        _check_port(registry.find(name), order.port)
        here = registry.claim(name)
        driver = Driver(here, upstream)
        driver.prepare_images()
        done = []
        if not router.ready(here):
            with step("network and seal"):
                router.make(here, upstream.origins())
                # the cables of running machines went with the old router
                for record in _running(here):
                    machine.replug_public(record)
                # its devices went, too
                delay.restart(here)
            done.append("network")
        elif not delay.running(here):
            delay.restart(here)
            done.append("delays")
        changed_settings = _settings_changed(here, order)
        restart = "network" in done or changed_settings
        if restart or not resolver.running(here):
            resolver.start(here)
            done.append("resolver")
        if name_server.start(here, restart="network" in done):
            done.append("names")
        asleep = [
            record for record in records(here, prober=False) if record.is_wanted_on() and not machine.running(record)
        ]
        for record in asleep:
            with step(f"{record.spec().name}: on again, as before this host went down", quiet_under=0.5):
                machine.start(record)
        with step("API and prober", quiet_under=0.5):
            started = daemon.ensure(here, restart=restart)
            if order.storage:
                started |= storage.ensure(here, order.storage, restart="network" in done)
            if order.sink:
                started |= sink.ensure(here, order.sink, restart="network" in done)
            found, changed = prober.ensure(here, driver, order.authorized_key)
            started |= archive.ensure(here, restart="network" in done)
            daemon.wait(here)
            service.wait(here, name_server.SERVICE)
            if order.storage:
                service.wait(here, storage.SERVICE)
            if order.sink:
                service.wait(here, sink.SERVICE)
            if changed:
                _wait_for_ssh(Record(here, PROBER), found.address)
        _write_info(here, order, found)
    what = "up" if done or asleep or started or changed else "already up"
    say(f"lab '{name}' is {what} ({time.monotonic() - began:.1f} s): API http://127.0.0.1:{order.port}/v1")


def _check(order: Order) -> None:
    if not 1024 <= order.port <= 65535:
        raise LabError(f"port {order.port} cannot be used", "choose one from 1024 to 65535")
    if not re.fullmatch(r"[!-~]{16,256}", order.token):
        raise LabError("the token is not 16 to 256 printable characters without spaces", "see --token-file")
    if not re.fullmatch(r"(ssh-(ed25519|rsa)|ecdsa-\S+|sk-\S+) [A-Za-z0-9+/]+=*( .*)?", order.authorized_key):
        raise LabError("--authorized-key does not hold a public ssh key", "give the file that ends in .pub")
    if not order.info.resolve().parent.is_dir():
        raise LabError(
            f"there is no folder {order.info.resolve().parent}", "give --info a file in a folder that exists"
        )

    if order.storage:
        storage.check(order.storage)
    if order.sink:
        sink.check(order.sink)


def _check_port(here: Place | None, port: int) -> None:
    """Before anything is touched: the port is ours already, or it is free."""
    if here and registry.read_json(here.folder / "lab.json").get("port") == port and daemon.running(here):
        return
    daemon.bind(port).close()


def _settings_changed(here: Place, order: Order) -> bool:
    """Keep port and the token's hash. Returns whether they are other ones than before."""
    wanted: dict[str, Any] = {
        "name": here.name,
        "port": order.port,
        "token_sha256": hashlib.sha256(order.token.encode()).hexdigest(),
        "info": str(order.info.resolve()),
        "storage": order.storage is not None,
        "sink": order.sink is not None,
    }
    path = here.folder / "lab.json"
    before = registry.read_json(path)
    if before != wanted:
        registry.write_json(path, wanted)
    return any(before.get(key) != wanted[key] for key in ("port", "token_sha256"))


def _running(here: Place) -> list[Record]:
    return [record for record in records(here) if machine.running(record)]


def _wait_for_ssh(record: Record, address: str) -> None:
    deadline = time.monotonic() + _PROBER_SECONDS
    while True:
        try:
            with socket.create_connection((address, 22), timeout=1) as connection:
                connection.settimeout(2)
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise LabError(
                f"the prober does not answer ssh at {address}:\n{machine.console(record)}", "run `python -m lab doctor`"
            )
        time.sleep(0.05)


def _write_info(here: Place, order: Order, found: prober.Prober) -> None:
    info: dict[str, Any] = {
        "version": 1,
        "name": here.name,
        "id": here.id,
        "endpoint": f"http://127.0.0.1:{order.port}/v1",
        "public4": str(here.range4),
        "public6": str(here.range6),
        "resolver": name_server.SERVICE.address(here),
        "operator": [OPERATOR4, OPERATOR6],
        "prober": {
            "name": prober.NAME,
            "user": "root",
            "address": found.address,
            "address6": found.address6,
            "host_key": found.host_key,
        },
        "parties": {"archive": archive.describe(here)},
    }
    if order.storage:
        info["storage"] = {"endpoint": storage.endpoint(here), "certificate": storage.certificate(here)}
    if order.sink:
        info["sink"] = {"host": sink.SERVICE.address(here), "certificate": sink.certificate(here)}
    text = json.dumps(info, indent=1) + "\n"
    if order.info.is_file() and not order.info.is_symlink() and order.info.read_text() == text:
        return
    work = order.info.with_name(f".{order.info.name}.{os.getpid()}")
    work.unlink(missing_ok=True)
    try:
        # the folder is the user's, and we are root: a new file or none, never one that somebody has put there
        with os.fdopen(os.open(work, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "w") as file:
            file.write(text)
    except OSError as error:
        raise LabError(
            f"cannot write {order.info}: {error.strerror}", "give --info a file in a folder that exists"
        ) from error
    owner.give(work)
    work.replace(order.info)
