"""The ways to break a database server that several sabotages share."""

from __future__ import annotations

from pathlib import PurePath
from shlex import quote

from tests.rehearsal.sabotages.model import PRIMARY, SHARED, Sabotage

HBA = "/var/lib/postgresql/17/bastide/pg_hba.conf"
AUTHORITY = "/etc/bastide/postgres/ca.crt"
CONFIG = "/etc/patroni/config.yml"
DROPIN = "/etc/systemd/system/patroni.service.d/bastide.conf"
PSQL = "runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1"
PATRONICTL = f"timeout 20 patronictl -c {CONFIG}"
STREAMS = "state = 'streaming'"
AUTO = "/var/lib/postgresql/17/bastide/postgresql.auto.conf"
PATH = "select pg_relation_filepath('sabotage')"
READER = "/var/lib/postgresql/sabotage"
# What several of them change. Patroni writes pg_hba.conf anew when its own settings change; with a second server
# beside, nobody can tell who leads.
RULES, ROLES, SERVER, LEADER = "pg_hba.conf", "roles", "server", "who leads"
# and what several of them put into the server's own files, or into PgBouncer and HAProxy
BY_HAND, STATISTICS, ROUTER = "postgresql.auto.conf", "statistics of statements", "haproxy.cfg"
# what is said to HAProxy's master, on standard input
SAY = (
    "import socket, sys; line = socket.socket(socket.AF_UNIX); line.connect('/run/haproxy/master.sock');"
    " line.sendall(sys.stdin.buffer.read()); line.shutdown(1); print(line.recv(4096))"
)
POOL = "runuser -u pgbouncer -- psql -XAtq -h /run/pgbouncer -p 6432 -U pgbouncer -d pgbouncer"
SERVER_BY_HAND = "runuser -u postgres -- /usr/lib/postgresql/17/bin/pg_ctl -D /var/lib/postgresql/17/bastide -w -m fast"
WORDS = "/var/lib/postgresql/17/bastide/postmaster.opts"
FAILS = "alter role nobody_is_called_so password 'sabotage'"


def sql(text: str, database: str = "postgres") -> str:
    """As the superuser, by the socket."""
    return f'{PSQL} -d "{database}" -c {quote(text)} >/dev/null'


def until(command: str, seconds: int = 40) -> str:
    """Wait until a command says yes."""
    return f"timeout {seconds} sh -c {quote(f'until {command}; do sleep 0.2; done')}"


def count(condition: str, number: int) -> str:
    """Whether so many standbys are like that, as the leader sees it."""
    query = f"select count(*) from pg_stat_replication where {condition}"
    return f'[ "$({PSQL} -c {quote(query)})" = {number} ]'


RELOAD = sql("select pg_reload_conf()")
FORGET = sql("select public.pg_stat_statements_reset()")


def by_hand(control: str, what: str, says: str, *lines: str) -> Sabotage:
    """What ALTER SYSTEM would leave; it is refused, and its file belongs to who asks."""
    text = "\\n".join(lines)
    return Sabotage(
        control, what, says, f"cp -p {AUTO} /run/sabotage.auto && printf '{text}\\n' >> {AUTO} && {RELOAD}",
        f"cp -p /run/sabotage.auto {AUTO} && rm /run/sabotage.auto && {RELOAD}", PRIMARY, touches=(BY_HAND,),
    )  # fmt: skip


def read_and_put_back(control: str, what: str, says: str, path: str, edit: str, then: str, *touches: str) -> Sabotage:
    """Another line, read by who goes by it, and the file as it was: it looks right, and something else runs."""
    name = PurePath(path).name
    saved = f"/run/sabotage.{name}"
    return Sabotage(
        control, what, says,
        f"cp -p {path} {saved} && sed -i '{edit}' {path} && {then} && sleep 1 && cp -p {saved} {path}",
        f"rm {saved}; {then} && sleep 1",
        PRIMARY, touches=(name, *touches),
    )  # fmt: skip


SYNC = until(f'{PATRONICTL} list | grep -q "Sync Standby"')


def everybody_shares(control: str, what: str, says: str, line: str, then: str, back: str, at_last: str) -> Sabotage:
    """Another setting for all members, as somebody sets it by hand."""
    edit = f"{PATRONICTL} edit-config --force -q"
    return Sabotage(
        control, what, says, f"{edit} -s {line} >/dev/null && {then}", f"{edit} -s {back} >/dev/null && {at_last}",
        PRIMARY, touches=(RULES,), everywhere=(SHARED, LEADER),
    )  # fmt: skip


def first_rule(control: str, what: str, says: str, line: str) -> Sabotage:
    """A rule of access that counts before all others."""
    return Sabotage(
        control, what, says, f"sed -i '1i {line}' {HBA} && {RELOAD}", f"sed -i 1d {HBA} && {RELOAD}", PRIMARY,
        touches=(RULES,),
    )  # fmt: skip


def saying(control: str, what: str, says: str, statement: str, back: str, database: str = "postgres") -> Sabotage:
    """Something that a superuser said to the server."""
    break_, undo = sql(statement, database), sql(back, database)
    return Sabotage(control, what, says, break_, undo, PRIMARY, everywhere=(ROLES,))


def edited(
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
