"""Who leads, and what the votes decide: the wrong ways."""

from __future__ import annotations

from tests.rehearsal.sabotages.model import PRIMARY, SHARED, STANDBY, Sabotage
from tests.rehearsal.sabotages.postgres.ways import (
    CONFIG,
    DROPIN,
    LEADER,
    PATRONICTL,
    RULES,
    SYNC,
    by_hand,
    edited,
    everybody_shares,
)

SABOTAGES = (
    everybody_shares(
        "postgres-07",
        "a leader stays one without votes",
        "failsafe_mode is True, not False",
        "failsafe_mode=true",
        "true",
        "failsafe_mode=false",
        "true",
    ),
    edited(
        "postgres-07",
        "Patroni's API asks nobody for a password, as it is by itself",
        "it takes a change with no password",
        CONFIG,
        "/^restapi:/,/^ctl:/{{/authentication:/d;/username:/d;/password:/d}}",
        "systemctl reload patroni && sleep 2",
        touches=(RULES,),
    ),
    Sabotage(
        "postgres-07",
        "Patroni is paused: nobody would take over",
        "nobody would take over: Patroni is paused",
        f"{PATRONICTL} pause --wait >/dev/null",
        f"{PATRONICTL} resume --wait >/dev/null",
        PRIMARY,
        touches=(RULES,),
        everywhere=(SHARED, LEADER),
    ),
    everybody_shares(
        "postgres-14",
        "a program to be run at each change of who leads, in what all members share",
        "in the votes: postgresql.callbacks is",
        "postgresql.callbacks.on_role_change=/usr/bin/true",
        "true",
        "postgresql.callbacks=null",
        "true",
    ),
    by_hand(
        "postgres-14",
        "a program for each file of changes, by the superuser, who wins over every file of Patroni's",
        "restore_command is ",
        "restore_command = \\047/usr/bin/false\\047",
    ),
    Sabotage(
        "postgres-14",
        "Debian's Patroni as it is by itself, which takes whatever stands in etcd",
        "its Patroni takes whatever stands in the votes",
        f"cp {DROPIN} /run/patroni.saved && sed -i /^ExecStart=/d {DROPIN} && systemctl daemon-reload"
        f" && systemctl restart patroni && {SYNC}",
        f"cp /run/patroni.saved {DROPIN} && rm /run/patroni.saved && systemctl daemon-reload"
        f" && systemctl restart patroni && {SYNC}",
        STANDBY,
        alone="commits wait for it",
    ),
)
