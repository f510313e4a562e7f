"""Runs on a machine as root, in the namespace of connections.py and others: what a database server says, and to whom.

Reads only. The superuser asks by the socket, as his account on the machine; nobody else logs in.
"""

from __future__ import annotations

import json
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.verify.probes.remote.connections import (
        PSQL,
        client,
        https,
        key_files,
        listening,
        old_client,
        output,
        postgres,
        reach_as,
        trusted,
    )
    from tests.verify.probes.remote.postgres_running import running
    from tests.verify.probes.remote.postgres_ways import ways

_POOL_FILE = "/etc/pgbouncer/pgbouncer.ini"
_FACTS = """
select json_build_object(
  'recovery', pg_is_in_recovery(),
  'settings', (select json_object_agg(name, setting) from pg_settings where name = any('{@SETTINGS@}')),
  'standbys', (select json_agg(json_build_object('name', application_name, 'state', state, 'sync', sync_state,
      'bytes', case when pg_is_in_recovery() then 0 else pg_wal_lsn_diff(pg_current_wal_lsn(), flush_lsn) end,
      'seconds', coalesce(extract(epoch from replay_lag), 0), 'tls', coalesce(version, '')))
    from pg_stat_replication left join pg_stat_ssl using (pid) where usename = 'replicator'),
  'receiver', (select json_build_object('status', status, 'host', sender_host,
      'sslmode', substring(conninfo from 'sslmode=([a-z-]+)'))
    from pg_stat_wal_receiver),
  'clients', (select json_agg(distinct jsonb_build_object('user', usename, 'tls', coalesce(version, '')))
    from pg_stat_activity left join pg_stat_ssl using (pid) where client_addr is not null),
  'broken', (select coalesce(sum(checksum_failures), 0) from pg_stat_database),
  'page_version', (select data_page_checksum_version from pg_control_init()),
  'hba', (select json_agg(json_build_object('type', type, 'database', database, 'user', user_name, 'address', address,
      'netmask', netmask, 'method', auth_method, 'options', options, 'error', error) order by rule_number nulls first)
    from pg_hba_file_rules),
  'overrides', (select json_agg(coalesce(r.rolname, 'everybody') || coalesce(' in ' || d.datname, '') || ': ' || line)
    from pg_db_role_setting s left join pg_roles r on r.oid = s.setrole
      left join pg_database d on d.oid = s.setdatabase, unnest(setconfig) line))::text
"""
_SETTINGS = (
    *("data_checksums", "shared_preload_libraries", "pgaudit.log", "log_connections", "log_disconnections"),
    # what runs a program, loads code, reads rules or lets somebody in (PostgreSQL 17 manual, chapter 19)
    *("archive_command", "archive_library", "archive_cleanup_command", "restore_command", "recovery_end_command"),
    *("ssl_passphrase_command", "session_preload_libraries", "local_preload_libraries", "dynamic_library_path"),
    *("jit_provider", "hba_file", "ident_file", "config_file", "data_directory", "listen_addresses"),
    *("unix_socket_directories", "logging_collector", "external_pid_file", "password_encryption"),
)
_ASK = "GET {path} HTTP/1.0\r\nHost: patroni\r\n\r\n"
# changes nothing, whoever may send it (Patroni 4.0 manual, "REST API": what is not named stays)
_PATCH = "PATCH /config HTTP/1.0\r\nHost: patroni\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def server(plan: dict[str, Any]) -> dict[str, Any]:
    """`plan`: name, address, sites (addresses by name), folder, config (Patroni's), ports (by purpose), root_only,
    accounts (numbers), roles, router (see postgres_ways.py, postgres_running.py), rights (queries for the whole cluster
    and for one database: see postgres_rights.py), databases (names), somebody (its own role and database, or empty)."""
    accounts = {number: reach_as(number, plan["root_only"]) for number in (0, *plan["accounts"])}
    with ThreadPoolExecutor(12) as pool:
        facts = pool.submit(sql, "postgres", _FACTS.replace("@SETTINGS@", ",".join(_SETTINGS)))
        rights = pool.submit(_rights, plan)
        goes_by, let_in = pool.submit(running, plan), pool.submit(ways, plan)
        api = pool.submit(_api, plan)
        tries = {what: pool.submit(*words) for what, words in _tries(plan).items()}
        routes = {
            what: [pool.submit(_route, plan, port) for _ in range(count)]
            for what, port, count in (
                ("leader", plan["ports"]["leader"], 4),
                ("replicas", plan["ports"]["replicas"], 1),
            )
        }
        text = facts.result()
        return {
            "sql": _json(text),
            "why": text[-300:] if _json(text) is None else "",
            "rights": rights.result(),
            "running": goes_by.result(),
            "ways": let_in.result(),
            "api": api.result(),
            "tries": {what: found.result() for what, found in tries.items()},
            "routes": {what: [one.result() for one in found] for what, found in routes.items()},
            "program": _program(),
            "pool_limits": _pool_limits(),
            "pool_config": _pool_config(plan["ports"]["pool"]),
            "pool": _pool_databases(plan["ports"]["pool"]),
            "listening": listening(("postgres", "patroni", "haproxy", "pgbouncer")),
            "sockets": _sockets(),
            "accounts": accounts,
            "keys": key_files(plan["folder"], plan["config"].rpartition("/")[0], "/etc/pgbouncer"),
            "certificates": _certificates(plan["folder"]),
        }


def sql(database: str, query: str) -> str:
    """What the superuser gets for a query, by the socket."""
    words = (PSQL, "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", f"dbname='{database}' user=postgres", "-f", "-")
    # no name is looked up where somebody else may make things: the superuser would run his functions
    own = "set search_path = pg_catalog, pg_temp;"
    return output("runuser", "-u", "postgres", "--", *words, input_=f"{own}\n{query}").strip()


def _rights(plan: dict[str, Any]) -> Any:
    """Roles and databases, and inside of each database that is there and declared who may do what; None without."""
    found = _json(sql("postgres", plan["rights"]["cluster"]))
    if found:
        # the model of what will be made: who comes to it is gone before CREATE DATABASE stops waiting for that
        there = [name for name in ("template1", *plan["databases"]) if name in found["databases"]]
        found["inside"] = {name: _json(sql(name, plan["rights"]["database"])) for name in there}
    return found


def _api(plan: dict[str, Any]) -> dict[str, Any]:
    """What each Patroni says, and what this one answers to whoever wants to change something and may not."""
    trust = client(f"{plan['folder']}/ca.crt")
    pair = client(f"{plan['folder']}/ca.crt", (f"{plan['folder']}/server.crt", f"{plan['folder']}/server.key"))
    port, address = plan["ports"]["api"], plan["address"]
    ask = ("curl", "-s", "--connect-timeout", "3", "-m", "15", "--cacert", f"{plan['folder']}/ca.crt")
    said = {}
    for name, other in plan["sites"].items():
        said[name] = _json(output(*ask, f"https://{other}:{port}/patroni"))
    config = _json(output(*ask, f"https://{address}:{port}/config"))
    return {
        "said": said,
        "config": config,
        "read": https(address, port, trust, _ASK.format(path="/liveness")),
        "no TLS": https(address, port, None, _ASK.format(path="/liveness")),
        "no certificate": https(address, port, trust, _PATCH),
        "no password": https(address, port, pair, _PATCH),
    }


def _program() -> list[str]:
    """What the main process of Patroni was started as, word by word."""
    pid = output("systemctl", "show", "--value", "-p", "MainPID", "patroni.service").strip()
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").split("\0")
    except OSError:
        return []


def _tries(plan: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    """What whoever has less than all of it gets; each is tried where the server listens."""
    trust, old = client(f"{plan['folder']}/ca.crt"), old_client()
    here, port, pool = plan["address"], plan["ports"]["server"], plan["ports"]["pool"]
    role, database = plan["somebody"] or ("replicator", "replication")
    found: dict[str, tuple[Any, ...]] = {
        "superuser": (postgres, here, port, "postgres", "postgres", trust),
        "elsewhere": (postgres, here, port, role, "postgres", trust),
        "nobody": (postgres, here, port, "somebody", database, trust),
        "no TLS": (postgres, here, port, role, database, None),
        "TLS 1.1": (postgres, here, port, role, database, old),
        "right": (postgres, here, port, role, database, trust),
        "pool: no TLS": (postgres, "127.0.0.1", pool, role, database, None),
        "pool: TLS 1.1": (postgres, "127.0.0.1", pool, role, database, old),
        "pool: right": (postgres, "127.0.0.1", pool, role, database, trust),
    }
    found["pool: does not wait"] = (_not_waiting, pool, role, database, trust)
    if plan["somebody"]:
        found["wrong password"] = (_wrong_password, plan, here, port)
        found["pool: wrong password"] = (_wrong_password, plan, "127.0.0.1", pool)
    return found


def _not_waiting(port: int, role: str, database: str, trust: Any) -> dict[str, Any]:
    """What the pool says to whoever wants a session whose commits do not wait, in both ways to say so at the start."""
    for more in ({"synchronous_commit": "off"}, {"options": "-c synchronous_commit=off"}):
        found = postgres("127.0.0.1", port, role, database, trust, more=more)
        if not found["answer"].startswith("refuses"):
            break
    return found


def _wrong_password(plan: dict[str, Any], address: str, port: int) -> dict[str, Any]:
    role, database = plan["somebody"]
    where = f"host={address} port={port} user='{role}' dbname='{database}' connect_timeout=3"
    tls = f"sslmode=verify-full sslrootcert={plan['folder']}/ca.crt"
    env = {"PATH": os.environ["PATH"], "PGPASSWORD": "wrong", "HOME": "/nonexistent"}
    said = output(PSQL, "-XAtq", "-d", f"{where} {tls}", "-c", "select 1", env=env)
    return {"answer": "lets in" if said.startswith("1\n") else f"refuses: {said.strip().splitlines()[-1]}"}


def _route(plan: dict[str, Any], port: int) -> dict[str, Any]:
    """Whom a listener of HAProxy leads to, by the name on the server's certificate."""
    trust = client(f"{plan['folder']}/ca.crt")
    # it is the name that is to be learnt: no server calls itself by this address
    trust.check_hostname = False
    return postgres("127.0.0.1", port, "somebody", "postgres", trust)


def _pool_limits() -> dict[str, str]:
    """Whose account the pool runs as, how many clients it promises to take, and how many files it may open for them."""
    promised = re.findall(r"^max_client_conn = (\d+)$", Path(_POOL_FILE).read_text(encoding="utf-8"), re.MULTILINE)
    pid = output("systemctl", "show", "-P", "MainPID", "pgbouncer").strip()
    lines = Path(f"/proc/{pid}/limits").read_text(encoding="utf-8").splitlines()
    files = next(line.split()[3] for line in lines if line.startswith("Max open files"))
    return {"account": Path(f"/proc/{pid}").owner(), "files": files, "clients": promised[0]}


def _pool_config(port: int) -> dict[str, list[str]]:
    """What PgBouncer goes by now, in memory: value and default of each setting (PgBouncer 1.24 manual, SHOW CONFIG)."""
    return {row["key"]: [row["value"], row["default"]] for row in _pool_says(port, "show config")}


def _pool_databases(port: int) -> dict[str, list[str]]:
    """Where it leads for each name, as which user ("" for who comes) and how it pools (SHOW DATABASES)."""
    keys = ("host", "port", "database", "force_user", "pool_mode")
    return {row["name"]: [row.get(key, "") for key in keys] for row in _pool_says(port, "show databases")}


def _pool_says(port: int, command: str) -> list[dict[str, str]]:
    """The rows that PgBouncer answers with at its socket; its own account may ask."""
    words = (PSQL, "-XAq", "-P", "footer=off", "-h", "/run/pgbouncer", "-p", str(port), "-U", "pgbouncer")
    said = output("runuser", "-u", "pgbouncer", "--", *words, "-d", "pgbouncer", "-c", command).splitlines()
    names = said[0].split("|") if said else []
    return [dict(zip(names, line.split("|"), strict=False)) for line in said[1:] if line.count("|") >= len(names) - 1]


def _sockets() -> list[str]:
    """The sockets that servers listen on, other than for TCP."""
    lines = output("ss", "-Hlxp").splitlines()
    return sorted({line.split()[4] for line in lines if '(("postgres"' in line})


def _certificates(folder: str) -> dict[str, dict[str, str]]:
    found = {}
    for name, authority in (("server", "ca"), ("etcd-client", "etcd-ca")):
        path = f"{folder}/{name}.crt"
        found[path] = {
            "signed": output("openssl", "verify", "-CAfile", f"{folder}/{authority}.crt", path).strip(),
            "ends": output("openssl", "x509", "-noout", "-enddate", "-dateopt", "iso_8601", "-in", path).strip(),
            "authority": trusted(f"{folder}/{authority}.crt"),
        }
    return found


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


if __name__ == "__main__":
    print(json.dumps(server(json.loads(sys.argv[1]) | {"accounts": [int(one) for one in sys.argv[2:]]})))
