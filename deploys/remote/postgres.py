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
# settings that a standby must not have below its leader's (PostgreSQL 17 manual, 26.4.2)
_LEADER_FIRST = (
    *("max_connections", "max_worker_processes", "max_wal_senders"),
    *("max_prepared_transactions", "max_locks_per_transaction"),
)
# what fails is not to stand in the log with its text, which may hold a verifier
_QUIET = "SET client_min_messages = error; SET log_min_error_statement = panic; SET log_statement = none;"


def share(plan: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Put the dynamic configuration in place, whole. A pause is nothing that a stack file says: it stays."""
    if _call(plan, "GET", "/config").get("pause"):
        wanted = {**wanted, "pause": True}
    _call(plan, "PUT", "/config", wanted)
    _wait(plan, "etcd to hold the new settings", lambda: _call(plan, "GET", "/config") == wanted)


def roll(plan: dict[str, Any], leads: bool) -> None:
    """Restart this server, if it is its turn; a leader hands over first when there is anybody to hand over to.

    A value that a standby may not have below its leader's (PostgreSQL 17 manual, 26.4.2) is lowered by the leader
    first, in its place: whoever takes over would still have the higher one.
    """
    _must_not_be_paused(plan)
    _wait(plan, "all other servers to be well", lambda: not _unwell(plan))
    if _leads(_me(plan)) != leads:
        return
    lowered = _lowered(_call(plan, "GET", "/patroni"))
    if lowered and not leads and _lowered(_call({**plan, "url": _leaders_url(plan)}, "GET", "/patroni")):
        return  # the leader's turn comes first
    if leads and not lowered and any(m["state"] == "streaming" for m in _members(plan)):
        _hand_over(plan, "")
    _call(plan, "POST", "/restart", {})
    _wait(plan, "this server to be well again", lambda: not _unwell(plan) and not _me(plan).get("pending_restart"))
    # the next one may hand over to this one
    _wait(plan, "a standby to be in sync", lambda: _is_synced(plan))


def switchover(plan: dict[str, Any], to: str) -> None:
    """Hand the leadership from this machine to another one; `to` names it, "" takes the best."""
    _must_not_be_paused(plan)
    if not _leads(_me(plan)):
        _fail(f"{plan['name']} does not lead any more; next: `make cluster`, and again")
    if unwell := _unwell(plan):
        _fail(f"{', '.join(unwell)} is not well: nothing is handed over; next: `make cluster`")
    _hand_over(plan, to)


def reinit(plan: dict[str, Any], force: bool) -> None:
    """Make this machine's copy anew from the leader's. Refused for a leader, without one, and for the only copy in sync
    beside the leader's unless `force`."""
    own = _me(plan)
    if _leads(own):
        _fail(f"{plan['name']} leads: its data are the ones to copy; next: `make switchover`, then again")
    leader = next((m for m in _members(plan) if _leads(m) and m["state"] == "running"), None)
    if leader is None:
        _fail("nobody leads: these data may be the last ones; next: `make cluster`, docs/how-to/lose-a-server.md")
    in_sync = [m["name"] for m in _members(plan) if m["role"] == "sync_standby" and m["state"] == "streaming"]
    if in_sync == [plan["name"]] and not force:
        _fail(
            f"{plan['name']} is the only copy in sync with {leader['name']}: while it is made anew there is none; "
            f"next: leave it as it is, or `make reinit machine={plan['name']} force=1`"
        )
    before = _own(plan).get("postmaster_start_time")
    _call(plan, "POST", "/reinitialize", {"force": True})
    _wait(
        plan,
        "the new copy to follow the leader",
        lambda: _me(plan)["state"] == "streaming" and _own(plan).get("postmaster_start_time") not in (None, before),
        seconds=plan.get("seconds", 3600),
    )


def pause(plan: dict[str, Any], wanted: bool) -> None:
    """Let Patroni decide nothing any more, or again; ends when every member knows."""
    _call(plan, "PATCH", "/config", {"pause": True if wanted else None})
    for member in [m for m in _members(plan) if m["state"] in ("running", "streaming")]:
        url = str(member["api_url"]).removesuffix("/patroni")

        def knows(url: str = url) -> bool:
            return bool(_call({**plan, "url": url}, "GET", "/patroni").get("pause")) == wanted

        _wait(plan, f"{member['name']} to know", knows, seconds=30)


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


def _leads(member: dict[str, Any]) -> bool:
    return member["role"] in ("leader", "primary")


def _own(plan: dict[str, Any]) -> dict[str, Any]:
    """What this machine's Patroni says of itself; nothing while it is in the midst of something."""
    try:
        found: dict[str, Any] = _call(plan, "GET", "/patroni")
    except OSError:
        return {}
    return found


def _leaders_url(plan: dict[str, Any]) -> str:
    """The leader's Patroni: what it says of itself is newer than what it told etcd."""
    return next(str(m["api_url"]).removesuffix("/patroni") for m in _members(plan) if _leads(m))


def _lowered(own: dict[str, Any]) -> list[str]:
    """Settings that wait for a restart and that the leader must lower first."""
    reasons = own.get("pending_restart_reason", {})
    return [name for name in _LEADER_FIRST if name in reasons and _falls(reasons[name])]


def _falls(values: dict[str, Any]) -> bool:
    try:
        return int(values["new_value"]) < int(values["old_value"])
    except (KeyError, TypeError, ValueError):
        return False


def _hand_over(plan: dict[str, Any], to: str) -> None:
    _wait(plan, "a standby to be in sync", lambda: _is_synced(plan))
    _call(plan, "POST", "/switchover", {"leader": plan["name"], **({"candidate": to} if to else {})})
    _wait(plan, "the new leader", lambda: not _leads(_me(plan)) and not _unwell(plan))


def _is_synced(plan: dict[str, Any]) -> bool:
    """Whether somebody could take over without a loss, where that is promised and somebody follows."""
    members = _members(plan)
    if not _call(plan, "GET", "/config").get("synchronous_mode") or len(members) < 2:
        return True
    return any(m["role"] == "sync_standby" and m["state"] == "streaming" for m in members)


def _must_not_be_paused(plan: dict[str, Any]) -> None:
    if _call(plan, "GET", "/cluster").get("pause"):
        _fail("the cluster is paused: nothing is restarted or handed over; next: `make resume`, then again")


def _wait(plan: dict[str, Any], what: str, until: Any, *, seconds: float = _SECONDS) -> None:  # noqa: ANN401
    deadline = time.monotonic() + seconds
    problem = ""
    while time.monotonic() < deadline:
        try:
            if until():
                return
        except OSError as error:
            problem = f" ({error})"
        time.sleep(0.3)
    _fail(f"not within {seconds:g} s: {what}{problem}; next: `make cluster`, `journalctl -u patroni` on {plan['name']}")


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
