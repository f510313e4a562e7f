"""How the databases are kept: the wrong ways."""

from __future__ import annotations

from pathlib import PurePath
from shlex import quote

from tests.rehearsal.sabotages.model import NFT, PRIMARY, SHARED, STANDBY, Sabotage

_HBA = "/var/lib/postgresql/17/bastide/pg_hba.conf"
_CONFIG = "/etc/patroni/config.yml"
_DROPIN = "/etc/systemd/system/patroni.service.d/bastide.conf"
_PSQL = "runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1"
_PATRONICTL = f"timeout 20 patronictl -c {_CONFIG}"
_STREAMS = "state = 'streaming'"
_AUTO = "/var/lib/postgresql/17/bastide/postgresql.auto.conf"
_PATH = "select pg_relation_filepath('sabotage')"
_READER = "/var/lib/postgresql/sabotage"
# What several of them change. Patroni writes pg_hba.conf anew when its own settings change; with a second server
# beside, nobody can tell who leads.
_RULES, _ROLES, _SERVER, _LEADER = "pg_hba.conf", "roles", "server", "who leads"
# and what several of them put into the server's own files, or into PgBouncer and HAProxy
_BY_HAND, _STATISTICS, _ROUTER = "postgresql.auto.conf", "statistics of statements", "haproxy.cfg"
# what is said to HAProxy's master, on standard input
_SAY = (
    "import socket, sys; line = socket.socket(socket.AF_UNIX); line.connect('/run/haproxy/master.sock');"
    " line.sendall(sys.stdin.buffer.read()); line.shutdown(1); print(line.recv(4096))"
)
_POOL = "runuser -u pgbouncer -- psql -XAtq -h /run/pgbouncer -p 6432 -U pgbouncer -d pgbouncer"
_SERVER_BY_HAND = (
    "runuser -u postgres -- /usr/lib/postgresql/17/bin/pg_ctl -D /var/lib/postgresql/17/bastide -w -m fast"
)
_WORDS = "/var/lib/postgresql/17/bastide/postmaster.opts"
_FAILS = "alter role nobody_is_called_so password 'sabotage'"


def _sql(text: str, database: str = "postgres") -> str:
    """As the superuser, by the socket."""
    return f'{_PSQL} -d "{database}" -c {quote(text)} >/dev/null'


def _until(command: str, seconds: int = 40) -> str:
    """Wait until a command says yes."""
    return f"timeout {seconds} sh -c {quote(f'until {command}; do sleep 0.2; done')}"


def _count(condition: str, number: int) -> str:
    """Whether so many standbys are like that, as the leader sees it."""
    query = f"select count(*) from pg_stat_replication where {condition}"
    return f'[ "$({_PSQL} -c {quote(query)})" = {number} ]'


_RELOAD = _sql("select pg_reload_conf()")
_FORGET = _sql("select public.pg_stat_statements_reset()")


def _by_hand(control: str, what: str, says: str, *lines: str) -> Sabotage:
    """What ALTER SYSTEM would leave; it is refused, and its file belongs to who asks."""
    text = "\\n".join(lines)
    return Sabotage(
        control, what, says, f"cp -p {_AUTO} /run/sabotage.auto && printf '{text}\\n' >> {_AUTO} && {_RELOAD}",
        f"cp -p /run/sabotage.auto {_AUTO} && rm /run/sabotage.auto && {_RELOAD}", PRIMARY, touches=(_BY_HAND,),
    )  # fmt: skip


def _read_and_put_back(control: str, what: str, says: str, path: str, edit: str, then: str, *touches: str) -> Sabotage:
    """Another line, read by who goes by it, and the file as it was: it looks right, and something else runs."""
    name = PurePath(path).name
    saved = f"/run/sabotage.{name}"
    return Sabotage(
        control, what, says,
        f"cp -p {path} {saved} && sed -i '{edit}' {path} && {then} && sleep 1 && cp -p {saved} {path}",
        f"rm {saved}; {then} && sleep 1",
        PRIMARY, touches=(name, *touches),
    )  # fmt: skip


_SYNC = _until(f'{_PATRONICTL} list | grep -q "Sync Standby"')


def _everybody_shares(control: str, what: str, says: str, line: str, then: str, back: str, at_last: str) -> Sabotage:
    """Another setting for all members, as somebody sets it by hand."""
    edit = f"{_PATRONICTL} edit-config --force -q"
    return Sabotage(
        control, what, says, f"{edit} -s {line} >/dev/null && {then}", f"{edit} -s {back} >/dev/null && {at_last}",
        PRIMARY, touches=(_RULES,), everywhere=(SHARED, _LEADER),
    )  # fmt: skip


def _first_rule(control: str, what: str, says: str, line: str) -> Sabotage:
    """A rule of access that counts before all others."""
    return Sabotage(
        control, what, says, f"sed -i '1i {line}' {_HBA} && {_RELOAD}", f"sed -i 1d {_HBA} && {_RELOAD}", PRIMARY,
        touches=(_RULES,),
    )  # fmt: skip


def _saying(control: str, what: str, says: str, statement: str, back: str, database: str = "postgres") -> Sabotage:
    """Something that a superuser said to the server."""
    break_, undo = _sql(statement, database), _sql(back, database)
    return Sabotage(control, what, says, break_, undo, PRIMARY, everywhere=(_ROLES,))


def _edited(
    control: str, what: str, says: str, path: str, edit: str, then: str, *, touches: tuple[str, ...] = (),
    everywhere: tuple[str, ...] = (),
) -> Sabotage:  # fmt: skip
    """Another line in a file that a program is then told to read."""
    name = PurePath(path).name
    saved = f"/run/sabotage.{name}"
    return Sabotage(
        control,
        what,
        says,
        f"cp -p {path} {saved} && sed -i '{edit}' {path} && {then}",
        f"cp -p {saved} {path} && rm {saved} && {then}",
        PRIMARY,
        touches=(name, *touches),
        everywhere=everywhere,
    )


SABOTAGES = (
    Sabotage(
        "postgres-01",
        "a standby that nobody started again",
        "its server does not answer",
        "systemctl stop patroni",
        f"systemctl start patroni && {_SYNC}",
        STANDBY,
        alone="commits wait for it",
    ),
    _everybody_shares(
        "postgres-11",
        "commits do not wait for the standby, as Patroni has it by itself",
        "a commit waits for no standby",
        "synchronous_mode=false",
        _until(_count("sync_state = 'sync'", 0)),
        "synchronous_mode=true",
        _SYNC,
    ),
    Sabotage(
        "postgres-01",
        "a standby that takes anybody for its leader",
        "it verifies nobody: sslmode=require",
        f"sed -i s/verify-full/require/ {_CONFIG} && systemctl reload patroni && sleep 3",
        f"sed -i s/sslmode:.require/sslmode:\\ verify-full/ {_CONFIG} && systemctl reload patroni && sleep 3",
        STANDBY,
        touches=(_SERVER,),
        everywhere=(_LEADER,),
    ),
    _first_rule(
        "postgres-02",
        "everybody is trusted, from everywhere",
        "is not asked for a password: lets in",
        "host all all 0.0.0.0/0 trust",
    ),
    _first_rule(
        "postgres-02",
        "whoever is in the mesh may come, with a password and without TLS",
        "it does not refuse (no TLS): asks for scram",
        "host all all {mesh} scram-sha-256",
    ),
    _by_hand(
        "postgres-02",
        "old clients are let in",
        "it takes TLS 1.1",
        'ssl_min_protocol_version = "TLSv1"'.replace('"', "\\047"),
        'ssl_ciphers = "ALL:@SECLEVEL=0"'.replace('"', "\\047"),
    ),
    _read_and_put_back(
        "postgres-02",
        "rules that were read and are not in the file any more",
        "changed after the server last read it",
        _HBA,
        "1i hostssl all visitor {mesh} scram-sha-256",
        _RELOAD,
        # who has the server read its files, has it read the right ones
        _BY_HAND,
    ),
    _first_rule(
        "postgres-02",
        "whoever is on the server itself is trusted, as in many a default",
        "it does not refuse",
        "host all all 127.0.0.1/32 trust",
    ),
    _edited(
        "postgres-03",
        "HAProxy listens at every address",
        "also listening: haproxy 0.0.0.0:5000",
        "/etc/haproxy/haproxy.cfg",
        "s/bind 127.0.0.1:5000/bind 0.0.0.0:5000/",
        "systemctl reload haproxy && sleep 1",
    ),
    Sabotage(
        "postgres-03",
        "a second server beside, as Debian's package makes one",
        "also listening: postgres 127.0.0.1:5433",
        "pg_createcluster 17 sabotage -p 5433 --start >/dev/null",
        "pg_dropcluster --stop 17 sabotage",
        STANDBY,
        everywhere=(_LEADER,),
    ),
    Sabotage(
        "postgres-03",
        "an application on the same server may speak to Patroni",
        "of this machine gets through to",
        "nft delete table inet bastide_postgres",
        "systemctl reload bastide-postgres-guard",
        STANDBY + PRIMARY,
        touches=(NFT,),
    ),
    Sabotage(
        "postgres-04",
        "somebody else reads the stream of changes, without TLS",
        "the word can be read on lo",
        f"sed -i '1i hostnossl replication replicator {{mesh_primary}}/32 trust' {_HBA} && {_RELOAD}"
        f" && install -d -o postgres {_READER} && systemd-run -q --unit=reader --uid=postgres"
        f" pg_receivewal -D {_READER} -d 'host={{mesh_primary}} user=replicator sslmode=disable'"
        f" && {_until(_count(_STREAMS, 2))}",
        f"systemctl stop reader; sed -i 1d {_HBA} && {_RELOAD} && rm -rf {_READER}",
        PRIMARY,
        touches=(_RULES,),
    ),
    Sabotage(
        "postgres-05",
        "a page that the disk returned as another one",
        "1 page had a wrong checksum",
        f"{_sql('create table sabotage (x int)')} && cd /var/lib/postgresql/17/bastide"
        f" && head -c 8192 /dev/urandom >> $({_PSQL} -c {quote(_PATH)})"
        f" && {{{{ {_sql('select from sabotage')} 2>&1 || true; }}}} && sleep 0.5",
        f"{_sql('drop table sabotage')} && {_sql('select pg_stat_reset()')}",
        PRIMARY,
    ),
    _saying(
        "postgres-06",
        "a superuser that nobody declared",
        "a role that nobody declared may log in as a superuser: visitor",
        "create role visitor login superuser",
        "drop role visitor",
    ),
    _saying(
        "postgres-06",
        "everybody may make tables, as before PostgreSQL 15",
        "public: no CREATE in",
        "grant create on schema public to public",
        "revoke create on schema public from public",
        "{database}",
    ),
    _saying(
        "postgres-06",
        "a schema that nobody declares is open to everybody",
        "public: no USAGE in stray",
        "create schema stray; grant usage on schema stray to public",
        "drop schema stray cascade",
        "{database}",
    ),
    _saying(
        "postgres-06",
        "one column of a table, for everybody",
        "public: no SELECT on column",
        "create table public.columns (n int); grant select (n) on public.columns to public",
        "drop table public.columns",
        "{database}",
    ),
    _saying(
        "postgres-06",
        "a function of the superuser's that anybody may run as him",
        "runs as a superuser",
        "create function public.peek() returns text language sql security definer"
        " as 'select rolpassword from pg_authid limit 1'",
        "drop function public.peek()",
        "{database}",
    ),
    _saying(
        "postgres-06",
        "what the owner makes anywhere is for everybody",
        "public: no SELECT on future tables",
        "alter default privileges for role {role} grant select on tables to public",
        "alter default privileges for role {role} revoke select on tables from public",
        "{database}",
    ),
    _saying(
        "postgres-06",
        "a role that may read everything",
        "has the rights of pg_read_all_data",
        "grant pg_read_all_data to {role}",
        "revoke pg_read_all_data from {role}",
    ),
    _saying(
        "postgres-06",
        "a setting that superusers alone may change, for everybody",
        "on a parameter, which nobody declared: SET public on log_statement",
        "grant set on parameter log_statement to public",
        "revoke set on parameter log_statement from public",
    ),
    _saying(
        "postgres-06",
        "a large object for everybody",
        "SELECT public on large objects in ",
        "select lo_from_bytea(424242, 'x'); grant select on large object 424242 to public",
        "select lo_unlink(424242)",
        "{database}",
    ),
    _everybody_shares(
        "postgres-07",
        "a leader stays one without votes",
        "failsafe_mode is True, not False",
        "failsafe_mode=true",
        "true",
        "failsafe_mode=false",
        "true",
    ),
    _edited(
        "postgres-07",
        "Patroni's API asks nobody for a password, as it is by itself",
        "it takes a change with no password",
        _CONFIG,
        "/^restapi:/,/^ctl:/{{/authentication:/d;/username:/d;/password:/d}}",
        "systemctl reload patroni && sleep 2",
        touches=(_RULES,),
    ),
    Sabotage(
        "postgres-08",
        "a key that everybody on the server can read",
        "others can read /etc/bastide/postgres/server.key",
        "chmod 644 /etc/bastide/postgres/server.key",
        "chmod 400 /etc/bastide/postgres/server.key",
        STANDBY,
        touches=(_SERVER,),
    ),
    Sabotage(
        "postgres-07",
        "Patroni is paused: nobody would take over",
        "nobody would take over: Patroni is paused",
        f"{_PATRONICTL} pause --wait >/dev/null",
        f"{_PATRONICTL} resume --wait >/dev/null",
        PRIMARY,
        touches=(_RULES,),
        everywhere=(SHARED, _LEADER),
    ),
    _edited(
        "postgres-09",
        "HAProxy leads to whoever runs, not to whoever leads",
        "the way to the leader (primary) ends at standby",
        "/etc/haproxy/haproxy.cfg",
        "s,OPTIONS uri /primary,OPTIONS uri /health,",
        "systemctl reload haproxy && sleep 2",
        everywhere=(_LEADER,),
    ),
    _edited(
        "postgres-09",
        "the pool takes clients without TLS",
        "the pool does not refuse (pool: no TLS)",
        "/etc/pgbouncer/pgbouncer.ini",
        "s/^client_tls_sslmode = .*/client_tls_sslmode = allow/",
        "systemctl reload pgbouncer && sleep 0.3",
    ),
    _edited(
        "postgres-09",
        "the pool may open as many files as any unit may",
        "PgBouncer may open 1024 files, and promises 2000 clients",
        "/etc/systemd/system/pgbouncer.service.d/bastide.conf",
        "s/^LimitNOFILE=.*/LimitNOFILE=1024/",
        "systemctl daemon-reload && systemctl restart pgbouncer && sleep 0.5",
    ),
    _edited(
        "postgres-10",
        "the pool tells nobody who connects",
        "applications meet the pool, and its log_connections is 0",
        "/etc/pgbouncer/pgbouncer.ini",
        "s/^log_connections = .*/log_connections = 0/",
        "systemctl reload pgbouncer && sleep 0.3",
    ),
    _everybody_shares(
        "postgres-14",
        "a program to be run at each change of who leads, in what all members share",
        "in the votes: postgresql.callbacks is",
        "postgresql.callbacks.on_role_change=/usr/bin/true",
        "true",
        "postgresql.callbacks=null",
        "true",
    ),
    _by_hand(
        "postgres-14",
        "a program for each file of changes, by the superuser, who wins over every file of Patroni's",
        "restore_command is ",
        "restore_command = \\047/usr/bin/false\\047",
    ),
    Sabotage(
        "postgres-10",
        "the pool logs who connects, and nobody keeps what it says",
        "a client of the pool does not come into the journal",
        "printf '%s\\n' '[Service]' LogLevelMax=emerg > /etc/systemd/system/pgbouncer.service.d/quiet.conf"
        " && systemctl daemon-reload && systemctl restart pgbouncer && sleep 0.5",
        "rm /etc/systemd/system/pgbouncer.service.d/quiet.conf && systemctl daemon-reload"
        " && systemctl restart pgbouncer && sleep 0.5",
        PRIMARY,
        touches=("pgbouncer.ini", "bastide.conf"),
    ),
    _edited(
        "postgres-12",
        "HAProxy was told, and has read, that sessions end after a minute",
        "HAProxy's file: it says timeout client 1m",
        "/etc/haproxy/haproxy.cfg",
        "s/timeout client 24h/timeout client 1m/",
        "systemctl reload haproxy && sleep 1",
        everywhere=(_ROUTER,),
    ),
    Sabotage(
        "postgres-14",
        "Debian's Patroni as it is by itself, which takes whatever stands in etcd",
        "its Patroni takes whatever stands in the votes",
        f"cp {_DROPIN} /run/patroni.saved && sed -i /^ExecStart=/d {_DROPIN} && systemctl daemon-reload"
        f" && systemctl restart patroni && {_SYNC}",
        f"cp /run/patroni.saved {_DROPIN} && rm /run/patroni.saved && systemctl daemon-reload"
        f" && systemctl restart patroni && {_SYNC}",
        STANDBY,
        alone="commits wait for it",
    ),
    _saying(
        "postgres-10",
        "what one role does is not logged",
        "somebody is logged otherwise: ",
        "alter role {role} set pgaudit.log = none",
        "alter role {role} reset pgaudit.log",
    ),
    _saying(
        "postgres-01",
        "a table that no other site gets",
        ": public.sessions",
        "create unlogged table public.sessions (n int)",
        "drop table public.sessions",
        "{database}",
    ),
    _by_hand(
        "postgres-11",
        "commits wait for nobody, by a superuser's ALTER SYSTEM",
        "what is acknowledged may be lost: synchronous_commit is off",
        "synchronous_commit = off",
    ),
    _by_hand(
        "postgres-11",
        "a server that does not write to its disk what it acknowledges",
        "what is acknowledged may be lost: fsync is off",
        "fsync = off",
    ),
    _saying(
        "postgres-11",
        "one role whose commits wait for nobody",
        "whose commits do not wait: ",
        "alter role {role} set synchronous_commit = off",
        "alter role {role} reset synchronous_commit",
    ),
    _saying(
        "postgres-11",
        "one database whose commits wait for the leader's disk alone",
        "whose commits do not wait: everybody in ",
        'alter database "{database}" set synchronous_commit = local',
        'alter database "{database}" reset synchronous_commit',
    ),
    Sabotage(
        "postgres-11",
        "a session that declines to wait",
        "seen to decline to wait: postgres in ",
        _sql("set synchronous_commit = off", "{database}"),
        _FORGET,
        PRIMARY,
        touches=(_STATISTICS,),
    ),
    _saying(
        "postgres-11",
        "a function that declines for whoever calls it",
        "a function that declines to wait: ",
        "create function public.hasty() returns text language sql"
        " as $$ select set_config('synchronous_commit', 'off', true) $$",
        "drop function public.hasty()",
        "{database}",
    ),
    _by_hand(
        "postgres-12",
        "a setting that somebody made by hand",
        "set by hand (ALTER SYSTEM): work_mem",
        "work_mem = 64MB",
    ),
    _edited(
        "postgres-12",
        "a server set apart by a tag of Patroni's that nobody declared",
        "is set apart by Patroni",
        _CONFIG,
        "$ a tags: {{noloadbalance: true}}",
        "systemctl reload patroni && sleep 3",
        touches=(_RULES,),
    ),
    _read_and_put_back(
        "postgres-12",
        "HAProxy runs with what is not in its file any more",
        "changed after HAProxy last read it",
        "/etc/haproxy/haproxy.cfg",
        "s/timeout client 24h/timeout client 23h/",
        "systemctl reload haproxy",
    ),
    Sabotage(
        "postgres-12",
        "HAProxy leads elsewhere, by its own socket, with its file untouched",
        "HAProxy leads otherwise: replicas ",
        f"printf '@1 disable server replicas/primary\\n' | timeout 5 python3 -c {quote(_SAY)} >/dev/null",
        f"printf '@1 enable server replicas/primary\\n' | timeout 5 python3 -c {quote(_SAY)} >/dev/null",
        PRIMARY,
        touches=(_ROUTER,),
    ),
    Sabotage(
        "postgres-12",
        "the pool takes what it was told at its console, with its file untouched",
        "the pool: ignore_startup_parameters is",
        f"{_POOL} -c \"set ignore_startup_parameters = 'options,synchronous_commit'\" >/dev/null",
        "systemctl reload pgbouncer && sleep 0.3",
        PRIMARY,
        touches=("pgbouncer.ini",),
    ),
    Sabotage(
        "postgres-12",
        "a server started by hand, with more words than Patroni's",
        "was given on the server's command line",
        # pg_ctl takes the words of the last start
        f"{_PATRONICTL} pause --wait >/dev/null && sed -i 's/$/ \"--full_page_writes=off\"/' {_WORDS}"
        f" && {_SERVER_BY_HAND} -l /dev/null restart >/dev/null",
        f"{_SERVER_BY_HAND} stop >/dev/null; {_PATRONICTL} resume --wait >/dev/null && {_SYNC}",
        STANDBY,
        alone="nobody would take over meanwhile",
    ),
    Sabotage(
        "postgres-13",
        "a password that somebody set in a statement",
        "the statistics of statements hold a password, from postgres",
        _sql("create role visitor nologin password 'sabotage'"),
        f"{_sql('drop role visitor')} && {_FORGET}",
        PRIMARY,
        touches=(_STATISTICS,),
        everywhere=(_ROLES,),
    ),
    Sabotage(
        "postgres-13",
        "a statement with a password that failed, and stands in the log",
        "the servers' log holds a password in 1 line",
        f"! {_sql(_FAILS)} 2>&1",
        # journald forgets whole files alone
        "journalctl -q --rotate && journalctl -q --vacuum-time=1s",
        STANDBY,
        alone="the journal of its machine goes",
    ),
)
