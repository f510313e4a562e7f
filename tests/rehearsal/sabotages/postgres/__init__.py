"""How the databases are kept: the wrong ways, by what they break."""

from __future__ import annotations

from tests.rehearsal.sabotages.postgres import access, changes, leading, log, rights, running

SABOTAGES = (
    *changes.SABOTAGES,
    *access.SABOTAGES,
    *rights.SABOTAGES,
    *leading.SABOTAGES,
    *running.SABOTAGES,
    *log.SABOTAGES,
)
