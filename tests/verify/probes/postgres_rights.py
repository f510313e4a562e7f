"""Compares what a database server says with what is declared: rules of access, roles, rights, settings. Pure."""

from __future__ import annotations

import copy
import hashlib
import ipaddress
from collections.abc import Iterable
from typing import Any

from pydantic import SecretStr

from bastide.settings import Postgres
from deploys.postgres.rights import shape, statements

# a verify knows no password: whatever the server has is taken for the right one, its form is judged by roles_differ
_UNKNOWN = SecretStr("unknown")
_SCRAM = "SCRAM-SHA-256"
_OWN = {"postgres": ("superuser",), "replicator": ("replication",), "rewinder": ()}


def line_of(row: dict[str, Any]) -> str:
    """A row of pg_hba_file_rules as the line that it was made of."""
    if row["error"]:
        return f"an error: {row['error']}"
    address = row["address"] or ""
    if row["netmask"]:
        address = str(ipaddress.ip_network(f"{address}/{row['netmask']}", strict=False)) if address else ""
    words = [row["type"], ",".join(row["database"] or ()), ",".join(row["user"] or ()), address, row["method"]]
    return " ".join([*filter(None, words), *(row["options"] or ())])


def difference(there: list[str], wanted: list[str]) -> str:
    """The first line that is one too many or missing; "" when there is none."""
    if more := [line for line in there if line not in wanted]:
        return f"a line that nobody declared: {more[0]}"
    if less := [line for line in wanted if line not in there]:
        return f"a line is missing: {less[0]}"
    return "" if there == wanted else "its lines stand in another order"


def roles_differ(there: dict[str, dict[str, Any]], declared: Iterable[str]) -> str:
    """Why the roles are not the declared ones; "" when they are."""
    names = set(declared)
    for name, role in there.items():
        powers = sorted([*role["powers"], *(["superuser"] if role["super"] else [])])
        if name == "postgres":
            # made by initdb with all powers; it has no password, and no way in but the socket
            powers = [word for word in powers if word == "superuser"]
        if name not in names and name not in _OWN and role["login"]:
            return f"a role that nobody declared may log in{' as a superuser' if role['super'] else ''}: {name}"
        if powers != list(_OWN.get(name, ())):
            return f"{name} may do more than is declared: {', '.join(powers) or 'nothing'}"
        if role["groups"]:
            return f"{name} has the rights of {', '.join(role['groups'])}"
        if role["login"] and name != "postgres" and role["password"] != _SCRAM:
            return f"the password of {name} is kept as {role['password']}"
    missing = sorted((names | set(_OWN)) - {name for name, role in there.items() if role["login"]})
    return f"no role that may log in: {missing[0]}" if missing else ""


def missing(postgres: Postgres, sites: int, seen: dict[str, Any]) -> list[str]:
    """What a deploy would still have to do to roles, databases and rights, passwords apart."""
    known = copy.deepcopy(seen)
    for role in known["roles"].values():
        role["digest"] = hashlib.sha256(_UNKNOWN.get_secret_value().encode()).hexdigest()
    keys = dict.fromkeys(postgres.roles, _UNKNOWN)
    return [one.shown for one in statements(shape(postgres, sites), keys, known)]


def differs(found: Any, wanted: Any, path: str = "") -> str:
    """Where two settings differ first, and how; "" when they are equal."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in [*wanted, *(key for key in found if key not in wanted)]:
            if problem := differs(found.get(key), wanted.get(key), f"{path}.{key}".lstrip(".")):
                return problem
        return ""
    return "" if found == wanted else f"{path} is {found}, not {wanted}"


def position(text: str) -> int:
    """A place in the stream of changes (pg_lsn) as a number; 0 for what is none."""
    high, _, low = text.partition("/")
    try:
        return (int(high, 16) << 32) + int(low, 16)
    except ValueError:
        return 0
