"""Runs on a site as root: has the clients of its PgBouncer wait while the leadership of the databases moves.

Standard library only, since it is sent to the machine as it stands here. A transaction that is at work is let end; new
ones wait in the pool, see no error, and go on with whoever leads then.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
from typing import Any

from bastide.patroni import cluster_state
from deploys.remote.change import back, forget, write
from deploys.remote.refusal import refusal

_ROUTER = "haproxy.service"
_ASK_SECONDS = 3
_TRIES = 3


def wait_out(plan: dict[str, Any]) -> None:
    """Pause the pools, and end; they go on by themselves when somebody else leads, or after a while.

    `plan`: databases (names of pools), admin (words of psql to PgBouncer's own console), leader (who leads now), url
    (of this machine's Patroni), ca, port (where this machine's HAProxy leads to the leader), drain (seconds that
    transactions at work have to end), longest (seconds after which the pools go on whatever happened). What cannot be
    paused is said, and is no error: it is as it was without this.
    """
    heard, told = os.pipe()
    if os.fork():
        os.close(told)
        with os.fdopen(heard) as answer:
            print(answer.read().strip())
        return
    # this part outlives the command: nobody waits for its outputs
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    os.close(heard)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    try:
        # if this is killed the pools go on all the same
        for name in plan["databases"]:
            _later(plan, f'RESUME "{name}"')
        paused = _pause(plan)
        os.write(told, b"paused" if paused else b"not paused: transactions go on for longer than they may")
        os.close(told)
        if paused:
            _until_led(plan)
    finally:
        for name in plan["databases"]:
            _resume(plan, name)
        os._exit(0)


def restart_router(plan: dict[str, Any], change: dict[str, Any] | None = None) -> None:
    """Start HAProxy anew while the clients of the pool wait: all that goes through it ends with it.

    `plan`: as `wait_out` has it, but for the leader. `change` (as `deploys/remote/change.py` has a plan) is written
    right before, and taken back when HAProxy does not lead to the leader with it. One that does not run is not started.
    """
    began = time.time()
    if change:
        write(change)
    if problem := _systemctl("daemon-reload"):
        sys.exit(problem)
    if not _systemctl("-q", "is-active", _ROUTER):
        _restart_while_clients_wait(plan, change, began)
    if change:
        forget(change["name"])


def _restart_while_clients_wait(plan: dict[str, Any], change: dict[str, Any] | None, began: float) -> None:
    for name in plan["databases"]:
        _later(plan, f'RESUME "{name}"')
    try:
        if not _pause(plan):
            print("not paused: transactions go on for longer than they may, and are cut off")
        problem = _restarted(plan)
        if problem and change:
            problem = f"{problem}\n{refusal(_ROUTER, began)}\n{back(change['name'])}"
            if still := _restarted(plan):
                problem += f"\nAnd then: {still}"
    finally:
        for name in plan["databases"]:
            _resume(plan, name)
    if problem:
        sys.exit(problem)


def _restarted(plan: dict[str, Any]) -> str:
    """Restart HAProxy; why it does not work then, or "". It has to lead to whoever leads, where somebody does."""
    if problem := _systemctl("restart", _ROUTER):
        return problem
    deadline = time.monotonic() + plan["longest"]
    while time.monotonic() < deadline:
        leader = _leader(plan)
        if not leader or _leads_to(plan) == {leader}:
            return _systemctl("is-active", _ROUTER)
        time.sleep(0.1)
    return f"{_ROUTER} does not lead to the leader of the databases within {plan['longest']:g} s"


def _systemctl(*words: str) -> str:
    """Why it did not go well, or ""."""
    done = subprocess.run(("systemctl", *words), capture_output=True, text=True, check=False)
    said = done.stderr.strip() or done.stdout.strip()
    return (said or f"systemctl {' '.join(words)} ended with {done.returncode}") if done.returncode else ""


def _later(plan: dict[str, Any], command: str) -> None:
    """Have systemd say it to the console when nobody can be at work here any more."""
    seconds = int(plan["drain"] + plan["longest"]) + 10
    words = ("systemd-run", "-q", "--collect", f"--on-active={seconds}", *plan["admin"], "-c", command)
    subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False)


def _resume(plan: dict[str, Any], name: str) -> None:
    for _ in range(_TRIES):
        with contextlib.suppress(OSError):
            if _console(plan, f'RESUME "{name}"').wait() == 0:
                return
        time.sleep(0.2)


def _pause(plan: dict[str, Any]) -> bool:
    waiting = [_console(plan, f'PAUSE "{name}"') for name in plan["databases"]]
    deadline = time.monotonic() + plan["drain"]
    for one in waiting:
        try:
            one.wait(max(deadline - time.monotonic(), 0.01))
        except subprocess.TimeoutExpired:
            one.kill()
    return all(one.returncode == 0 for one in waiting)


def _until_led(plan: dict[str, Any]) -> None:
    """Until somebody else leads with a server that runs, and HAProxy leads there and nowhere else.

    It looks every 0.1 to 1 s: one that still leads to the earlier leader gives a server that takes no writes any more.
    """
    deadline = time.monotonic() + plan["longest"]
    while time.monotonic() < deadline:
        leader = _leader(plan)
        if leader not in ("", plan["leader"]) and _leads_to(plan) == {leader}:
            return
        time.sleep(0.1)


def _leader(plan: dict[str, Any]) -> str:
    """Who leads by this machine's Patroni; "" for nobody, and where it does not answer."""
    words = ("curl", "-sf", "-m", str(_ASK_SECONDS), "--cacert", plan["ca"], f"{plan['url']}/cluster")
    said = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    try:
        seen = cluster_state(json.loads(said))
    except ValueError:
        return ""
    return seen.leader if seen else ""


def _leads_to(plan: dict[str, Any]) -> set[str]:
    """Whom HAProxy leads to now, by the names on the certificates: of two it takes one after the other."""
    context = ssl.create_default_context(cafile=plan["ca"])
    context.check_hostname = False
    found = set()
    for _ in range(_TRIES):
        try:
            with socket.create_connection(("127.0.0.1", plan["port"]), _ASK_SECONDS) as plain:
                # PostgreSQL 17 manual, 53.2.11: a request for TLS comes before it
                plain.sendall(struct.pack("!II", 8, 80877103))
                if plain.recv(1) != b"S":
                    return set()
                with context.wrap_socket(plain) as line:
                    shown: Any = line.getpeercert() or {}
        except OSError:
            return set()
        found |= {value for part in shown.get("subject", ()) for key, value in part if key == "commonName"}
    return found


def _console(plan: dict[str, Any], command: str) -> subprocess.Popen[bytes]:
    silent = subprocess.DEVNULL
    words = [*plan["admin"], "-c", command]
    return subprocess.Popen(words, stdin=silent, stdout=silent, stderr=silent, cwd="/", close_fds=True)
