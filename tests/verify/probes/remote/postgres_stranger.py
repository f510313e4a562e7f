"""Runs on a machine that carries no database, after connections.py: how a server answers it over TLS, and without."""

from __future__ import annotations

import json
import ssl
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.verify.probes.remote.connections import postgres, reach


def stranger(plan: dict[str, Any]) -> dict[str, Any]:
    """`plan`: servers (addresses by name), name (whom to ask), port, somebody (a role and a database, or none)."""
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE
    where = plan["servers"][plan["name"]], plan["port"]
    role, database = plan["somebody"] or ("replicator", "replication")
    return {
        "reach": reach(*where),
        "over TLS": postgres(*where, role, database, anybody)["answer"],
        "without TLS": postgres(*where, role, database, None)["answer"],
        "as a superuser": postgres(*where, "postgres", "postgres", anybody)["answer"],
    }


if __name__ == "__main__":
    print(json.dumps(stranger(json.loads(sys.argv[1]) | {"name": sys.argv[2]})))
