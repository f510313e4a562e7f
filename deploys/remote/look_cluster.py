"""Runs on the machine, after look.py and in its namespace: reads what the database cluster's capabilities need."""

from __future__ import annotations

import contextlib
import json
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deploys.remote.look import AREAS, ROOT, _out, _read, nft


def tables(names: list[str]) -> dict[str, dict[str, str]]:
    """Digest of nftables tables (family inet) as the kernel has them, and the record of what was loaded last."""
    return {name: {key: value for key, value in nft(name).items() if key != "ssh_ports"} for name in names}


def etcd(wanted: dict[str, str]) -> dict[str, Any]:
    """This machine's member: whether it has data, whether they are of a cluster that is still forming, whether it runs
    and sees a quorum; where `ctl` is given, who may come in, and who votes (by name, or peer URL before its start)."""
    data = (ROOT / wanted["data"].lstrip("/") / "member").is_dir()
    forming = (ROOT / wanted["forming"].lstrip("/")).exists()
    active = _out("systemctl", "is-active", "etcd.service").strip() == "active"
    found: dict[str, Any] = {
        "data": data,
        "forming": forming,
        "active": active,
        "healthy": False,
        "auth": False,
        "opens": False,
        "users": [],
        "members": [],
    }
    folder = str(ROOT / wanted["folder"].lstrip("/"))
    with contextlib.suppress(OSError, ValueError):
        context = ssl.create_default_context(cafile=f"{folder}/ca.crt")
        context.load_cert_chain(f"{folder}/server.crt", f"{folder}/server.key")
        found["healthy"] = _answer(wanted["health"], context).get("health") == "true"
    if found["healthy"] and wanted["ctl"]:
        found["auth"] = "Authentication Status: true" in _out(wanted["ctl"], "auth", "status")
        users = _out(wanted["ctl"], "user", "list").split()
        members = (_etcdctl(wanted["ctl"], "member", "list") or {}).get("members", [])
        names = [one.get("name") or one["peerURLs"][0] for one in members]
        found |= {"opens": "root" in users, "users": users, "members": names}
    return found


def patroni(wanted: dict[str, Any]) -> dict[str, Any]:
    """What this machine's Patroni says of itself, of the cluster, and of the settings that all members share."""
    context = None
    found: dict[str, Any] = {"memory_mb": _memory_mb()}
    for name in ("patroni", "cluster", "config"):
        found[name] = None
        with contextlib.suppress(OSError, ValueError):
            context = context or ssl.create_default_context(cafile=str(ROOT / wanted["ca"].lstrip("/")))
            found[name] = _answer(f"{wanted['url']}/{name}", context)
    data = ROOT / wanted["data"].lstrip("/")
    found["knows"] = found["config"] is not None and found["config"] == _json(data / "patroni.dynamic.json")
    found["data"] = _data_of(data)
    found["installed"] = _out("/usr/lib/postgresql/17/bin/postgres", "--version").strip()
    return found


def replication(wanted: str) -> Any:  # noqa: ANN401 - JSON
    """What `wanted` (a query that gives JSON) says of replication, if this machine's Postgres leads; else None."""
    return json.loads(
        _sql("postgres", f"select case when pg_is_in_recovery() then 'null' else ({wanted}) end") or "null"
    )


def voters(wanted: str) -> dict[str, Any]:
    """What each member of etcd says of itself, and the names of all by id, asked by `wanted` (bastide-etcdctl)."""
    members = _etcdctl(wanted, "member", "list")
    names = {format(one["ID"], "x"): one.get("name", "") for one in members.get("members", [])} if members else {}
    return {"status": _etcdctl(wanted, "endpoint", "status", "--cluster") or [], "members": names}


def _etcdctl(ctl: str, *words: str) -> Any:  # noqa: ANN401 - JSON
    # a member that is away makes it fail, and it prints what the others say
    with contextlib.suppress(OSError, ValueError):
        command = ("timeout", "20", ctl, *words, "-w", "json")
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    return None


def _data_of(folder: Path) -> str:
    """Whose data lie in a data directory: a system identifier, "?" for what is no whole one, "" for none."""
    with contextlib.suppress(OSError):
        # the first field of ControlFileData (PostgreSQL 17, src/include/catalog/pg_control.h), in the machine's order
        text = (folder / "global/pg_control").read_bytes()[:8]
        return str(int.from_bytes(text, sys.byteorder))
    with contextlib.suppress(OSError):
        return "?" if any(folder.iterdir()) else ""
    return ""


def _json(path: Path) -> Any:  # noqa: ANN401 - JSON
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_text())
    return None


def databases(wanted: dict[str, Any]) -> dict[str, Any] | None:
    """Roles, databases and rights, as far as they are asked for, if this machine's Postgres leads; else None."""
    text = _sql("postgres", f"select case when pg_is_in_recovery() then 'null' else ({wanted['query']}) end")
    found: dict[str, Any] | None = json.loads(text or "null")
    if found is None:
        return None
    there = [name for name in wanted["names"] if name in found["databases"]]
    found["inside"] = {name: json.loads(_sql(name, wanted["inside"]) or "null") for name in there}
    return found


def _answer(url: str, context: ssl.SSLContext) -> Any:  # noqa: ANN401 - JSON
    with urllib.request.urlopen(url, timeout=5, context=context) as answer:  # noqa: S310 - https, our own
        return json.load(answer)


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


AREAS |= {
    "tables": tables,
    "etcd": etcd,
    "patroni": patroni,
    "replication": replication,
    "voters": voters,
    "databases": databases,
}
