"""What stands in the logs of the databases, and what does not: the wrong ways."""

from __future__ import annotations

from tests.rehearsal.sabotages.model import PRIMARY, STANDBY, Sabotage
from tests.rehearsal.sabotages.postgres.ways import FAILS, FORGET, ROLES, STATISTICS, edited, saying, sql

SABOTAGES = (
    edited(
        "postgres-10",
        "the pool tells nobody who connects",
        "applications meet the pool, and its log_connections is 0",
        "/etc/pgbouncer/pgbouncer.ini",
        "s/^log_connections = .*/log_connections = 0/",
        "systemctl reload pgbouncer && sleep 0.3",
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
    saying(
        "postgres-10",
        "what one role does is not logged",
        "somebody is logged otherwise: ",
        "alter role {role} set pgaudit.log = none",
        "alter role {role} reset pgaudit.log",
    ),
    Sabotage(
        "postgres-13",
        "a password that somebody set in a statement",
        "the statistics of statements hold a password, from postgres",
        sql("create role visitor nologin password 'sabotage'"),
        f"{sql('drop role visitor')} && {FORGET}",
        PRIMARY,
        touches=(STATISTICS,),
        everywhere=(ROLES,),
    ),
    Sabotage(
        "postgres-13",
        "a statement with a password that failed, and stands in the log",
        "the servers' log holds a password in 1 line",
        f"! {sql(FAILS)} 2>&1",
        # journald forgets whole files alone
        "journalctl -q --rotate && journalctl -q --vacuum-time=1s",
        STANDBY,
        alone="the journal of its machine goes",
    ),
)
