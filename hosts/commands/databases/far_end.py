"""Runs on a site as root: looks at a database, dumps it, reads what a dump holds, restores one. Nothing stays there.

Standard library only, since it is sent to the machine as it stands here. The first line of standard input is a request
in JSON, {"verb": ...}; passwords come with it. Answers are JSON on standard output, but for `dump`, whose output is the
dump. What goes wrong is a line on standard error, with exit code 1.

A dump is somebody else's program. It is read by an account that may do nothing, and restored by one of its own in a
unit without rights, which comes to the server as any application would: over TLS, as the owner of the database.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import shutil
import subprocess
import sys
import syslog
from pathlib import Path
from typing import Any, NoReturn

_CHUNK = 65536
_UNIT = "bastide-import"
# systemd.exec(5); the server is at an address of the machine's own
_SANDBOX = (
    *("DynamicUser=yes", "NoNewPrivileges=yes", "CapabilityBoundingSet=", "PrivateDevices=yes", "PrivateTmp=yes"),
    *("ProtectSystem=strict", "ProtectHome=yes", "ProtectProc=invisible", "ProcSubset=pid", "ProtectClock=yes"),
    *("ProtectKernelTunables=yes", "ProtectKernelModules=yes", "ProtectKernelLogs=yes", "ProtectControlGroups=yes"),
    *("RestrictNamespaces=yes", "RestrictRealtime=yes", "RestrictSUIDSGID=yes", "LockPersonality=yes"),
    *("MemoryDenyWriteExecute=yes", "SystemCallArchitectures=native", "SystemCallFilter=@system-service"),
    *("RestrictAddressFamilies=AF_INET AF_UNIX", "UMask=0077", "LimitCORE=0"),
)
# what somebody made: not PostgreSQL's own, and not an extension's
_THERE = """
with mine as (
  select 'schema ' || nspname as what, 'pg_namespace'::regclass as catalogue, oid as id from pg_namespace
    where nspname not in ('public', 'information_schema') and not starts_with(nspname, 'pg_')
  union all select case relkind when 'S' then 'sequence ' else 'table ' end || c.oid::regclass::text,
    'pg_class'::regclass, c.oid from pg_class c join pg_namespace n on n.oid = relnamespace
    where relkind in ('r', 'p', 'v', 'm', 'f', 'S') and nspname <> 'information_schema'
      and not starts_with(nspname, 'pg_')
  union all select 'function ' || p.oid::regprocedure::text, 'pg_proc'::regclass, p.oid
    from pg_proc p join pg_namespace n on n.oid = pronamespace
    where nspname <> 'information_schema' and not starts_with(nspname, 'pg_')
  union all select 'type ' || t.oid::regtype::text, 'pg_type'::regclass, t.oid
    from pg_type t join pg_namespace n on n.oid = typnamespace left join pg_class c on c.oid = typrelid
    where (typtype in ('e', 'd', 'r') or c.relkind = 'c') and nspname <> 'information_schema'
      and not starts_with(nspname, 'pg_')
  union all select 'large object ' || oid, 'pg_largeobject'::regclass, oid from pg_largeobject_metadata
)
select coalesce(json_agg(what), '[]') from mine where not exists (
  select from pg_depend where classid = catalogue and objid = id and deptype = 'e')
"""
_EXTENSIONS = "select coalesce(json_object_agg(extname, extnamespace::regnamespace::text), '{}') from pg_extension"
_DATABASES = "select json_object_agg(datname, pg_get_userbyid(datdba)) from pg_database where datallowconn"
# rows that this server wrote into the tables: they are as new as the tables are
_COUNTS = """
select json_build_object('tables', count(*) filter (where relkind in ('r', 'p')),
  'indexes', count(*) filter (where relkind = 'i'), 'sequences', count(*) filter (where relkind = 'S'),
  'views', count(*) filter (where relkind in ('v', 'm')),
  'rows', coalesce(sum(pg_stat_get_tuples_inserted(c.oid)) filter (where relkind = 'r'), 0),
  'bytes', pg_database_size(current_database()))
from pg_class c join pg_namespace n on n.oid = relnamespace
where nspname <> 'information_schema' and not starts_with(nspname, 'pg_')
"""


def look(request: dict[str, Any]) -> dict[str, Any]:
    """Whether this server leads, its version, and how the database is."""
    name = request["database"]
    databases = json.loads(_sql("postgres", _DATABASES))
    declared = [f"schema {schema}" for schema in request.get("schemas", ())]
    return {
        "leads": _sql("postgres", "select pg_is_in_recovery()") == "f",
        "version": int(_sql("postgres", "show server_version_num")) // 10000,
        "bytes": int(_sql("postgres", f"select pg_database_size('{name}')")) if name in databases else 0,
        "owner": databases.get(name),
        "roles": json.loads(_sql("postgres", "select json_agg(rolname) from pg_roles")),
        "extensions": json.loads(_sql(name, _EXTENSIONS)) if name in databases else {},
        "schemas": json.loads(_sql(name, "select json_agg(nspname) from pg_namespace")) if name in databases else [],
        "there": [one for one in json.loads(_sql(name, _THERE)) if one not in declared] if name in databases else [],
        "at_work": subprocess.run(("systemctl", "-q", "is-active", _UNIT), check=False).returncode == 0,
    }


def room(request: dict[str, Any]) -> dict[str, Any]:
    """The free megabytes where the data are."""
    return {"free_mb": shutil.disk_usage(request["data"]).free >> 20}


def contents(request: dict[str, Any]) -> dict[str, Any]:
    """The table of contents and the schema of a dump of `size` bytes, of which no more is read than that takes."""
    seen = b""
    # it reads the head of a dump and ends
    with _reader(request, "--list") as process:
        while len(seen) < request["size"] and (data := os.read(0, _CHUNK)):
            seen += data
            try:
                process.stdin.write(data)  # type: ignore[union-attr]
                process.stdin.flush()  # type: ignore[union-attr]
            except BrokenPipeError:
                break
        listed = _end(process, b"")
    with _reader(request, "--schema-only", "--no-owner", "--no-privileges", "--file=-") as process:
        return {"list": listed, "schema": _end(process, seen)}


def dump(request: dict[str, Any]) -> None:
    """The database to standard output, in the custom format. A table that somebody alters is waited for a minute."""
    words = [_program(request, "pg_dump"), "--format=custom", "--no-password", "--lock-wait-timeout=60s"]
    words += ["--schema-only"] if request["schema_only"] else []
    words += ["--dbname", f"dbname='{request['database']}' user=postgres application_name=bastide-dump"]
    code = subprocess.run(("runuser", "-u", "postgres", "--", *words), stdin=subprocess.DEVNULL, check=False).returncode
    sys.exit(1 if code else 0)


def restore(request: dict[str, Any]) -> dict[str, Any]:
    """Restore the `size` bytes that follow, all of them in one transaction or nothing.

    `request`: bin (folder of programs), folder (made for this alone), database, owner, password, address, port, ca;
    `list` for the custom format (what of it is restored, as `pg_restore --list` shows it), None for SQL.
    """
    folder = Path(request["folder"])
    # what a run that was killed left: a password, in memory
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o711)
    try:
        _write(folder / "environment", _environment(request), 0o600)
        words = ["systemd-run", "--quiet", "--collect", "--wait", "--pipe", f"--unit={_UNIT}"]
        words += [word for one in _SANDBOX for word in ("-p", one)]
        words += ["-p", f"EnvironmentFile={folder}/environment", *_words(request, folder)]
        # neither says anything on standard output that anybody reads
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
            try:
                _feed(process, request)
                code = _wait(process)
            except BaseException:
                subprocess.run(("systemctl", "kill", "-s", "KILL", _UNIT), check=False, capture_output=True)
                raise
        return {"code": code}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def finish(request: dict[str, Any]) -> dict[str, Any]:
    """Statistics for the planner, and what is there now."""
    _sql(request["database"], "set client_min_messages = error; analyze")
    return json.loads(_sql(request["database"], _COUNTS))  # type: ignore[no-any-return]


def _feed(process: subprocess.Popen[bytes], request: dict[str, Any]) -> None:
    """Hand over what comes. Without the last byte of it there is no end, and nothing of it stays: the custom format
    is known to be cut, and SQL is committed by the line after it."""
    stdin, left = process.stdin, request["size"]
    assert stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it has ended, and said why
        if request["list"] is None:
            # psql(1): from here on no line of the dump's can be a command of psql's, which would run programs
            stdin.write(f"\\restrict {secrets.token_hex(16)}\nBEGIN;\n".encode())
        while left:
            if not (data := os.read(0, min(left, _CHUNK))):
                _fail("the operator is gone: nothing was changed")
            left -= len(data)
            stdin.write(data)
        if request["list"] is None:
            stdin.write(b"\nCOMMIT;\n")
        stdin.close()


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Its exit code. An operator who goes away is noticed: standard input ends."""
    while process.poll() is None:
        ready, _, _ = select.select([0], [], [], 0.2)
        if ready and not os.read(0, _CHUNK):
            _fail("the operator is gone: nothing was changed")
    return process.returncode


def _words(request: dict[str, Any], folder: Path) -> list[str]:
    if request["list"] is None:
        return [_program(request, "psql"), *("-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-f", "-")]
    _write(folder / "list", request["list"], 0o644)
    words = ["--verbose", "--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges"]
    words += ["--no-security-labels", "--no-tablespaces", "--no-table-access-method"]
    words += ["--no-publications", "--no-subscriptions", f"--use-list={folder}/list"]
    return [_program(request, "pg_restore"), *words, "--dbname", f"dbname='{request['database']}'"]


def _environment(request: dict[str, Any]) -> str:
    """How it connects (PostgreSQL 17 manual, 32.15): the server looks who is still there, in an index, too."""
    options = ("client_connection_check_interval=5s", "statement_timeout=0", "lock_timeout=60s", "jit=off")
    values = {
        **{"PGHOST": request["address"], "PGPORT": request["port"], "PGDATABASE": request["database"]},
        **{"PGUSER": request["owner"], "PGPASSWORD": request["password"], "PGAPPNAME": _UNIT, "LC_ALL": "C.UTF-8"},
        **{"PGSSLMODE": "verify-full", "PGSSLROOTCERT": request["ca"]},
        "PGOPTIONS": " ".join(f"-c {one}" for one in options),
    }
    return "".join(f'{name}="{value}"\n' for name, value in values.items())


def _reader(request: dict[str, Any], *words: str) -> subprocess.Popen[bytes]:
    """pg_restore as nobody, on a dump from standard input."""
    pipe = subprocess.PIPE
    own: dict[str, Any] = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    argv = (_program(request, "pg_restore"), *words)
    return subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, env={"LC_ALL": "C.UTF-8"}, cwd="/", **own)


def _end(process: subprocess.Popen[bytes], rest: bytes) -> str:
    """What it said. `communicate` does not mind that it has closed its input."""
    with contextlib.suppress(BrokenPipeError):
        out, err = process.communicate(rest)
    if process.returncode:
        _fail((err.decode(errors="replace").strip().splitlines() or ["pg_restore failed"])[-1])
    return out.decode(errors="surrogateescape")


def _sql(database: str, query: str) -> str:
    words = ("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", f"dbname='{database}' user=postgres", "-f", "-")
    # no name is looked up where somebody else may make things: the superuser would run his functions
    own = "set search_path = pg_catalog, pg_temp;"
    done = subprocess.run(
        ("runuser", "-u", "postgres", "--", *words),
        input=f"{own}\n{query}",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        _fail(f"{database}: {(done.stderr.strip().splitlines() or ['psql failed'])[0]}")
    return done.stdout.strip()


def _program(request: dict[str, Any], name: str) -> str:
    return f"{request['bin']}/{name}"


def _write(path: Path, text: str, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", errors="surrogateescape") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)


def _fail(problem: str) -> NoReturn:
    print(problem, file=sys.stderr, flush=True)
    sys.exit(1)


def _request() -> dict[str, Any]:
    """The first line, and not a byte more of what follows."""
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(0, 1) or sys.exit(1)
    found: dict[str, Any] = json.loads(line)
    return found


def main() -> None:
    """Answer one request."""
    request = _request()
    verb = request["verb"]
    syslog.openlog("bastide", syslog.LOG_PID, syslog.LOG_AUTHPRIV)
    who = os.environ.get("SUDO_USER", "?")
    syslog.syslog(syslog.LOG_NOTICE, f"{who} : USER=root ; {verb} of database {request['database']}")
    if verb == "dump":
        dump(request)
    else:
        verbs = {"look": look, "room": room, "contents": contents, "restore": restore, "finish": finish}
        print(json.dumps(verbs[verb](request)), flush=True)


if __name__ == "__main__":
    main()
