"""Runs on the machine, after look.py and in its namespace: reads what the database cluster's capabilities need."""

from __future__ import annotations

import contextlib
import json
import ssl
import subprocess
import urllib.request
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deploys.remote.look import AREAS, ROOT, _out, _read, nft


def tables(names: list[str]) -> dict[str, dict[str, str]]:
    """Digest of nftables tables (family inet) as the kernel has them, and the record of what was loaded last."""
    return {name: {key: value for key, value in nft(name).items() if key != "ssh_ports"} for name in names}


def etcd(wanted: dict[str, str]) -> dict[str, Any]:
    """This machine's member: whether it has data and runs, and what it says of users, asked as root of etcd."""
    data = (ROOT / wanted["data"].lstrip("/") / "member").is_dir()
    active = _out("systemctl", "is-active", "etcd.service").strip() == "active"
    found: dict[str, Any] = {"data": data, "active": active, "auth": False, "opens": False, "users": []}
    if active:
        found["auth"] = "Authentication Status: true" in _out(wanted["ctl"], "auth", "status")
        users = _out(wanted["ctl"], "user", "list").split()
        found |= {"opens": "root" in users, "users": users}
    return found


def patroni(wanted: dict[str, Any]) -> dict[str, Any]:
    """What this machine's Patroni says of itself, of the cluster, and of the settings that all members share."""
    context = None
    found: dict[str, Any] = {"memory_mb": _memory_mb()}
    for name in ("patroni", "cluster", "config"):
        found[name] = None
        with contextlib.suppress(OSError, ValueError):
            context = context or ssl.create_default_context(cafile=str(ROOT / wanted["ca"].lstrip("/")))
            with urllib.request.urlopen(f"{wanted['url']}/{name}", timeout=5, context=context) as answer:  # noqa: S310 - https
                found[name] = json.load(answer)
    found["installed"] = _out("/usr/lib/postgresql/17/bin/postgres", "--version").strip()
    return found


def databases(wanted: dict[str, Any]) -> dict[str, Any] | None:
    """Roles, databases and rights, as far as they are asked for, if this machine's Postgres leads; else None."""
    if _sql("postgres", "select not pg_is_in_recovery()") != "t":
        return None
    found: dict[str, Any] = json.loads(_sql("postgres", wanted["query"]) or "null")
    there = [name for name in wanted["names"] if name in found["databases"]]
    found["inside"] = {name: json.loads(_sql(name, wanted["inside"]) or "null") for name in there}
    return found


def _sql(database: str, query: str) -> str:
    words = ("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", f"dbname='{database}' user=postgres", "-f", "-")
    try:
        done = subprocess.run(
            ("runuser", "-u", "postgres", "--", *words),
            input=query,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _memory_mb() -> int:
    line = next((line for line in _read("proc/meminfo").splitlines() if line.startswith("MemTotal:")), "MemTotal: 0 kB")
    return int(line.split()[1]) // 1024


AREAS |= {"tables": tables, "etcd": etcd, "patroni": patroni, "databases": databases}
