"""Runs on a machine as root, after connections.py, in its namespace: what a server, the pool and HAProxy really go by.

What runs is asked, not its file: PostgreSQL, PgBouncer and HAProxy each say what they hold in memory. Where nobody says
it (rules of access), a file that was changed after it was last read is told. Reads only. No value of a setting that
may hold a secret, and no line of a log, leaves the machine.
"""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.verify.probes.remote.connections import ANSWER_SECONDS, output
    from tests.verify.probes.remote.postgres_server import sql

# the log of a month has a million lines
_LOG_SECONDS = 120
_HAPROXY = "/run/haproxy/master.sock"
# A password as it stands in a statement, and what is kept of one (RFC 5803). Both are looked for by PostgreSQL and by
# journalctl (PCRE): what is written here means the same to them, and does not match itself.
_PASSWORD = r"password\s+(e|u&)?(\x27|\$[a-z_]*\$)|scram-sha-256\$[0-9]"
# what declines to wait, in whatever statement it stands (PostgreSQL 17 manual, 19.5.1)
_DECLINES = r"synchronous_commit[\x22\x27]?\s*(=|to|,)\s*[\x27\x22]?(off|local|remote_write|false|no|0)([^a-z0-9_]|$)"
# sources: what somebody set, for the server, for a role or a database; not what this session says
_IN_FORCE = """
select json_build_object(
  'settings', (select json_agg(json_build_object('name', name, 'unit', coalesce(unit, ''), 'source', source,
      'value', case when name = 'primary_conninfo' then '' else setting end,
      'file', coalesce(substring(sourcefile from '[^/]*$'), '')) order by name)
    from pg_settings where source not in ('default', 'override', 'client', 'session')),
  'held', (select json_object_agg(name, setting) from pg_settings
    where name in ('synchronous_commit', 'synchronous_standby_names', 'fsync', 'full_page_writes',
      'allow_alter_system', 'hba_file', 'ident_file', 'config_file', 'data_directory')),
  'waits', array(select name from pg_settings where pending_restart order by name),
  'by_hand', array(select distinct name from pg_file_settings where sourcefile like '%/postgresql.auto.conf'),
  'wrong', array(select distinct coalesce(name, 'a line') from pg_file_settings where error is not null
    and error <> 'setting could not be applied'),
  'mapped', (select count(*) from pg_ident_file_mappings),
  'loaded', extract(epoch from pg_conf_load_time()),
  'files', array(select sourcefile from pg_file_settings union select file_name from pg_hba_file_rules
    union select file_name from pg_ident_file_mappings union
    select setting from pg_settings where name in ('config_file', 'hba_file', 'ident_file')),
  'subscriptions', array(select subname from pg_subscription where subenabled and subsynccommit <> 'on'
    and subsynccommit <> 'remote_apply'))::text
"""
# PostgreSQL 17 manual, F.32: a statement that sets something keeps its constants there. Patroni makes its own roles,
# and cleans up after a rewind, in a DO block that waits for nobody: nobody is told of that commit. What is made or
# altered is judged by what is there.
_STATEMENTS = """
select json_build_object(
  'passwords', array(select distinct pg_get_userbyid(userid) from public.pg_stat_statements
    where query ~* '@PASSWORD@'),
  'declines', array(select distinct pg_get_userbyid(userid) || coalesce(' in ' || datname, '')
    from public.pg_stat_statements left join pg_database d on d.oid = dbid
    where query ~* '@DECLINES@' and query !~* '^\\s*(alter|create)\\M'
      and not (pg_get_userbyid(userid) = 'postgres' and query ~* '^\\s*do\\M')))::text
"""
_IN_A_DATABASE = """
select json_build_object(
  'unlogged', array(select nspname || '.' || relname from pg_class c join pg_namespace n on n.oid = relnamespace
    where relpersistence = 'u' and relkind in ('r', 'p', 'm', 'S') and not exists (select from pg_depend
      where classid = 'pg_class'::regclass and objid = c.oid and deptype in ('a', 'i', 'e')) order by 1),
  'declines', array(select format('%s', p.oid::regprocedure) from pg_proc p join pg_namespace n on n.oid = pronamespace
    where nspname not in ('pg_catalog', 'information_schema')
      and concat_ws(' ', prosrc, array_to_string(proconfig, ' ')) ~* '@DECLINES@' order by 1))::text
"""


def running(plan: dict[str, Any]) -> dict[str, Any]:
    """`plan`: name (of the machine), databases (names), config (Patroni's), router (HAProxy's configuration)."""
    found = _asked("postgres", _IN_FORCE) or {}
    files = [*found.get("files", ()), f"{found.get('held', {}).get('data_directory', '')}/postgresql.auto.conf"]
    return {
        **found,
        "statements": _asked("postgres", _STATEMENTS),
        "databases": {name: _asked(name, _IN_A_DATABASE) for name in plan["databases"]},
        "unread": _changed_after(files, found.get("loaded") or 0.0),
        "patroni_unread": _changed_after([plan["config"]], _taken_up("patroni")),
        "router": _router(plan["router"]),
        "logged": _logged(),
    }


def _asked(database: str, query: str) -> Any:
    text = query.replace("@PASSWORD@", _PASSWORD).replace("@DECLINES@", _DECLINES)
    try:
        return json.loads(sql(database, text))
    except ValueError:
        return None


def _changed_after(files: list[str], read: float) -> list[str]:
    """Which of these files were changed after `read` (seconds since the epoch), by whatever time they claim.

    inode(7): nobody sets the time of the last status change. A file that is not there any more was changed as well.
    """
    found = []
    for path in sorted(set(files)):
        try:
            late = Path(path).stat().st_ctime > read
        except OSError:
            late = not path.endswith("/postgresql.auto.conf")
        if late:
            found.append(Path(path).name)
    return found


def _taken_up(unit: str) -> float:
    """When a unit was last started or told to reload: both are changes of its state, which systemd remembers (in µs,
    org.freedesktop.systemd1(5); when a command of a unit ran is forgotten at every daemon-reload)."""
    words = ("busctl", "-j", "get-property", "org.freedesktop.systemd1")
    place = f"/org/freedesktop/systemd1/unit/{unit}_2eservice", "org.freedesktop.systemd1.Unit"
    try:
        return float(json.loads(output(*words, *place, "StateChangeTimestamp"))["data"]) / 1e6
    except (ValueError, KeyError, TypeError):
        return 0.0


def _router(config: str) -> dict[str, Any]:
    """Whom HAProxy's worker leads to, and whether its configuration is the one that it read (HAProxy 3.0, 9.4)."""
    main = output("systemctl", "show", "-P", "MainPID", "haproxy").strip()
    children = output("pgrep", "-P", main).split()
    words = Path(f"/proc/{main}/cmdline").read_bytes().decode().split("\0") if main not in ("", "0") else []
    began = max((_began(pid) for pid in children), default=0.0)
    lines = [line.split() for line in _haproxy_says("@1 show servers state").splitlines() if line.strip()]
    names = next((line[1:] for line in lines if line[:1] == ["#"]), [])
    rows = [dict(zip(names, line, strict=False)) for line in lines if line[0].isdigit() and len(line) > 4]
    return {
        "files": [words[place + 1] for place, word in enumerate(words[:-1]) if word == "-f"],
        "lines": _lines(config),
        "limits": _limits(),
        # a process began at a tick of a hundredth of a second
        "unread": _changed_after([config], began + 0.02),
        "servers": [
            [row["be_name"], row["srv_name"], f"{row['srv_addr']}:{row['srv_port']}", row["srv_admin_state"]]
            for row in rows
        ],
    }


def _limits() -> dict[str, str]:
    """How many connections it takes at once and a second: the process as a whole ("Maxconn"), each way ("leader") and
    each server of it ("leader/primary": "" for as many as come, its weight behind it) (HAProxy 3.0 management, 9.1)."""
    info = dict(line.split(": ", 1) for line in _haproxy_says("@1 show info").splitlines() if ": " in line)
    found = {name: info.get(name, "") for name in ("Maxconn", "ConnRateLimit", "SessRateLimit", "SslRateLimit")}
    lines = [line.split(",") for line in _haproxy_says("@1 show stat").lstrip("# ").splitlines() if "," in line]
    for row in (dict(zip(lines[0], line, strict=False)) for line in lines[1:]):
        if row["svname"] == "FRONTEND":
            found[row["pxname"]] = f"{row['slim']} {row['rate_lim']} {row['status']}"
        elif row["svname"] != "BACKEND":
            found[f"{row['pxname']}/{row['svname']}"] = f"{row['slim']} {row['weight']}"
    return found


def _lines(config: str) -> list[str]:
    """Without comments and what only makes it look tidy; no secret is in it."""
    try:
        text = Path(config).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    found = (" ".join(line.split("#")[0].split()) for line in text.splitlines())
    return [line for line in found if line]


def _began(pid: str) -> float:
    """When a process began: proc_pid_stat(5), field 22, in ticks since boot."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")


def _haproxy_says(command: str) -> str:
    """HAProxy's own answer, at the socket of its master, which root alone can reach."""
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(ANSWER_SECONDS)
            line.connect(_HAPROXY)
            line.sendall(f"{command}\n".encode())
            line.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: line.recv(65536), b"")).decode()
    except OSError:
        return ""


def _logged() -> dict[str, Any]:
    """How many lines of the servers' log hold a password, or what is kept of one. They stay where they are."""
    words = ("journalctl", "-q", "-o", "short-unix", "--no-hostname", "-u", "patroni", "--case-sensitive=false")
    found = output(*words, "-g", _PASSWORD, seconds=_LOG_SECONDS)
    # it ends with 1 where it finds none
    lines = [line for line in found.splitlines() if line[:10].isdigit()]
    return {"lines": len(lines), "last": float(lines[-1].split()[0]) if lines else 0.0, "asked": found[:2] != "-1"}
