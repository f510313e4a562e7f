"""What becomes of changes: the wrong ways to stream, to keep and to wait for them."""

from __future__ import annotations

from shlex import quote

from tests.rehearsal.sabotages.model import PRIMARY, STANDBY, Sabotage
from tests.rehearsal.sabotages.postgres.ways import (
    CONFIG,
    FORGET,
    LEADER,
    PATH,
    PSQL,
    SERVER,
    STATISTICS,
    SYNC,
    by_hand,
    count,
    everybody_shares,
    saying,
    sql,
    until,
)

SABOTAGES = (
    Sabotage(
        "postgres-01",
        "a standby that nobody started again",
        "its server does not answer",
        "systemctl stop patroni",
        f"systemctl start patroni && {SYNC}",
        STANDBY,
        alone="commits wait for it",
    ),
    everybody_shares(
        "postgres-11",
        "commits do not wait for the standby, as Patroni has it by itself",
        "a commit waits for no standby",
        "synchronous_mode=false",
        until(count("sync_state = 'sync'", 0)),
        "synchronous_mode=true",
        SYNC,
    ),
    Sabotage(
        "postgres-01",
        "a standby that takes anybody for its leader",
        "it verifies nobody: sslmode=require",
        f"sed -i s/verify-full/require/ {CONFIG} && systemctl reload patroni && sleep 3",
        f"sed -i s/sslmode:.require/sslmode:\\ verify-full/ {CONFIG} && systemctl reload patroni && sleep 3",
        STANDBY,
        touches=(SERVER,),
        everywhere=(LEADER,),
    ),
    Sabotage(
        "postgres-05",
        "a page that the disk returned as another one",
        "1 page had a wrong checksum",
        f"{sql('create table sabotage (x int)')} && cd /var/lib/postgresql/17/bastide"
        f" && head -c 8192 /dev/urandom >> $({PSQL} -c {quote(PATH)})"
        f" && {{{{ {sql('select from sabotage')} 2>&1 || true; }}}} && sleep 0.5",
        f"{sql('drop table sabotage')} && {sql('select pg_stat_reset()')}",
        PRIMARY,
    ),
    saying(
        "postgres-01",
        "a table that no other site gets",
        ": public.sessions",
        "create unlogged table public.sessions (n int)",
        "drop table public.sessions",
        "{database}",
    ),
    by_hand(
        "postgres-11",
        "commits wait for nobody, by a superuser's ALTER SYSTEM",
        "what is acknowledged may be lost: synchronous_commit is off",
        "synchronous_commit = off",
    ),
    by_hand(
        "postgres-11",
        "a server that does not write to its disk what it acknowledges",
        "what is acknowledged may be lost: fsync is off",
        "fsync = off",
    ),
    saying(
        "postgres-11",
        "one role whose commits wait for nobody",
        "whose commits do not wait: ",
        "alter role {role} set synchronous_commit = off",
        "alter role {role} reset synchronous_commit",
    ),
    saying(
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
        sql("set synchronous_commit = off", "{database}"),
        FORGET,
        PRIMARY,
        touches=(STATISTICS,),
    ),
    saying(
        "postgres-11",
        "a function that declines for whoever calls it",
        "a function that declines to wait: ",
        "create function public.hasty() returns text language sql"
        " as $$ select set_config('synchronous_commit', 'off', true) $$",
        "drop function public.hasty()",
        "{database}",
    ),
)
