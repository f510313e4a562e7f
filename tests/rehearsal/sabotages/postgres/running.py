"""What servers, pool and HAProxy go by: the wrong ways."""

from __future__ import annotations

from shlex import quote

from tests.rehearsal.sabotages.model import PRIMARY, STANDBY, Sabotage
from tests.rehearsal.sabotages.postgres.ways import (
    CONFIG,
    PATRONICTL,
    POOL,
    ROUTER,
    RULES,
    SAY,
    SERVER_BY_HAND,
    SYNC,
    WORDS,
    by_hand,
    edited,
    read_and_put_back,
)

SABOTAGES = (
    edited(
        "postgres-12",
        "HAProxy was told, and has read, that sessions end after a minute",
        "HAProxy's file: it says timeout client 1m",
        "/etc/haproxy/haproxy.cfg",
        "s/timeout client 24h/timeout client 1m/",
        "systemctl reload haproxy && sleep 1",
        everywhere=(ROUTER,),
    ),
    by_hand(
        "postgres-12",
        "a setting that somebody made by hand",
        "set by hand (ALTER SYSTEM): work_mem",
        "work_mem = 64MB",
    ),
    edited(
        "postgres-12",
        "a server set apart by a tag of Patroni's that nobody declared",
        "is set apart by Patroni",
        CONFIG,
        "$ a tags: {{noloadbalance: true}}",
        "systemctl reload patroni && sleep 3",
        touches=(RULES,),
    ),
    read_and_put_back(
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
        f"printf '@1 disable server replicas/primary\\n' | timeout 5 python3 -c {quote(SAY)} >/dev/null",
        f"printf '@1 enable server replicas/primary\\n' | timeout 5 python3 -c {quote(SAY)} >/dev/null",
        PRIMARY,
        touches=(ROUTER,),
    ),
    Sabotage(
        "postgres-12",
        "HAProxy takes fewer connections, by its own socket, with its file untouched",
        "HAProxy was told otherwise how many it takes: replicas 10 0 OPEN, not 2000 0 OPEN",
        f"printf '@1 set maxconn frontend replicas 10\\n' | timeout 5 python3 -c {quote(SAY)} >/dev/null",
        f"printf '@1 set maxconn frontend replicas 2000\\n' | timeout 5 python3 -c {quote(SAY)} >/dev/null",
        PRIMARY,
        touches=(ROUTER,),
    ),
    Sabotage(
        "postgres-12",
        "the pool takes what it was told at its console, with its file untouched",
        "the pool: ignore_startup_parameters is",
        f"{POOL} -c \"set ignore_startup_parameters = 'options,synchronous_commit'\" >/dev/null",
        "systemctl reload pgbouncer && sleep 0.3",
        PRIMARY,
        touches=("pgbouncer.ini",),
    ),
    Sabotage(
        "postgres-12",
        "a server started by hand, with more words than Patroni's",
        "was given on the server's command line",
        # pg_ctl takes the words of the last start
        f"{PATRONICTL} pause --wait >/dev/null && sed -i 's/$/ \"--full_page_writes=off\"/' {WORDS}"
        f" && {SERVER_BY_HAND} -l /dev/null restart >/dev/null",
        f"{SERVER_BY_HAND} stop >/dev/null; {PATRONICTL} resume --wait >/dev/null && {SYNC}",
        STANDBY,
        alone="nobody would take over meanwhile",
    ),
)
