"""Runs on the machine as root: changes the database cluster through Patroni's API, or its leader through the socket.

Standard library only, since it is sent to the machine as it stands here. Secrets come over standard input. `plan`: url
(of this machine's Patroni), name (of its member), folder (of certificates), password (of the API).
"""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any, NoReturn

_SECONDS = 90
# what fails is not to stand in the log with its text, which may hold a verifier
_QUIET = "SET client_min_messages = error; SET log_min_error_statement = panic; SET log_statement = none;"


def share(plan: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Put the dynamic configuration in place, whole."""
    _call(plan, "PUT", "/config", wanted)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if _call(plan, "GET", "/config") == wanted:
            return
        time.sleep(0.3)
    _fail("etcd does not hold the new settings")


def roll(plan: dict[str, Any], leads: bool) -> None:
    """Restart this server, if it is its turn; a leader hands over first when there is anybody to hand over to."""
    _wait(plan, "all other servers to be well", lambda: not _unwell(plan))
    own = _me(plan)
    if (own["role"] in ("leader", "primary")) != leads:
        return
    if leads:
        candidates = [m["name"] for m in _members(plan) if m["name"] != plan["name"] and m["state"] == "streaming"]
        if candidates:
            _call(plan, "POST", "/switchover", {"leader": plan["name"]})
            _wait(plan, "the new leader", lambda: _me(plan)["role"] not in ("leader", "primary") and not _unwell(plan))
    _call(plan, "POST", "/restart", {})
    _wait(plan, "this server to be well again", lambda: not _unwell(plan) and not _me(plan).get("pending_restart"))


def switchover(plan: dict[str, Any]) -> None:
    """Hand the leadership from this machine to another one, if it is here."""
    if _me(plan)["role"] not in ("leader", "primary"):
        return
    _wait(plan, "all other servers to be well", lambda: not _unwell(plan))
    _call(plan, "POST", "/switchover", {"leader": plan["name"]})
    _wait(plan, "the new leader", lambda: _me(plan)["role"] not in ("leader", "primary") and not _unwell(plan))


def execute(statements: list[list[str]]) -> None:
    """Run statements, each in its database, by the socket as the superuser; stops at the first that fails."""
    for database, text in statements:
        words = ("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", f"dbname='{database}' user=postgres", "-f", "-")
        done = subprocess.run(
            ("runuser", "-u", "postgres", "--", *words),
            input=f"{_QUIET}\n{text};\n",
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            # what psql quotes of the statement may hold a verifier
            reason = next((line for line in done.stderr.splitlines() if "ERROR" in line), "psql failed")
            _fail(f"{database}: {reason}")


def _members(plan: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = _call(plan, "GET", "/cluster")["members"]
    return found


def _me(plan: dict[str, Any]) -> dict[str, Any]:
    return next((m for m in _members(plan) if m["name"] == plan["name"]), {"role": "", "state": "missing"})


def _unwell(plan: dict[str, Any]) -> list[str]:
    """Servers that do not run or stream; all of them while nobody leads."""
    members = _members(plan)
    if not any(m["role"] in ("leader", "primary") and m["state"] == "running" for m in members):
        return [m["name"] for m in members]
    return [m["name"] for m in members if m["state"] not in ("running", "streaming")]


def _wait(plan: dict[str, Any], what: str, until: Any) -> None:  # noqa: ANN401
    deadline = time.monotonic() + _SECONDS
    problem = ""
    while time.monotonic() < deadline:
        try:
            if until():
                return
        except OSError as error:
            problem = f" ({error})"
        time.sleep(0.3)
    _fail(f"not within {_SECONDS} s: {what}{problem}")


def _call(plan: dict[str, Any], method: str, path: str, body: object = None) -> Any:  # noqa: ANN401
    folder = plan["folder"]
    context = ssl.create_default_context(cafile=f"{folder}/ca.crt")
    context.load_cert_chain(f"{folder}/server.crt", f"{folder}/server.key")
    request = urllib.request.Request(plan["url"] + path, method=method)  # noqa: S310 - https, our own
    word = base64.b64encode(f"patroni:{plan['password']}".encode()).decode()
    request.add_header("Authorization", f"Basic {word}")
    data = None if body is None else json.dumps(body).encode()
    deadline = time.monotonic() + 10
    while True:
        try:
            with urllib.request.urlopen(request, data, timeout=_SECONDS, context=context) as answer:  # noqa: S310
                text = answer.read().decode()
            break
        except urllib.error.HTTPError as error:
            # a Patroni that was just told to reload still has its earlier password
            if error.code == 401 and time.monotonic() < deadline:
                time.sleep(0.3)
                continue
            _fail(f"Patroni answers {error.code} to {method} {path}: {error.read().decode()[:300]}")
    try:
        return json.loads(text)
    except ValueError:
        return text


def _fail(problem: str) -> NoReturn:
    print(problem, file=sys.stderr)
    sys.exit(1)
