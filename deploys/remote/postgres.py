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

from bastide.patroni import ClusterState, Member, ServerState, cluster_state, server_state
from deploys.remote.change import back, forget, write
from deploys.remote.refusal import refusal

_SECONDS = 90
_UNIT, _IN_VAIN = "patroni.service", 3
# /usr/bin/psql is Debian's wrapper in Perl around it, which takes three times as long (pg_wrapper(1))
_PSQL = "/usr/lib/postgresql/17/bin/psql"
# settings that a standby must not have below its leader's (PostgreSQL 17 manual, 26.4.2)
_LEADER_FIRST = (
    *("max_connections", "max_worker_processes", "max_wal_senders"),
    *("max_prepared_transactions", "max_locks_per_transaction"),
)
# No statement of ours is to be read anywhere with its text, which may hold a verifier: not in the log, whatever that is
# told to keep (PostgreSQL 17 manual, 19.8), not in the statistics of statements, not in the list of sessions. pgaudit
# logs it all the same, and leaves out what is kept of a password.
# And no name is looked up where somebody else may make things (5.10.3).
_QUIET = (
    "SET search_path = pg_catalog, pg_temp; SET client_min_messages = error; SET track_activities = off;"
    " SET pg_stat_statements.track = none; SET pg_stat_statements.track_utility = off;"
    " SET log_statement = none; SET log_min_duration_statement = -1; SET log_min_duration_sample = -1;"
    " SET log_transaction_sample_rate = 0; SET log_min_error_statement = panic; SET log_statement_stats = off;"
    " SET debug_print_parse = off; SET debug_print_rewritten = off; SET debug_print_plan = off;"
)
# PostgreSQL 17 manual, F.32.4; where the extension is not there yet nothing is kept
_FORGET = """DO $$ BEGIN
  IF to_regclass('public.pg_stat_statements') IS NOT NULL THEN
    PERFORM public.pg_stat_statements_reset(userid, dbid, queryid) FROM public.pg_stat_statements
      WHERE userid = 10 AND query ~* 'scram-sha-256\\$[0-9]';
  END IF;
END $$"""


def share(plan: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Put the dynamic configuration in place, whole. A pause is nothing that a stack file says: it stays."""
    if _call(plan, "GET", "/config").get("pause"):
        wanted = {**wanted, "pause": True}
    _call(plan, "PUT", "/config", wanted)
    _wait(plan, "etcd to hold the new settings", lambda: _call(plan, "GET", "/config") == wanted)


def roll(plan: dict[str, Any], leads: bool, whole: bool, change: dict[str, Any] | None = None) -> None:
    """Restart this server, if it is its turn; a leader hands over first when there is anybody to hand over to.

    `whole`: Patroni with it, whose program is another one than the installed one. `change` (as
    `deploys/remote/change.py` has a plan) is written right before, and taken back when the server is not well with it:
    the others have not changed by then.

    A value that a standby may not have below its leader's (PostgreSQL 17 manual, 26.4.2) is lowered by the leader
    first, in its place: whoever takes over would still have the higher one.
    """
    _must_not_be_paused(plan)
    _wait(plan, "all other servers to be well", lambda: not _unwell(plan))
    if _me(plan).leads != leads:
        return
    lowered = _lowered(_server(plan))
    if lowered and not leads and _lowered(_server({**plan, "url": _leaders_url(plan)})):
        return  # the leader's turn comes first
    if leads and not lowered and any(member.streams for member in _cluster(plan).members):
        _hand_over(plan, "")
    if change:
        _changed(plan, change)
    elif whole:
        _restart_patroni(plan)
    else:
        _call(plan, "POST", "/restart", {})
    _wait_until_well(plan)
    # the next one may hand over to this one
    _wait(plan, "a standby to be in sync", lambda: _is_synced(plan))


def leads(plan: dict[str, Any], *, alone: bool = True) -> bool:
    """Whether this machine leads; with `alone=False` only if there is anybody beside it. Raises `OSError` when its
    Patroni does not answer."""
    return _me(plan).leads and (alone or len(_cluster(plan).members) > 1)


def switchover(plan: dict[str, Any], to: str) -> None:
    """Hand the leadership from this machine to another one; `to` names it, "" takes the best."""
    _must_not_be_paused(plan)
    if not _me(plan).leads:
        _fail(f"{plan['name']} does not lead any more; next: `make cluster`, and again")
    if unwell := _unwell(plan):
        _fail(f"{', '.join(unwell)} is not well: nothing is handed over; next: `make cluster`")
    _hand_over(plan, to)


def reinit(plan: dict[str, Any], force: bool) -> None:
    """Make this machine's copy anew from the leader's. Refused for a leader, without one, and for the only copy in sync
    beside the leader's unless `force`."""
    if _me(plan).leads:
        _fail(f"{plan['name']} leads: its data are the ones to copy; next: `make switchover`, then again")
    cluster = _cluster(plan)
    if not cluster.leader:
        _fail("nobody leads: these data may be the last ones; next: `make cluster`, docs/how-to/lose-a-server.md")
    in_sync = [member.name for member in cluster.members if member.in_sync and member.streams]
    if in_sync == [plan["name"]] and not force:
        _fail(
            f"{plan['name']} is the only copy in sync with {cluster.leader}: while it is made anew there is none; "
            f"next: leave it as it is, or `make reinit machine={plan['name']} force=1`"
        )
    before = _started(plan)
    _call(plan, "POST", "/reinitialize", {"force": True})
    _wait(
        plan,
        "the new copy to follow the leader",
        lambda: _me(plan).streams and _started(plan) not in ("", before),
        seconds=plan.get("seconds", 3600),
    )


def pause(plan: dict[str, Any], wanted: bool) -> None:
    """Let Patroni decide nothing any more, or again; ends when every member knows."""
    _call(plan, "PATCH", "/config", {"pause": True if wanted else None})
    for member in [one for one in _cluster(plan).members if one.well]:

        def knows(url: str = member.base_url) -> bool:
            return _server({**plan, "url": url}).paused == wanted

        _wait(plan, f"{member.name} to know", knows, seconds=30)


def execute(statements: list[list[str]]) -> None:
    """Run statements, each in its database, by the socket as the superuser; stops at the first that fails."""
    for database, text in statements:
        words = (_PSQL, "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", f"dbname='{database}' user=postgres", "-f", "-")
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


def put_right(data: str, files: dict[str, str]) -> None:
    """Write files of a server's own (names in `data`, the data directory), and have the server read what stands there.
    And have it forget what the superuser's statements held of passwords.

    As the account that they belong to: it could have root write elsewhere.
    """
    for name, text in files.items():
        words = ("sh", "-c", 'umask 077; cat > "$1.new" && mv "$1.new" "$1"', "sh", f"{data}/{name}")
        subprocess.run(("runuser", "-u", "postgres", "--", *words), input=text, text=True, check=True)
    execute([["postgres", "SELECT pg_reload_conf()"], ["postgres", _FORGET]])


def _changed(plan: dict[str, Any], change: dict[str, Any]) -> None:
    """Patroni, and so its server, started with what is new of how it is started; or as before, and an end."""
    began = time.time()
    write(change)
    subprocess.run(("systemctl", "daemon-reload"), check=True)
    try:
        _restart_patroni(plan)
        _wait_until_well(plan)
    except SystemExit:
        print(refusal(_UNIT, began), back(change["name"]), sep="\n", file=sys.stderr)
        # how often it ended is counted anew
        subprocess.run(("systemctl", "reset-failed", _UNIT), capture_output=True, check=False)
        _restart_patroni(plan)
        _wait_until_well(plan)
        raise
    forget(change["name"])


def _restart_patroni(plan: dict[str, Any]) -> None:
    """It stops its server, and starts it when it is back."""
    before = _started(plan)
    done = subprocess.run(("systemctl", "restart", _UNIT), capture_output=True, text=True, check=False)
    if done.returncode:
        _fail(done.stderr.strip())
    _wait(plan, "this server to be started again", lambda: _started(plan) not in ("", before))


def _wait_until_well(plan: dict[str, Any]) -> None:
    _wait(plan, "this server to be well again", lambda: not _unwell(plan) and not _me(plan).pending_restart)


def _ended_by_itself() -> bool:
    """Whether systemd has started Patroni anew again and again (systemd.service(5), NRestarts)."""
    shown = subprocess.run(
        ("systemctl", "show", "-P", "NRestarts", _UNIT), capture_output=True, text=True, check=False
    ).stdout.strip()
    return shown.isdigit() and int(shown) >= _IN_VAIN


def _cluster(plan: dict[str, Any]) -> ClusterState:
    """What this machine's Patroni says of all. Raises `OSError` when it says nothing of the kind."""
    if (seen := cluster_state(_call(plan, "GET", "/cluster"))) is None:
        raise OSError("Patroni names no members")
    return seen


def _server(plan: dict[str, Any]) -> ServerState:
    """What a Patroni says of its own server. Raises `OSError` when it says nothing of the kind."""
    if (seen := server_state(_call(plan, "GET", "/patroni"))) is None:
        raise OSError("Patroni does not speak of its server")
    return seen


def _me(plan: dict[str, Any]) -> Member:
    return _cluster(plan).member(plan["name"]) or Member(plan["name"], role="", state="missing")


def _unwell(plan: dict[str, Any]) -> list[str]:
    """Servers that do not run or stream; all of them while nobody leads."""
    return [member.name for member in _cluster(plan).unwell]


def _started(plan: dict[str, Any]) -> str:
    """When this machine's server was started; "" while Patroni is in the midst of something."""
    try:
        return _server(plan).started
    except OSError:
        return ""


def _leaders_url(plan: dict[str, Any]) -> str:
    """The leader's Patroni: what it says of itself is newer than what it told etcd."""
    return next(member.base_url for member in _cluster(plan).members if member.leads)


def _lowered(own: ServerState) -> list[str]:
    """Settings that wait for a restart and that the leader must lower first."""
    return [name for name in _LEADER_FIRST if name in own.pending and _falls(*own.pending[name])]


def _falls(before: str, after: str) -> bool:
    try:
        return int(after) < int(before)
    except ValueError:
        return False


def _hand_over(plan: dict[str, Any], to: str) -> None:
    _wait(plan, "a standby to be in sync", lambda: _is_synced(plan))
    _call(plan, "POST", "/switchover", {"leader": plan["name"], **({"candidate": to} if to else {})})
    _wait(plan, "the new leader", lambda: not _me(plan).leads and not _unwell(plan))


def _is_synced(plan: dict[str, Any]) -> bool:
    """Whether somebody could take over without a loss, where that is promised and somebody follows."""
    members = _cluster(plan).members
    if not _call(plan, "GET", "/config").get("synchronous_mode") or len(members) < 2:
        return True
    return any(member.in_sync and member.streams for member in members)


def _must_not_be_paused(plan: dict[str, Any]) -> None:
    if _cluster(plan).paused:
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
            if _ended_by_itself():
                problem = " (Patroni ends by itself, again and again)"
                break
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
