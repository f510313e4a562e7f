"""Runs on a machine as root, after connections.py, in its namespace: whom the server lets in, from where and how.

By effect: who connects is told before he has to say a password whether he may try (PostgreSQL 17 manual, 53.2). Each
kind of caller comes from each of the machine's own addresses.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.verify.probes.remote.connections import PSQL, client, output, postgres

# an account of the machine, and who it says that it is: the superuser is known by his account alone
_AT_THE_SOCKET = (("nobody", "postgres"), ("root", "postgres"), ("haproxy", "postgres"))


def ways(plan: dict[str, Any]) -> list[dict[str, str]]:
    """`plan`: address (where the server listens), ports, folder (of certificates), roles (each with the databases that
    it may use), databases (names).

    Returns who came how, with `answer`: user, database ("replication" for the stream of changes), source, tls.
    """
    trust = client(f"{plan['folder']}/ca.crt")
    here, port = plan["address"], plan["ports"]["server"]
    others = [address for address in _own_addresses() if address != here]
    tried = []
    for source, user, database, tls in sorted(set(_callers(plan, here, others))):
        more = {"replication": "true"} if database == "replication" else {}
        words = (here, port, user, "postgres" if more else database, trust if tls else None)
        tried.append(({"user": user, "database": database, "source": source, "tls": tls}, words, more, source))
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda one: postgres(*one[1], more=one[2], source=one[3])["answer"], tried)
        found = [{**one[0], "answer": answer} for one, answer in zip(tried, answers, strict=True)]
    return [*found, *_at_the_socket(plan)]


def _callers(plan: dict[str, Any], here: str, others: list[str]) -> list[tuple[str, str, str, str]]:
    """Each role to a database that it may use and to one that it may not, over TLS and without; from elsewhere, too."""
    found = []
    for user, own in plan["roles"].items():
        mine = own[0] if own else ""
        strange = next((name for name in [*plan["databases"], "template1"] if name not in own), "template1")
        found += [(here, user, database, tls) for database in (mine, strange) if database for tls in ("TLS", "")]
        found += [(source, user, mine or strange, "TLS") for source in others]
    for user in (*plan["roles"], "somebody"):
        found.append((here, user, "replication", "TLS"))
    for source in (here, *others):
        found += [(source, "postgres", database, "TLS") for database in ("postgres", "replication")]
        found.append((source, "somebody", "postgres", "TLS"))
    return found


def _own_addresses() -> list[str]:
    """All IPv4 addresses of this machine."""
    try:
        lines = json.loads(output("ip", "-j", "-4", "address"))
    except ValueError:
        return []
    return [one["local"] for line in lines for one in line.get("addr_info", []) if one.get("family") == "inet"]


def _at_the_socket(plan: dict[str, Any]) -> list[dict[str, str]]:
    callers = [*_AT_THE_SOCKET, *(("postgres", role) for role in plan["roles"] if role not in ("postgres",))]
    words = (PSQL, "-XAtqw", "-h", "/var/run/postgresql", "-p", str(plan["ports"]["server"]), "-c", "select 1")
    found = []
    for account, user in callers:
        said = output(
            "runuser", "-u", account, "--", *words, "-U", user, "-d", (plan["roles"].get(user) or ["postgres"])[0]
        )
        answer = "lets in" if said.strip() == "1" else f"refuses: {(said.strip().splitlines() or [''])[-1]}"
        found.append({"user": user, "database": "", "source": f"the socket, as {account}", "tls": "", "answer": answer})
    return found
